"""Peak memory of training steps: ours in every variant, and the peers, each in a process of its own.

    python -m benchmarks.memory [--quick] [--sizes small large] [--peers torch jax]

Writes results/memory.json.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.crew import Failed, Side, Worker
from benchmarks.measuring import Peak, resident, settle_memory
from benchmarks.problems import QUICK, SIZES, Problem, Size, make_problem, square
from benchmarks.results import (
    add_peers,
    add_pieces,
    arguments,
    earlier,
    in_order,
    left_out_text,
    parse,
    save,
    short,
    spread,
    table,
    wrap,
)
from benchmarks.sides import PEERS, Step, keep_memory, make_step, ours_step, peer_sides

NAME = "memory"
# Ours, in the ways that the library can be told to keep what the backward needs: keywords of ``ours_step``.
VARIANTS: dict[str, dict[str, Any]] = {"ours": {}, "ours, recomputed": {"recompute": True}}
SETTLED = [name for name in SIZES if name != "ragged"]
WARM = square(2, 3, 4, 6)  # a step of it loads whatever is loaded at the first call
STEPS = 3
MEASURES = ("first", "later", "moving")


def main() -> None:
    parser = arguments(__doc__, rounds=2, quick_rounds=1)
    parser.add_argument("--sizes", nargs="+", choices=list(SIZES), default=SETTLED)
    add_peers(parser, list(PEERS))
    add_pieces(parser)
    parser.add_argument("--limit", type=float, default=900.0, help="seconds that one measurement may take")
    options = parse(parser)
    sizes = QUICK if options.quick else {name: SIZES[name] for name in options.sizes}
    peers, left_out = peer_sides(options.peers)
    sides = [Side(name, "ours") for name in VARIANTS] + peers
    figures: dict[str, Any] = {"rounds": options.rounds, "method": "", **earlier(NAME, options)}
    figures.setdefault("sizes", {})
    for name, size in sizes.items():
        print(f"{name}: {size.described()}", file=sys.stderr)
        found = measure(size, sides, options.rounds, options.limit)
        figures["method"] = found.pop("method") or figures["method"]
        figures["sizes"][name] = {"size": size._asdict(), **found}
        figures["sizes"][name]["left_out"] |= left_out
        figures["sizes"] = in_order(figures["sizes"], [*SIZES, *QUICK])
        save(NAME, figures, options.out)  # after every size: what is measured is not lost


def measure(size: Size, sides: list[Side], rounds: int, limit: float) -> dict[str, Any]:
    """Bytes by side and measure, one number a round, every measurement in a fresh process."""
    found: dict[str, dict[str, list[int]]] = {}
    left_out: dict[str, str] = {}
    method = ""
    for number in range(rounds):
        for side in sides[:: -1 if number % 2 else 1]:
            if side.name in left_out:
                continue
            print(f"  round {number + 1}, {side.name}", file=sys.stderr)
            try:
                with Worker(side) as worker:
                    one = worker.call("benchmarks.memory:steps", side, size, VARIANTS.get(side.name), limit=limit)[0]
            except Failed as error:
                left_out[side.name] = str(error)
                found.pop(side.name, None)
                continue
            method = one.pop("method")
            kept = found.setdefault(side.name, {name: [] for name in MEASURES})
            for name in MEASURES:
                kept[name].append(one[name])
    return {"bytes": found, "left_out": left_out, "method": method}


def steps(desk: dict[str, Any], side: Side, size: Size, keywords: dict[str, Any] | None) -> dict[str, Any]:
    """Peaks of the first step and of later ones above what was there before."""
    keep_memory(desk, side)
    ready(side, make_problem(WARM), keywords)()
    problem = make_problem(size)
    settle_memory()
    # A framework has copies of its own: they are no part of the step, wherever they are made.
    copied = 0 if side.kind == "ours" else bytes_of(problem)
    before = resident() + copied
    with Peak() as first:
        step = ready(side, problem, keywords)
        step()
    between = resident()
    with Peak() as later:
        for _ in range(STEPS):
            step()
    return {
        "first": first.bytes - before,
        "later": later.bytes - before,
        "moving": later.bytes - between,
        "method": first.method,
    }


def ready(side: Side, problem: Problem, keywords: dict[str, Any] | None) -> Step:
    """The side's step; ours with the variant's keywords."""
    if side.kind != "ours":
        return make_step(side, problem)
    model, params, batch = problem
    return lambda: ours_step(model, params, batch, **keywords or {})


def bytes_of(problem: Problem) -> int:
    """Parameters and batch."""
    arrays = [*problem.params.values(), *vars(problem.batch).values()]
    return sum(array.nbytes for array in arrays if isinstance(array, np.ndarray))


def summary(figures: dict[str, Any]) -> list[list[str]]:
    """Rows of the page's first table: ours by the smallest peer."""
    rows = []
    for size, found in figures["sizes"].items():
        later = {name: float(np.median(measures["later"])) for name, measures in found["bytes"].items()}
        peers = {name: value for name, value in later.items() if name in PEERS.values()}
        if peers:
            smallest = min(peers, key=lambda name: peers[name])
            for name in VARIANTS:
                if name in later:
                    text = f"{short(later[name] / 1e6)} MB, {smallest} {short(peers[smallest] / 1e6)} MB"
                    rows.append([f"peak memory of later steps, {size}: {name}", text])
    return rows


def section(figures: dict[str, Any], folder: Path) -> str:
    """The part of the page."""
    sizes = figures["sizes"]
    names = list(dict.fromkeys(name for found in sizes.values() for name in found["bytes"]))
    parts = [
        "## Memory",
        wrap(
            "Peak resident size above the resident size before the first step, MB, float32, by "
            f"`python -m benchmarks.memory`; every measurement in a process of its own, {figures['rounds']} of each. "
            "Before means: everything imported, a step of a tiny model done so that libraries are loaded, parameters "
            "and batch made (a framework's own copies of them are taken off), garbage collected. Measured by "
            f"{figures['method']}. *First step* includes compilation where there is any. *Later steps* are measured "
            "against the same beginning, so what compilation or the first step left behind is in them; *above the "
            "level between steps* leaves that out, and with it whatever is kept to be used again."
        ),
        "\n".join(f"* {name}: {Size(**found['size']).described()}" for name, found in sizes.items()),
    ]
    titles = ("First step", "Later steps", "Later steps, above the level between steps")
    for measure_, title in zip(MEASURES, titles, strict=True):
        rows = [
            [
                name,
                *(
                    spread(found["bytes"][name][measure_], 1e-6) if name in found["bytes"] else ""
                    for found in sizes.values()
                ),
            ]
            for name in names
        ]
        parts += [f"{title}:", table(["side", *sizes], rows)]
    missing = {f"{name} ({size})": why for size, found in sizes.items() for name, why in found["left_out"].items()}
    return "\n\n".join([*parts, left_out_text(missing)])


if __name__ == "__main__":
    main()
