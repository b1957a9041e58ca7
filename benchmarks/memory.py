"""Peak memory of training steps: ours, also recomputed, and the peers, each in a process of its own.

    python -m benchmarks.memory [--quick] [--sizes small large] [--peers torch jax]

Writes results/memory.json.
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

from benchmarks import results
from benchmarks.crew import Failed, Side, Worker
from benchmarks.measuring import Peak, installed, resident, settle_memory
from benchmarks.problems import QUICK, SIZES, Problem, Size, make_problem, square
from benchmarks.results import by_side, joined, spread, wrap
from benchmarks.sides import PEERS, make_step, peer_sides

NAME = "memory"
# Ours, with the settings that decide what is kept for the backward: keywords of ``loss_and_gradients``.
VARIANTS: dict[str, dict[str, Any]] = {"ours": {}, "ours, recomputed": {"recompute": True}}
WARM = square(2, 3, 4, 6)  # its step loads whatever is loaded at the first call
STEPS = 3
MEASURES = {
    "first": "First step",
    "later": "Later steps",
    "moving": "Later steps, above the level between steps",
}


def main() -> None:
    parser = results.arguments(__doc__, rounds=2)
    parser.add_argument("--sizes", nargs="+", choices=list(SIZES), default=[name for name in SIZES if name != "ragged"])
    results.add_peers(parser, list(PEERS))
    options = results.parse(parser)
    sizes = QUICK if options.quick else {name: SIZES[name] for name in options.sizes}
    sides, missing = installed([*(Side(name, "ours") for name in VARIANTS), *peer_sides(options.peers)])
    before = results.earlier(NAME, options, {"rounds": options.rounds})

    def measure_size(size: Size) -> dict[str, Any]:
        found, left_out = measure(size, sides, options.rounds, options.limit)
        method = " and ".join({each.pop("method")[0] for each in found.values()})
        now = {"size": size._asdict(), "bytes": found, "left_out": missing | left_out, "method": method}
        return with_earlier(now, before)

    results.measure(NAME, options, sizes, measure_size, rounds=options.rounds)


def measure(size: Size, sides: list[Side], rounds: int, limit: float) -> tuple[dict[str, Any], dict[str, str]]:
    """Bytes by side and measure, one number a round, and the sides that failed; every round in a fresh process."""
    found: dict[str, dict[str, list[Any]]] = {}
    left_out: dict[str, str] = {}
    for number in range(rounds):
        for side in sides[:: -1 if number % 2 else 1]:
            if side.name in left_out:
                continue
            print(f"  round {number + 1}, {side.name}", file=sys.stderr)
            try:
                with Worker(side) as worker:
                    [peaks] = worker.call("benchmarks.memory:steps", side, size, limit=limit)
            except Failed as error:
                left_out[side.name] = str(error)
                found.pop(side.name, None)
                continue
            for name, value in peaks.items():
                found.setdefault(side.name, {}).setdefault(name, []).append(value)
    return found, left_out


def with_earlier(now: dict[str, Any], before: dict[str, Any]) -> dict[str, Any]:
    """The figures of a size, and the earlier ones of sides that were not measured now: memory needs no common round."""
    for case in before.values():
        if case["size"] == now["size"] and case["method"] == now["method"]:
            kept = {name: peaks for name, peaks in case["bytes"].items() if name not in now["left_out"]}
            failed = {name: why for name, why in case["left_out"].items() if name not in now["bytes"]}
            return now | {"bytes": kept | now["bytes"], "left_out": failed | now["left_out"]}
    return now


def steps(desk: dict[str, Any], side: Side, size: Size) -> dict[str, Any]:
    """Peaks of the first step and of later ones, above the level before."""
    keywords = VARIANTS.get(side.name, {})
    make_step(desk, side, make_problem(WARM), **keywords)()
    problem = make_problem(size)
    settle_memory()
    # A framework's own copies of parameters and batch are no part of the step, wherever they are made.
    copied = 0 if side.kind == "ours" else bytes_of(problem)
    before = resident() + copied
    with Peak() as first:
        step = make_step(desk, side, problem, **keywords)
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


def bytes_of(problem: Problem) -> int:
    """Size of the parameters and the batch."""
    arrays = [*problem.params.values(), *vars(problem.batch).values()]
    return sum(array.nbytes for array in arrays if isinstance(array, np.ndarray))


def section(figures: dict[str, Any]) -> str:
    """The section of the page."""
    sizes = figures["cases"]
    methods = " and ".join(dict.fromkeys(found["method"] for found in sizes.values()))
    tables = []
    for measure_, title in MEASURES.items():
        columns = {
            size: {name: spread(peaks[measure_], 1e-6) for name, peaks in found["bytes"].items()}
            for size, found in sizes.items()
        }
        tables += [f"{title}:", by_side(columns)]
    return joined(
        "## Memory",
        wrap(
            "Peak resident size above the resident size before the first step, MB, float32, by "
            f"`python -m benchmarks.memory`; every measurement in a process of its own, {figures['rounds']} of each. "
            "Before means: everything imported, a step of a tiny model done so that libraries are loaded, parameters "
            "and batch made (a framework's own copies of them are taken off), garbage collected. Measured by "
            f"{methods}. *First step* includes compilation where there is any. *Later steps* are measured "
            "against the same beginning, so they include what compilation or the first step left behind; *above the "
            "level between steps* leaves that out, and with it whatever is kept to be used again."
        ),
        "\n".join(f"* {name}: {Size(**found['size'])}" for name, found in sizes.items()),
        *tables,
        results.left_out_text(sizes),
    )


if __name__ == "__main__":
    main()
