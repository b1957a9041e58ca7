"""What importing costs: ``python -m benchmarks.startup [--quick]``.

Fresh interpreters, in turn: a bare one, one that imports numpy, one that imports numpy_attention. Then which modules
take the time, by ``-X importtime``. Writes results/startup.json.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.crew import ROOT
from benchmarks.measuring import order_of
from benchmarks.results import arguments, parse, save, short, spread, table, wrap

NAME = "startup"
PROGRAMS = {
    "bare interpreter": "pass",
    "import numpy": "import numpy",
    "import numpy_attention": "import numpy_attention",
}
BARE, NUMPY, OURS = PROGRAMS
SHOWN = 15


def main() -> None:
    parser = arguments(__doc__, rounds=15)
    options = parse(parser)
    seconds: dict[str, list[float]] = {name: [] for name in PROGRAMS}
    names = list(PROGRAMS)
    for name in names:  # the files are read from the disk, and compiled, once
        run(PROGRAMS[name])
    for number in range(options.rounds):
        for place in order_of(len(names), number):
            seconds[names[place]].append(run(PROGRAMS[names[place]]))
    modules = [parse_importtime(traced(PROGRAMS[OURS])) for _ in range(1 if options.quick else 5)]
    of_numpy = list(parse_importtime(traced(PROGRAMS[NUMPY])))
    figures = {
        "rounds": options.rounds,
        "seconds": seconds,
        "modules": {name: [each.get(name, 0.0) for each in modules] for name in modules[0]},
        "of_numpy": of_numpy,
    }
    save(NAME, figures, options.out)


def environment() -> dict[str, str]:
    """Where this package is found, as an installed one would be."""
    return os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])}


def run(code: str) -> float:
    """Wall-clock seconds of a fresh interpreter."""
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", code], check=True, env=environment(), stdin=subprocess.DEVNULL)
    return time.perf_counter() - start


def traced(code: str) -> str:
    """What ``-X importtime`` writes."""
    command = [sys.executable, "-X", "importtime", "-c", code]
    return subprocess.run(command, check=True, env=environment(), capture_output=True, text=True).stderr


def parse_importtime(text: str) -> dict[str, float]:
    """Milliseconds of every module by itself, in the order of the import."""
    found: dict[str, float] = {}
    for line in text.splitlines():
        parts = line.removeprefix("import time:").split("|")
        if line.startswith("import time:") and len(parts) == 3 and parts[0].strip().isdigit():
            name = parts[2].strip()
            found[name] = found.get(name, 0.0) + int(parts[0]) / 1e3
    return found


def beyond_numpy(figures: dict[str, Any]) -> dict[str, float]:
    """Median milliseconds of the modules that importing numpy alone does not load."""
    known = set(figures["of_numpy"])
    return {name: float(np.median(each)) for name, each in figures["modules"].items() if name not in known}


def differences(seconds: dict[str, list[float]]) -> dict[str, list[float]]:
    """Round by round, what an import takes beyond the bare interpreter."""
    return {
        name: [each - bare for each, bare in zip(seconds[name], seconds[BARE], strict=True)] for name in (NUMPY, OURS)
    }


def summary(figures: dict[str, Any]) -> list[list[str]]:
    """Rows of the page's first table."""
    beyond = differences(figures["seconds"])
    extra = [ours - numpy for ours, numpy in zip(beyond[OURS], beyond[NUMPY], strict=True)]
    return [["`import numpy_attention` beyond `import numpy`, ms", spread(extra, 1e3)]]


def section(figures: dict[str, Any], folder: Path) -> str:
    """The part of the page."""
    seconds = figures["seconds"]
    rows = [[name, spread(each, 1e3), ""] for name, each in seconds.items()]
    for row, each in zip(rows[1:], differences(seconds).values(), strict=True):
        row[2] = spread(each, 1e3)
    beyond = beyond_numpy(figures)
    packages: dict[str, float] = {}
    for name, ms in beyond.items():
        top = name.partition(".")[0]
        packages[top] = packages.get(top, 0.0) + ms
    costly = sorted(beyond.items(), key=lambda item: -item[1])[:SHOWN]
    by_package = sorted(packages.items(), key=lambda item: -item[1])[:SHOWN]
    return "\n\n".join(
        [
            "## Start-up",
            wrap(
                "Wall-clock milliseconds of a fresh interpreter, by `python -m benchmarks.startup`, "
                f"{figures['rounds']} interleaved rounds; compiled files and the disk's cache are warm."
            ),
            table(["program", "ms", "beyond the bare interpreter, ms"], rows),
            "Modules that `import numpy_attention` loads and `import numpy` does not, by `-X importtime` (which makes "
            "everything somewhat slower), each by itself:",
            table(["module", "ms"], [[f"`{name}`", short(ms)] for name, ms in costly]),
            "The same, added up by package:",
            table(["package", "ms"], [[f"`{name}`", short(ms)] for name, ms in by_package]),
        ]
    )


if __name__ == "__main__":
    main()
