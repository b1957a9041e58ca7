"""One forward and backward in float32: ours, the peers, and the floor of the arithmetic.

    python -m benchmarks.train_step [--quick] [--sizes small large] [--peers torch jax]

Every side is checked against ours in float64 to 1e-10 before it is timed. Writes results/train_step.json.
"""

from __future__ import annotations

from typing import Any

from benchmarks import results
from benchmarks.crew import CORES
from benchmarks.measuring import time_sides
from benchmarks.problems import QUICK, SIZES, Size
from benchmarks.results import by_side, joined, ratios, short, spread, table, wrap
from benchmarks.sides import (
    AGREEMENT,
    CHECKED,
    OURS,
    PEERS,
    SINGLE,
    THREADS,
    UNRECORDED,
    WORKERS,
    fastest_peer,
    peer_sides,
)

NAME = "train_step"


def main() -> None:
    parser = results.arguments(__doc__, rounds=11, quick_rounds=2)
    parser.add_argument("--sizes", nargs="+", choices=list(SIZES), default=list(SIZES))
    parser.add_argument("--turn", type=float, help="seconds of a side's turn; default 0.5, with --quick 0.02")
    results.add_peers(parser, list(PEERS))
    options = results.parse(parser)
    sizes = QUICK if options.quick else {name: SIZES[name] for name in options.sizes}
    turn = options.turn or (0.02 if options.quick else 0.5)
    ours = [OURS, THREADS, WORKERS] if CORES > 1 else [OURS]
    sides = [*ours, UNRECORDED, *peer_sides(options.peers)]
    sides += [side._replace(name=floor_of(side.name), kind="floor") for side in ours]

    def measure(size: Size) -> dict[str, Any]:
        found = time_sides(sides, "benchmarks.sides:prepare", size, options, turn)
        ready = {side: max(seconds) for side, seconds in found.ready.items() if not side.startswith("floor")}
        return {"size": size._asdict(), "seconds": found.seconds, "ready": ready, "left_out": found.left_out}

    results.measure(NAME, options, sizes, measure, rounds=options.rounds, turn_seconds=turn)


def floor_of(ours: str) -> str:
    """The floor of the same threads, or of as many processes, which have their share of the batch each."""
    return ours.replace("ours", "floor").replace("workers", "processes")


def section(figures: dict[str, Any]) -> str:
    """The section of the page."""
    sizes = figures["cases"]
    seconds = {size: found["seconds"] for size, found in sizes.items()}
    by_peer, by_core, by_floor, by_workers = [], [], [], []
    for size, each in seconds.items():
        peer, alone = fastest_peer(each), fastest_peer(each, ", 1 core")
        for ours in (OURS.name, UNRECORDED.name):
            if alone and ours in each:
                by_core.append([size, alone, ours, spread(ratios(each[ours], each[alone]))])
        for ours in (name for name in each if name.startswith("ours")):
            if peer:
                by_peer.append([size, peer, ours, spread(ratios(each[ours], each[peer]))])
            if (floor := floor_of(ours)) in each:
                by_floor.append([size, ours, floor, spread(ratios(each[ours], each[floor]))])
        both = OURS.name in each and WORKERS.name in each
        by_workers.append(spread(ratios(each[OURS.name], each[WORKERS.name])) if both else "")
    return joined(
        "## One training step",
        wrap(
            f"One forward and backward, float32, by `python -m benchmarks.train_step`. {figures['rounds']} rounds; a "
            f"turn takes about {figures['turn_seconds']} s, and its time is that of all its steps by their number. "
            f"Loss and every gradient of each side agreed with ours beforehand: to {AGREEMENT:.0e} in float64 on the "
            f"first {CHECKED} sequences, and what is timed to {SINGLE:.0e} of the largest entry in float32. The peers "
            f"have all {figures['cores']} cores, some one core in rows of their own. Ours are one process with one "
            "thread or with all, and two workers with a thread each, which share the batch and add their gradients up. "
            "As in training, a step without padding runs from a record of the code, made beforehand like the "
            "compiled steps of the peers; one row is the code itself."
        ),
        "\n".join(f"* {name}: {Size(**found['size'])}" for name, found in sizes.items()),
        "Milliseconds a step:",
        by_side({size: {name: spread(each[name], 1e3) for name in each} for size, each in seconds.items()}),
        "Times as long as the fastest peer, round by round (below 1 is faster):",
        table(["size", "fastest peer", "side", "times as long"], by_peer),
        "On one core, times as long as the fastest peer on one core:" if by_core else "",
        table(["size", "fastest peer", "side", "times as long"], by_core) if by_core else "",
        "Two workers, times as fast as one process with one thread:",
        table(list(sizes), [by_workers]),
        "Times as long as the floor of the same number of cores:",
        table(["size", "side", "floor", "times as long"], by_floor),
        wrap(
            "The floor is every matrix product of the step at the rate of its own shape and memory layout, warm, and "
            "every element of add, multiply, tanh, exp and square at NumPy's rate for arrays that stay in the cache "
            "(`benchmarks/floor.py`). With more threads the BLAS library shares out the products, and one thread does "
            "the elements; of two processes each has half the batch. Ragged batches count as full ones."
        ),
        "Seconds until the first step was done, compilation included:",
        by_side({size: {name: short(each) for name, each in sizes[size]["ready"].items()} for size in sizes}),
        results.left_out_text(sizes),
    )


if __name__ == "__main__":
    main()
