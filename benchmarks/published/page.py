"""The page docs/results.md, made of the figures of all programs.

``python -m benchmarks.published.page`` writes it anew and measures nothing.
"""

from __future__ import annotations

import importlib
import json
from pathlib import Path

from benchmarks import results
from benchmarks.results import joined, wrap

PROGRAMS = ("recipe", "bottleneck", "wang", "beyond", "scan", "ablation", "book")
LESSONS = Path(__file__).parent / "lessons.md"
INTRODUCTION = """\
What was published for models like this one, and what it learns here. Every table is written by the program that its
text names. The program trains all models. It can be interrupted and called again, and never makes a run twice.
Accuracy is that of greedy output on sequences that were neither trained on nor used for choosing, except where the text
of a table says so."""


def write_page(folder: Path = results.FOLDER) -> Path:
    """Write the page from the results in a folder; those of a smoke run beside them."""
    path = results.ROOT / "docs" / "results.md" if folder == results.FOLDER else folder / "results.md"
    path.write_text(render(folder), encoding="utf-8")
    if folder == results.FOLDER:
        draw(folder)
    return path


def render(folder: Path) -> str:
    """The page."""
    found = figures(folder)
    by_machine: dict[str, list[str]] = {}
    for name, each in found.items():
        by_machine.setdefault(results.machine_text(each["machine"]), []).append(name)
    told = [
        wrap(f"Measured on: {text}." if len(by_machine) == 1 else f"{', '.join(names)} measured on: {text}.")
        for text, names in by_machine.items()
    ]
    sections = [
        importlib.import_module(f"benchmarks.published.{name}").section(each["rows"]) for name, each in found.items()
    ]
    lessons = LESSONS.read_text(encoding="utf-8").strip() if LESSONS.exists() else ""
    return joined("# Results", wrap(INTRODUCTION), lessons, *sections, "## Machine", *told) + "\n"


def figures(folder: Path) -> dict[str, dict[str, object]]:
    """What the programs have measured, by their names."""
    paths = {name: folder / f"published_{name}.json" for name in PROGRAMS}
    return {name: json.loads(path.read_text(encoding="utf-8")) for name, path in paths.items() if path.exists()}


def draw(folder: Path) -> None:
    """Draw the figures of the page."""
    found = figures(folder)
    for name in found:
        module = importlib.import_module(f"benchmarks.published.{name}")
        if hasattr(module, "draw_figure"):
            module.draw_figure(found[name]["rows"])


if __name__ == "__main__":
    print(f"written to {write_page()}")
