"""The page of all results, made of the programs' files: ``python -m benchmarks.results`` measures nothing.

Every program saves its figures as JSON in benchmarks/results/ and makes benchmarks/RESULTS.md anew from all of them.
"""

from __future__ import annotations

import argparse
import importlib
import json
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

FOLDER = Path(__file__).parent / "results"
QUICK = FOLDER / "quick"  # where smoke runs write, page included
# Sections of the page, in their order; each module has `section(figures, folder) -> str`.
PROGRAMS = ("train_step", "profile", "memory", "scaling", "time_to_solve", "search", "startup")
INTRODUCTION = """\
Written by the programs in [benchmarks](README.md); not edited by hand, and made anew from the files in `results/` by
`python -m benchmarks.results`. A figure is the median of its rounds, with the smallest and the largest in brackets.
In every round each side has its turn, in changing order; each side lives in processes of its own, idle while another
is timed. Ratios are taken round by round, and what is given is the median of those."""


def arguments(description: str | None, rounds: int, quick_rounds: int = 2) -> argparse.ArgumentParser:
    """What every program can be told."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a smoke run: tiny sizes, seconds, a page of its own")
    parser.add_argument("--rounds", type=int, help=f"default {rounds}, with --quick {quick_rounds}")
    parser.add_argument("--out", type=Path, help=f"folder of the results; default {FOLDER.name}/")
    parser.set_defaults(default_rounds=(rounds, quick_rounds))
    return parser


def add_peers(parser: argparse.ArgumentParser, peers: Sequence[str]) -> None:
    """Which peers to measure."""
    parser.add_argument(
        "--peers", nargs="*", choices=peers, help="default all; with --quick none that compiles for long"
    )
    parser.set_defaults(all_peers=list(peers))


def add_pieces(parser: argparse.ArgumentParser) -> None:
    """Let a long program be run in pieces."""
    parser.add_argument("--add", action="store_true", help="keep what the file has of what is not measured now")


def earlier(name: str, options: argparse.Namespace, **settings: Any) -> dict[str, Any]:
    """What the program's file has already, if it is to be kept; refused where it was measured with something else."""
    path = options.out / f"{name}.json"
    if not options.add or not path.exists():
        return {}
    from benchmarks.machine import describe_machine

    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    if found["machine"] != describe_machine():
        raise SystemExit(f"--add: {path} was measured on another machine or with other versions")
    for setting, value in {"rounds": options.rounds, **settings}.items():
        if found.get(setting, value) != value:  # a race has no rounds
            raise SystemExit(
                f"--add: {path} was measured with {setting} {found[setting]}, expected the same, got {value}"
            )
    return found


def in_order(sizes: dict[str, Any], order: Sequence[str]) -> dict[str, Any]:
    """The sizes as they are always listed."""
    return dict(sorted(sizes.items(), key=lambda item: list(order).index(item[0]) if item[0] in order else -1))


def parse(parser: argparse.ArgumentParser, words: Sequence[str] | None = None) -> argparse.Namespace:
    """The settings, with what --quick changes filled in."""
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


def save(name: str, figures: dict[str, Any], folder: Path) -> None:
    """Write one program's figures, with the machine's description, and the page of all."""
    from benchmarks.machine import describe_machine

    figures = figures | {"machine": describe_machine()}
    (folder / f"{name}.json").write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    page = write_page(folder)
    print(f"written to {folder / name}.json and {page}")


def load_all(folder: Path) -> dict[str, dict[str, Any]]:
    """Figures of every program that has run, in the page's order."""
    files = {name: folder / f"{name}.json" for name in PROGRAMS}
    return {name: json.loads(path.read_text(encoding="utf-8")) for name, path in files.items() if path.exists()}


def write_page(folder: Path) -> Path:
    """RESULTS.md beside the folder; of a smoke run, or in a folder elsewhere, inside it."""
    path = (folder.parent if folder == FOLDER else folder) / "RESULTS.md"
    path.write_text(render(load_all(folder), folder), encoding="utf-8")
    return path


def render(everything: dict[str, dict[str, Any]], folder: Path) -> str:
    """The whole page."""
    parts = ["# Results of the benchmarks", INTRODUCTION, machines(everything)]
    modules = {name: importlib.import_module(f"benchmarks.{name}") for name in everything}
    rows = [
        row
        for name, module in modules.items()
        if hasattr(module, "summary")
        for row in module.summary(everything[name])
    ]
    if rows:
        parts += ["## In short", table(["measure", "figure"], rows)]
    parts += [module.section(everything[name], folder) for name, module in modules.items()]
    return "\n\n".join(part.strip() for part in parts if part) + "\n"


def machines(everything: dict[str, dict[str, Any]]) -> str:
    """What was measured on what; one line where all programs ran on the same."""
    by_text: dict[str, list[str]] = {}
    for name, figures in everything.items():
        by_text.setdefault(machine_text(figures["machine"]), []).append(name)
    if len(by_text) == 1:
        return wrap(f"Machine: {next(iter(by_text))}.")
    return "\n".join(f"* {', '.join(names)}: {text}." for text, names in by_text.items())


def machine_text(machine: dict[str, Any]) -> str:
    """One sentence."""
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
    variables = ", ".join(f"{name}={value}" for name, value in machine.get("variables", {}).items())
    memory = f", {machine['memory_gb']} GB" if machine.get("memory_gb") else ""
    return (
        f"{machine['processor']}, {machine['cores']} cores{memory}, {machine['system']}; {versions}; "
        f"BLAS {machine['blas']}" + (f"; {variables}" if variables else "")
    )


def spread(values: Sequence[float], scale: float = 1.0) -> str:
    """Median (smallest to largest); one number alone as it is."""
    numbers = [scale * value for value in values]
    if len(numbers) == 1:
        return short(numbers[0])
    return f"{short(float(np.median(numbers)))} ({short(min(numbers))} to {short(max(numbers))})"


def short(value: float) -> str:
    """Three digits, and no exponent where a person would write none."""
    if not np.isfinite(value):
        return str(value)
    if value == 0 or 1e-4 <= abs(value) < 1e6:
        rounded = float(f"{value:.3g}")
        digits = 2 - int(np.floor(np.log10(abs(rounded)))) if rounded else 0
        return f"{rounded:,.{max(0, digits)}f}"
    return f"{value:.2e}"


def ratios(ours: Sequence[float], theirs: Sequence[float]) -> list[float]:
    """Round by round."""
    return [mine / other for mine, other in zip(ours, theirs, strict=True)]


def table(head: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """Markdown."""
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return "\n".join(lines + ["| " + " | ".join(map(str, row)) + " |" for row in rows])


def wrap(text: str) -> str:
    """A paragraph of the page."""
    return textwrap.fill(" ".join(text.split()), 118, break_long_words=False, break_on_hyphens=False)


def left_out_text(left_out: dict[str, str]) -> str:
    """Who is not in the tables, and why."""
    return wrap("Left out: " + "; ".join(f"{name}: {why}" for name, why in left_out.items()) + ".") if left_out else ""


def figure(name: str, folder: Path, text: str) -> str:
    """A picture of the results' folder, if it was drawn."""
    place = f"{folder.name}/{name}" if folder == FOLDER else name
    return f"![{text}]({place})" if (folder / name).exists() else ""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", type=Path, default=FOLDER)
    print(f"written to {write_page(parser.parse_args().folder)}")


if __name__ == "__main__":
    main()
