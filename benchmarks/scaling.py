"""Time and memory against length and against batch: ``python -m benchmarks.scaling [--quick]``.

With attention a step looks at every source position from every target position: time per pair of positions should
stay the same. Without, time per token should. Every point is a process of its own. Writes results/scaling.json and
results/scaling.png.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.crew import Worker
from benchmarks.measuring import Peak, resident, settle_memory, timed
from benchmarks.problems import Size, make_problem, square
from benchmarks.results import arguments, figure, parse, save, spread, table, wrap
from benchmarks.sides import OURS, keep_memory, ours_step

NAME = "scaling"
WIDTH, VOCABULARY = 64, 20
LENGTHS, SEQUENCES = (16, 32, 64, 128, 256, 512, 1024), 16
BATCHES, LENGTH = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512), 32
KINDS = {"additive": "attention", "none": "no attention"}
SECONDS = 0.3  # time of the steps of one point


def main() -> None:
    parser = arguments(__doc__, rounds=3, quick_rounds=1)
    options = parse(parser)
    lengths, batches = ((4, 8), (1, 2)) if options.quick else (LENGTHS, BATCHES)
    points = [("length", kind, square(SEQUENCES, length, WIDTH, VOCABULARY)) for kind in KINDS for length in lengths]
    points += [("batch", kind, square(batch, LENGTH, WIDTH, VOCABULARY)) for kind in KINDS for batch in batches]
    rows = [
        {"sweep": sweep, "kind": kind, "size": size._asdict(), "seconds": [], "bytes": []}
        for sweep, kind, size in points
    ]
    for number in range(options.rounds):
        print(f"round {number + 1} of {options.rounds}", file=sys.stderr)
        for row in rows[:: -1 if number % 2 else 1]:
            with Worker(OURS) as worker:
                seconds, peak, method = worker.call("benchmarks.scaling:point", Size(**row["size"]), row["kind"])[0]
            row["seconds"].append(seconds)
            row["bytes"].append(peak)
    figures = {"rounds": options.rounds, "method": method, "points": rows}
    draw(figures, options.out / f"{NAME}.png")
    save(NAME, figures, options.out)


def point(desk: dict[str, Any], size: Size, kind: str) -> tuple[float, int, str]:
    """Seconds per step after the first two; peak of the first above the level before, in bytes."""
    keep_memory(desk, OURS)
    ours_step(*make_problem(square(2, 3, 4, 6), alignment=kind))  # loads whatever is loaded at the first call
    model, params, batch = make_problem(size, alignment=kind)
    settle_memory()
    before = resident()
    with Peak() as peak:
        ours_step(model, params, batch)
    once = timed(lambda: ours_step(model, params, batch), 1)
    seconds = timed(lambda: ours_step(model, params, batch), max(1, round(SECONDS / once)))
    return seconds, max(0, peak.bytes - before), peak.method


def per_part(row: dict[str, Any]) -> list[float]:
    """Nanoseconds per pair of positions, or without attention per token of source and target."""
    size = Size(**row["size"])
    parts = size.B * (size.T * size.U if row["kind"] == "additive" else size.T + size.U)
    return [1e9 * seconds / parts for seconds in row["seconds"]]


def rows_of(figures: dict[str, Any], sweep: str, kind: str) -> list[dict[str, Any]]:
    """The points of one line."""
    return [row for row in figures["points"] if (row["sweep"], row["kind"]) == (sweep, kind)]


def summary(figures: dict[str, Any]) -> list[list[str]]:
    """Rows of the page's first table: how flat the lines over the length are, from their middle on.

    At small lengths it is the calls that take the time.
    """
    rows = []
    for kind, label in KINDS.items():
        points = rows_of(figures, "length", kind)
        first, last = points[len(points) // 2], points[-1]
        unit = "pair of positions" if kind == "additive" else "token"
        change = float(np.median(per_part(last)) / np.median(per_part(first)))
        lengths = f"{first['size']['T']} to {last['size']['T']}"
        rows.append([f"{label}: time per {unit} from length {lengths}", f"times {change:.2f}"])
    return rows


def section(figures: dict[str, Any], folder: Path) -> str:
    """The part of the page."""
    first = Size(**figures["points"][0]["size"])
    parts = [
        "## Scaling",
        wrap(
            "Time and peak memory of one training step by `python -m benchmarks.scaling`: float32, one thread, E = H = "
            f"D = A = {first.H}, V = {first.V}, as many target as source positions. Nanoseconds are those per pair of "
            "source and target positions with attention, and per token of source and target without. Memory is the "
            "peak of the first step above the resident size just before it, measured by "
            f"{figures['method']}. Every point in a process of its own, {figures['rounds']} rounds."
        ),
        figure(f"{NAME}.png", folder, "time per pair of positions or token, and memory, against length and batch"),
    ]
    for sweep, letter in (("length", "T"), ("batch", "B")):
        for kind, label in KINDS.items():
            points = rows_of(figures, sweep, kind)
            fixed = f"B = {points[0]['size']['B']}" if sweep == "length" else f"T = U = {points[0]['size']['T']}"
            rows = [
                [row["size"][letter], spread(row["seconds"], 1e3), spread(per_part(row)), spread(row["bytes"], 1e-6)]
                for row in points
            ]
            unit = "ns a pair" if kind == "additive" else "ns a token"
            parts += [f"{label}, {fixed}:", table([sweep, "ms a step", unit, "peak, MB"], rows)]
    return "\n\n".join(part for part in parts if part)


def draw(figures: dict[str, Any], path: Path) -> None:
    """Three panels: time over length, time over batch, memory over length."""
    from benchmarks.drawing import curves

    def line(sweep: str, kind: str, of: Any) -> list[tuple[float, float]]:
        letter = "T" if sweep == "length" else "B"
        return [(row["size"][letter], float(np.median(of(row)))) for row in rows_of(figures, sweep, kind)]

    names = {"additive": "attention, per pair", "none": "no attention, per token"}
    panels = {
        "time over length": {names[kind]: line("length", kind, per_part) for kind in KINDS},
        "time over batch": {names[kind]: line("batch", kind, per_part) for kind in KINDS},
        "memory over length": {
            label: line("length", kind, lambda row: [max(each, 1e4) / 1e6 for each in row["bytes"]])
            for kind, label in KINDS.items()
        },
    }
    labels = {
        "time over length": ("source and target length", "nanoseconds"),
        "time over batch": ("sequences", "nanoseconds"),
        "memory over length": ("source and target length", "peak of a step, MB"),
    }
    curves(panels, path, labels, "One training step; a flat line is time in proportion to the work")


if __name__ == "__main__":
    main()
