"""One forward and backward in float32: ours, the peers, and the floor of the arithmetic.

    python -m benchmarks.train_step [--quick] [--sizes small large] [--peers torch jax]

Every side is checked against ours in float64 to 1e-10 before it is timed. Writes results/train_step.json and .png.
"""

from __future__ import annotations

import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.crew import CORES, Failed, Side, Worker
from benchmarks.measuring import TURN, calibrate, interleave
from benchmarks.problems import QUICK, SIZES, Size
from benchmarks.results import (
    add_peers,
    add_pieces,
    arguments,
    earlier,
    figure,
    in_order,
    left_out_text,
    parse,
    ratios,
    save,
    short,
    spread,
    table,
    wrap,
)
from benchmarks.sides import AGREEMENT, CHECKED, PEERS, SINGLE, training_sides

NAME = "train_step"
FLOOR_TURN = "benchmarks.floor:turn"


def main() -> None:
    parser = arguments(__doc__, rounds=11)
    parser.add_argument("--sizes", nargs="+", choices=list(SIZES), default=list(SIZES))
    add_peers(parser, list(PEERS))
    add_pieces(parser)
    parser.add_argument("--turn", type=float, help="seconds of a side's turn; default 0.5, with --quick 0.02")
    parser.add_argument("--limit", type=float, default=900.0, help="seconds that a side may take to get ready")
    options = parse(parser)
    sizes = QUICK if options.quick else {name: SIZES[name] for name in options.sizes}
    seconds = options.turn or (0.02 if options.quick else 0.5)
    figures: dict[str, Any] = {"rounds": options.rounds, "turn_seconds": seconds, "cores": CORES}
    figures["sizes"] = earlier(NAME, options, turn_seconds=seconds).get("sizes", {})
    for name, size in sizes.items():
        print(f"{name}: {size.described()}", file=sys.stderr)
        found = measure(size, options.peers, options.rounds, seconds, options.limit)
        figures["sizes"][name] = {"size": size._asdict(), **found}
        figures["sizes"] = in_order(figures["sizes"], [*SIZES, *QUICK])
        draw(figures, options.out / f"{NAME}.png")
        save(NAME, figures, options.out)  # after every size: what is measured is not lost


def floor_sides() -> list[Side]:
    """The floor with one thread, with all, and in two processes that have half the batch each."""
    sides = [Side("floor, 1 thread", "floor"), Side(f"floor, {CORES} threads", "floor", CORES)]
    return [*sides[: 1 if CORES == 1 else 2], Side("floor, 2 processes", "floor", 1, 2)]


def measure(size: Size, peers: list[str], rounds: int, seconds: float, limit: float) -> dict[str, Any]:
    """Seconds per step of every side in every round, and the lines of the floor."""
    sides, left_out = training_sides(peers)
    ready: dict[str, float] = {}
    lines: dict[str, list[dict[str, Any]]] = {}
    calls, turns = {}, {}
    with ExitStack() as stack:
        workers = {}
        for side in [*sides, *floor_sides()]:
            print(f"  {side.name} gets ready", file=sys.stderr)
            try:
                worker = stack.enter_context(Worker(side))
                if side.kind == "floor":
                    part = size._replace(B=max(1, size.B // side.ranks))
                    lines[side.name] = worker.call("benchmarks.floor:prepare", part, limit=limit)[0]
                    calls[side.name], turns[side.name] = 1, FLOOR_TURN
                else:
                    ready[side.name] = max(worker.call("benchmarks.sides:prepare", side, size, limit=limit))
                    calls[side.name], turns[side.name] = calibrate(worker, seconds), TURN
                workers[side.name] = worker
            except Failed as error:
                left_out[side.name] = str(error)
                print(f"  {side.name} is left out: {error}", file=sys.stderr)
        answers, lost = interleave(workers, calls, rounds, turns)
    times = {name: [max(ranks) for ranks in rounds_] for name, rounds_ in answers.items() if turns[name] == TURN}
    floors = {}
    for name, rounds_ in answers.items():
        if turns[name] == FLOOR_TURN:
            # In each round the whole of the slower process; of a line, the median over rounds of the slower one.
            times[name] = [max(sum(rank) for rank in ranks) / 1e3 for ranks in rounds_]
            middle = np.median([np.max(ranks, axis=0) for ranks in rounds_], axis=0)
            floors[name] = [line | {"ms": float(ms)} for line, ms in zip(lines[name], middle, strict=True)]
    return {"seconds": times, "calls": calls, "ready": ready, "left_out": left_out | lost, "floor": floors}


def fastest_peer(seconds: dict[str, list[float]]) -> str | None:
    """The peer of the smallest median."""
    peers = [name for name in seconds if name in PEERS.values()]
    return min(peers, key=lambda name: float(np.median(seconds[name])), default=None)


def ours_of(seconds: dict[str, list[float]]) -> list[str]:
    """Our sides."""
    return [name for name in seconds if name.startswith("ours")]


def names_of(figures: dict[str, Any]) -> list[str]:
    """Every side that was measured at some size."""
    return list(dict.fromkeys(name for found in figures["sizes"].values() for name in found["seconds"]))


def summary(figures: dict[str, Any]) -> list[list[str]]:
    """Rows of the page's first table."""
    rows = []
    for size, found in figures["sizes"].items():
        seconds, peer = found["seconds"], fastest_peer(found["seconds"])
        if peer is None or not ours_of(seconds):
            continue
        ours = min(ours_of(seconds), key=lambda name: float(np.median(seconds[name])))
        bound = floor_of(ours, seconds)
        for other, label in ((peer, peer), (bound, "its floor")):
            if other is not None:
                what = f"training step, {size}: {ours}, times as long as {label}"
                rows.append([what, spread(ratios(seconds[ours], seconds[other]))])
    return rows


def section(figures: dict[str, Any], folder: Path) -> str:
    """The part of the page."""
    sizes = figures["sizes"]
    parts = [
        "## One training step",
        wrap(
            f"One forward and backward, float32, by `python -m benchmarks.train_step`. {figures['rounds']} rounds; a "
            f"turn takes about {figures['turn_seconds']} s, and its time is that of all its steps by their number. "
            f"Loss and every gradient of each side agreed with ours beforehand: to {AGREEMENT:.0e} in float64 on the "
            f"first {CHECKED} sequences, and what is timed to {SINGLE:.0e} of the largest entry in float32. The peers "
            f"have all {figures['cores']} cores; ours are one process with one thread or with all, and ranks of MPI "
            "with one thread each, which share the batch and add their gradients up."
        ),
        "\n".join(f"* {name}: {Size(**found['size']).described()}" for name, found in sizes.items()),
        "Milliseconds a step:",
        by_size(figures, lambda seconds, name: spread(seconds[name], 1e3)),
        figure(f"{NAME}.png", folder, "time of a step relative to the fastest peer"),
        "Times as long as the fastest peer, round by round (below 1 is faster):",
        relative_table(figures),
        "Two ranks, times as fast as one process with one thread:",
        ranks_table(figures),
        "Times as long as the floor of the same number of cores:",
        floor_table(figures),
        "Seconds until the first step was done, compilation included:",
        table(["side", *sizes], ready_rows(figures)),
        left_out_text({f"{name} ({size})": why for size, found in sizes.items() for name, why in left_out(found)}),
        *floor_pages(figures),
    ]
    return "\n\n".join(part for part in parts if part)


def left_out(found: dict[str, Any]) -> list[tuple[str, str]]:
    """Names and reasons."""
    return list(found["left_out"].items())


def by_size(figures: dict[str, Any], cell: Any) -> str:
    """A row per side, a column per size."""
    sizes = figures["sizes"]
    rows = []
    for name in names_of(figures):
        cells = [cell(found["seconds"], name) if name in found["seconds"] else "" for found in sizes.values()]
        rows.append([name, *cells])
    return table(["side", *sizes], rows)


def relative_table(figures: dict[str, Any]) -> str:
    """Ours by the fastest peer."""
    rows = []
    for size, found in figures["sizes"].items():
        seconds, peer = found["seconds"], fastest_peer(found["seconds"])
        if peer is not None:
            rows += [[size, peer, name, spread(ratios(seconds[name], seconds[peer]))] for name in ours_of(seconds)]
    return table(["size", "fastest peer", "side", "times as long"], rows)


def ranks_table(figures: dict[str, Any]) -> str:
    """What the second core brings."""
    one, two = "ours, 1 thread", "ours, 2 ranks"
    found = {size: each["seconds"] for size, each in figures["sizes"].items()}
    cells = [spread(ratios(each[one], each[two])) if {one, two} <= each.keys() else "" for each in found.values()]
    return table(list(found), [cells])


def floor_table(figures: dict[str, Any]) -> str:
    """Ours by the floor that it could reach."""
    rows = []
    for size, found in figures["sizes"].items():
        seconds = found["seconds"]
        for ours in ours_of(seconds):
            if (bound := floor_of(ours, seconds)) is not None:
                rows.append([size, ours, bound, spread(ratios(seconds[ours], seconds[bound]))])
    return table(["size", "side", "floor", "times as long"], rows)


def floor_of(ours: str, seconds: dict[str, list[float]]) -> str | None:
    """The floor of the same threads, or of as many processes."""
    bound = ours.replace("ours", "floor").replace("ranks", "processes")
    return bound if bound in seconds else None


def ready_rows(figures: dict[str, Any]) -> list[list[str]]:
    """Time to get ready, by side."""
    sizes = figures["sizes"].values()
    names = list(dict.fromkeys(name for found in sizes for name in found["ready"]))
    return [
        [name, *(short(found["ready"][name]) if name in found["ready"] else "" for found in sizes)] for name in names
    ]


def floor_pages(figures: dict[str, Any]) -> list[str]:
    """The floor line by line, folded away."""
    parts = [
        "### The floor",
        wrap(
            "Every matrix product of the step at the rate of its own shape and memory layout, warm, and every element "
            "of add, multiply, tanh, exp and square at NumPy's rate for arrays that stay in the cache "
            "(`benchmarks/floor.py`). "
            "With more threads the products are the BLAS library's to share out, and the elements are still one "
            "thread's; the floor of two processes has half the batch in each. Ragged batches are counted as full "
            "ones. Rates are of multiplications and additions, or of elements."
        ),
    ]
    for size, found in figures["sizes"].items():
        for name, lines in found["floor"].items():
            if name == "floor, 1 thread":
                parts.append(folded(f"{size}, {name}", lines))
    return parts


def folded(title: str, lines: list[dict[str, Any]]) -> str:
    """One size's floor: sums by kind, then every line."""
    total = sum(line["ms"] for line in lines)
    kinds: dict[str, float] = {}
    for line in lines:
        kinds[line["kind"]] = kinds.get(line["kind"], 0.0) + line["ms"]
    by_kind = ", ".join(f"{kind} {short(ms)} ms ({100 * ms / total:.0f} %)" for kind, ms in kinds.items())
    rows = [
        [
            line["name"],
            line["kind"],
            line["shape"],
            f"{line['count']:g}",
            short(line["work"] * line["count"] / line["ms"] / 1e6),
            short(line["ms"]),
            f"{100 * line['ms'] / total:.1f} %",
        ]
        for line in sorted(lines, key=lambda line: -line["ms"])
    ]
    head = ["what", "kind", "shape", "times", "rate, 1e9/s", "ms", "share"]
    opening = f"<details><summary>{title}: {short(total)} ms; {by_kind}</summary>"
    return f"{opening}\n\n{table(head, rows)}\n\n</details>"


def draw(figures: dict[str, Any], path: Path) -> None:
    """Bars of time relative to the fastest peer, a group for every size; without a peer, to ours."""
    from benchmarks.drawing import grouped_bars

    groups: dict[str, dict[str, tuple[float, float, float]]] = {}
    for size, found in figures["sizes"].items():
        seconds = found["seconds"]
        base = fastest_peer(seconds) or next(iter(ours_of(seconds)), None)
        if base is None:
            continue
        relative = {name: ratios(values, seconds[base]) for name, values in seconds.items()}
        groups[size] = {
            name: (float(np.median(each)), min(each), max(each))
            for name, each in relative.items()
            if name != "floor, 2 processes"
        }
    grouped_bars(groups, path, "time of one training step by that of the fastest peer", "shorter is faster")


if __name__ == "__main__":
    main()
