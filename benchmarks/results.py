"""Settings of the programs, their figures as JSON, and the pages made of them.

``python -m benchmarks.results`` writes the pages anew and measures nothing.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import platform
import sys
import textwrap
from collections.abc import Callable, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.crew import CORES

ROOT = Path(__file__).parents[1]
FOLDER = Path(__file__).parent / "results"
QUICK = FOLDER / "quick"  # smoke runs write here, pages included
# Pages and their sections, in order. Every module has ``section(figures) -> str``.
PAGES = {
    "RESULTS.md": ("train_step", "memory", "time_to_solve", "search"),
    "RESULTS-gradcheck.md": ("gradcheck_speed",),
    "PAGE.md": ("page",),
}
INTRODUCTION = """\
Written by the programs in [benchmarks](README.md), which says how they measure; not edited by hand.
`python -m benchmarks.results` makes it anew from the files in `results/`. A figure is the median of its rounds, with
the smallest and the largest in brackets; ratios are taken round by round."""
PACKAGES = ("numpy", "scipy", "torch", "jax", "jaxlib", "autograd", "mpi4py", "mpich", "openmpi")
TUNING = ("OPENBLAS_", "OMP_", "MKL_", "MALLOC_", "GLIBC_", "LD_PRELOAD", "XLA_")  # variables that change figures


def arguments(description: str | None, *, rounds: int, quick_rounds: int = 1) -> argparse.ArgumentParser:
    """Settings that every program has."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a smoke run: tiny sizes, seconds, pages of its own")
    parser.add_argument("--rounds", type=int, help=f"default {rounds}, with --quick {quick_rounds}")
    parser.add_argument("--out", type=Path, help=f"folder of the results; default {FOLDER.name}/")
    parser.add_argument("--add", action="store_true", help="keep earlier figures of what is not measured now")
    parser.add_argument("--limit", type=float, default=900.0, help="seconds that one measurement may take to get ready")
    parser.set_defaults(default_rounds=(rounds, quick_rounds))
    return parser


def add_peers(parser: argparse.ArgumentParser, peers: Sequence[str]) -> None:
    """The peers to be measured."""
    text = "default all; with --quick all but the one that compiles for long"
    parser.add_argument("--peers", nargs="*", choices=peers, help=text)
    parser.set_defaults(all_peers=list(peers))


def parse(parser: argparse.ArgumentParser, words: Sequence[str] | None = None) -> argparse.Namespace:
    """The settings, with the defaults that depend on --quick filled in."""
    options = parser.parse_args(words)
    if options.rounds is None:
        options.rounds = options.default_rounds[options.quick]
    if options.rounds < 1:
        parser.error(f"--rounds: expected at least 1, got {options.rounds}")
    if "peers" in options and options.peers is None:
        options.peers = [peer for peer in options.all_peers if not (options.quick and peer == "compile")]
    if options.out is None:
        options.out = QUICK if options.quick else FOLDER
    options.out.mkdir(parents=True, exist_ok=True)
    return options


def measure(
    name: str, options: argparse.Namespace, cases: dict[str, Any], function: Callable[[Any], Any], **settings: Any
) -> None:
    """Measure every case of a program, and save its figures after each: an interruption loses one case at most.

    ``settings`` are saved with the figures, and --add keeps those of the same settings only.
    """
    figures = {**settings, "cores": CORES, "cases": earlier(name, options, settings)}
    page = next(page for page, programs in PAGES.items() if name in programs)
    for case, problem in cases.items():
        print(f"{case}: {problem}", file=sys.stderr)
        figures["cases"][case] = function(problem)
        text = json.dumps(figures | {"machine": describe_machine()}, indent=1)
        (options.out / f"{name}.json").write_text(text + "\n", encoding="utf-8")
        print(f"written to {options.out / name}.json and {write_page(page, options.out)}")


def earlier(name: str, options: argparse.Namespace, settings: dict[str, Any]) -> dict[str, Any]:
    """Cases that --add keeps. Refuses those measured elsewhere or with other settings."""
    path = options.out / f"{name}.json"
    if not options.add or not path.exists():
        return {}
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    for setting, value in {**settings, "machine": describe_machine()}.items():
        if found.get(setting) != value:
            raise SystemExit(f"--add: {path} was measured with {setting} {found.get(setting)}, expected {value}")
    cases: dict[str, Any] = found["cases"]
    return cases


def write_page(page: str, folder: Path) -> Path:
    """Write a page beside the folder of results; for any other folder, inside it."""
    path = (folder.parent if folder == FOLDER else folder) / page
    path.write_text(render(page, folder), encoding="utf-8")
    return path


def render(page: str, folder: Path) -> str:
    """A page, from the figures of every program that has run."""
    files = {name: folder / f"{name}.json" for name in PAGES[page]}
    figures = {name: json.loads(path.read_text(encoding="utf-8")) for name, path in files.items() if path.exists()}
    by_machine: dict[str, list[str]] = {}
    for name, each in figures.items():
        by_machine.setdefault(machine_text(each["machine"]), []).append(name)
    machines = "\n".join(
        wrap(f"Machine: {text}.") if len(by_machine) == 1 else f"* {', '.join(names)}: {text}."
        for text, names in by_machine.items()
    )
    sections = [importlib.import_module(f"benchmarks.{name}").section(each) for name, each in figures.items()]
    return joined("# Results of the benchmarks", INTRODUCTION, machines, *sections) + "\n"


def describe_machine() -> dict[str, Any]:
    """Processor, cores, memory, and the versions of everything that computes."""
    versions = {"Python": platform.python_version()}
    for name in PACKAGES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return {
        "processor": processor(),
        "cores": CORES,
        "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9, 1),
        "system": f"{platform.system()} {platform.machine()}",
        "versions": versions,
        "blas": blas(),
        "variables": {name: value for name, value in sorted(os.environ.items()) if name.startswith(TUNING)},
    }


def processor() -> str:
    """Model name of the processor."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or "unknown"


def blas() -> str:
    """NumPy's BLAS library, with the kernels that it chose if threadpoolctl is there to ask."""
    built: Any = np.show_config(mode="dicts")
    found = built.get("Build Dependencies", {}).get("blas", {})
    name = f"{found.get('name', 'unknown')} {found.get('version', '')}".strip()
    try:
        from threadpoolctl import threadpool_info
    except ImportError:
        return name
    kernels = {info["architecture"] for info in threadpool_info() if info.get("architecture")}
    return f"{name}, kernels for {', '.join(sorted(kernels))}" if kernels else name


def machine_text(machine: dict[str, Any]) -> str:
    """One sentence, of whatever was noted."""
    cores, memory = machine.get("cores"), machine.get("memory_gb")
    parts = [machine.get("processor"), cores and f"{cores} cores", memory and f"{memory} GB", machine["system"]]
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
    variables = ", ".join(f"{name}={value}" for name, value in machine.get("variables", {}).items())
    blas_text = machine.get("blas") and f"BLAS {machine['blas']}"
    return "; ".join(filter(None, [", ".join(filter(None, parts)), versions, blas_text, variables]))


def spread(values: Sequence[float], scale: float = 1.0) -> str:
    """Median (smallest to largest); a single number as it is."""
    numbers = [scale * value for value in values]
    if len(numbers) == 1:
        return short(numbers[0])
    return f"{short(float(np.median(numbers)))} ({short(min(numbers))} to {short(max(numbers))})"


def short(value: float) -> str:
    """Three digits, without an exponent where a person would write none."""
    if not np.isfinite(value):
        return str(value)
    if value == 0 or 1e-4 <= abs(value) < 1e6:
        rounded = float(f"{value:.3g}")
        digits = 2 - int(np.floor(np.log10(abs(rounded)))) if rounded else 0
        return f"{rounded:,.{max(0, digits)}f}"
    return f"{value:.2e}"


def ratios(numerators: Sequence[float], denominators: Sequence[float]) -> list[float]:
    """Ratios round by round."""
    return [one / other for one, other in zip(numerators, denominators, strict=True)]


def table(head: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """A table in Markdown."""
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return "\n".join(lines + ["| " + " | ".join(map(str, row)) + " |" for row in rows])


def by_side(columns: dict[str, dict[str, str]]) -> str:
    """A table with a row for every side, from the cells of every column by side."""
    names = dict.fromkeys(name for cells in columns.values() for name in cells)
    return table(["side", *columns], [[name, *(cells.get(name, "") for cells in columns.values())] for name in names])


def wrap(text: str) -> str:
    """A paragraph of a page."""
    return textwrap.fill(" ".join(text.split()), 118, break_long_words=False, break_on_hyphens=False)


def joined(*parts: str) -> str:
    """Parts of a page that are not empty, a blank line between them."""
    return "\n\n".join(part.strip() for part in parts if part)


def left_out_text(cases: dict[str, Any]) -> str:
    """The sides missing from the tables, with the reason."""
    left_out = {f"{side} ({name})": why for name, case in cases.items() for side, why in case["left_out"].items()}
    return wrap("Left out: " + "; ".join(f"{name}: {why}" for name, why in left_out.items()) + ".") if left_out else ""


if __name__ == "__main__":
    for page in PAGES:
        print(f"written to {write_page(page, FOLDER)}")
