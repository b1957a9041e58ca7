"""Seconds of training until 99 % of held-out sequences come out whole: ours, and the same training in PyTorch.

    python -m benchmarks.time_to_solve [--quick] [--tasks reverse copy] [--lengths 10 20 50 100] [--limit 900]

Both begin with the same weights, draw the same batches and follow the same rule. They take turns, some updates at a
time; evaluation is not counted. Writes results/time_to_solve.json.
"""

from __future__ import annotations

import sys
from contextlib import ExitStack
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.crew import CORES, Failed, Side, Worker, mpiexec
from benchmarks.measuring import order_of
from benchmarks.results import (
    add_pieces,
    arguments,
    earlier,
    left_out_text,
    parse,
    ratios,
    save,
    short,
    spread,
    table,
    wrap,
)
from benchmarks.sides import OURS
from numpy_attention import TrainConfig

NAME = "time_to_solve"
GOAL = 0.99
HOPELESS = 0.3  # nats per token: above it no look is taken, as hardly a sequence comes out whole
COMPARED = 20  # updates whose losses are compared
AGREEMENT = 1e-4  # relative, in float32
SIDES = {
    "ours": OURS,
    "ranks": Side("ours, 2 ranks", "ours", 1, 2, mpi=True),
    "torch": Side("PyTorch eager", "torch", CORES),
    "step": Side("PyTorch, steps compiled", "torch step", CORES),
    "whole": Side("PyTorch, compiled as a whole", "torch whole", CORES),  # minutes before the first update
}
DEFAULT = ["ours", "ranks", "torch", "step"]
TINY = {"hidden_size": 16, "embedding_size": 8, "alignment_size": 8, "batch_size": 8, "steps": 40}


def main() -> None:
    parser = arguments(__doc__, rounds=1, quick_rounds=1)
    parser.add_argument("--tasks", nargs="+", default=["reverse", "copy"], choices=["reverse", "copy"])
    parser.add_argument("--lengths", nargs="+", type=int, default=[10, 20, 50, 100])
    parser.add_argument("--sides", nargs="+", default=DEFAULT, choices=list(SIDES))
    parser.add_argument("--every", type=int, default=25, help="updates of a turn, after which it is evaluated")
    parser.add_argument("--limit", type=float, default=900.0, help="seconds of updates per side and task")
    add_pieces(parser)
    options = parse(parser)
    settings: dict[str, Any] = {}
    tasks, lengths, every, keys = options.tasks, options.lengths, options.every, options.sides
    if options.quick:
        tasks, lengths, every, settings = ["reverse"], [3], 20, TINY
        keys = [key for key in keys if key in ("ours", "ranks", "torch")]
    sides, left_out = chosen(keys)
    figures: dict[str, Any] = {"limit": options.limit, "every": every, "cores": CORES, "left_out": left_out}
    figures["runs"] = earlier(NAME, options, limit=options.limit, every=every).get("runs", [])
    for number in range(options.rounds):  # every round is another seed
        for length in lengths:
            for task in tasks:
                config = {"task": task, "length": length, "seed": number, **settings}
                print(f"{task}, length {length}, seed {number}", file=sys.stderr)
                others = [run for run in figures["runs"] if run["config"] != config]
                figures["runs"] = [*others, {"config": config, **race(sides, config, every, options.limit)}]
                save(NAME, figures, options.out)


def chosen(keys: list[str]) -> tuple[list[Side], dict[str, str]]:
    """Who can be measured here, and who cannot, with the reason."""
    missing = {}
    if mpiexec() is None or find_spec("mpi4py") is None:
        missing["ranks"] = "MPI is not installed"
    if find_spec("torch") is None:
        missing |= dict.fromkeys(("torch", "step", "whole"), "not installed")
    left_out = {SIDES[key].name: why for key, why in missing.items() if key in keys}
    return [SIDES[key] for key in keys if key not in missing], left_out


class Lane:
    """One side on its way."""

    def __init__(self, worker: Worker, ready: float, steps: int) -> None:
        self.worker, self.ready, self.steps = worker, ready, steps
        self.turns: list[float] = []  # seconds
        self.losses: list[float] = []
        self.best, self.reached, self.why = 0.0, False, ""

    @property
    def seconds(self) -> float:
        """On the clock so far."""
        return sum(self.turns)

    def advance(self, count: int, limit: float) -> None:
        """A turn; a look where there is hope, or at the end."""
        count = min(count, self.steps - len(self.losses))
        answers = self.worker.call("benchmarks.learning:updates", count)
        self.turns.append(max(seconds for seconds, _ in answers))
        self.losses += answers[0][1]
        over = self.seconds > limit or len(self.losses) >= self.steps
        if over or np.mean(self.losses[-count:]) < HOPELESS:
            accuracy = self.worker.call("benchmarks.learning:look")[0]
            self.best, self.reached = max(self.best, accuracy), accuracy >= GOAL
        if over and not self.reached:
            self.why = "time is up" if self.seconds > limit else "the updates are done"

    @property
    def done(self) -> bool:
        """Whether there is nothing more to do."""
        return self.reached or bool(self.why)

    def figures(self) -> dict[str, Any]:
        """For the file."""
        return {
            "seconds": self.seconds,
            "updates": len(self.losses),
            "best": self.best,
            "reached": self.reached,
            "why": self.why,
            "ready": self.ready,
            "turns": self.turns,
            "losses": self.losses[:COMPARED],
        }


def race(sides: list[Side], config: dict[str, Any], every: int, limit: float) -> dict[str, Any]:
    """All sides on one task."""
    settings = TrainConfig(**config)
    steps = settings.settled(settings.data()).steps
    assert steps is not None
    lanes: dict[str, Lane] = {}
    left_out: dict[str, str] = {}
    with ExitStack() as stack:
        for side in sides:
            try:
                worker = stack.enter_context(Worker(side))
                ready = max(worker.call("benchmarks.learning:prepare", side, config, limit=900.0))
                lanes[side.name] = Lane(worker, ready, steps)
            except Failed as error:
                left_out[side.name] = str(error)
        names, number = list(lanes), 0
        while any(not lane.done for lane in lanes.values()):
            for place in order_of(len(names), number):
                lane = lanes.get(names[place])
                if lane is None or lane.done:
                    continue
                try:
                    lane.advance(every, limit)
                except Failed as error:
                    left_out[names[place]] = str(error)
                    del lanes[names[place]]
            number += 1
    found = {name: lane.figures() for name, lane in lanes.items()}
    return {"sides": found, "left_out": left_out, "apart": apart(found)}


def apart(found: dict[str, dict[str, Any]]) -> float:
    """Largest relative difference of any side's first losses from those of the first side."""
    losses = [np.array(each["losses"]) for each in found.values()]
    count = min((len(each) for each in losses), default=0)
    return max((float(np.abs(each[:count] / losses[0][:count] - 1).max()) for each in losses[1:] if count), default=0.0)


def outcome(side: dict[str, Any] | None) -> str:
    """Seconds and updates, or what came of it instead."""
    if side is None:
        return ""
    if side["reached"]:
        return f"{short(side['seconds'])} s, {side['updates']:,} updates"
    return f"not reached ({side['why']} after {short(side['seconds'])} s, {side['updates']:,} updates), best " + (
        f"{100 * side['best']:.1f} %"
    )


def per_update(run: dict[str, Any], name: str, other: str) -> list[float]:
    """Ratios of the turns that both had whole."""
    mine, theirs = run["sides"][name]["turns"][:-1], run["sides"][other]["turns"][:-1]
    count = min(len(mine), len(theirs))
    return ratios(mine[:count], theirs[:count])


def fastest_other(run: dict[str, Any]) -> str | None:
    """The side of PyTorch that was there first; of those that were not, the fastest at its updates."""
    others = {name: side for name, side in run["sides"].items() if not name.startswith("ours")}

    def rank(name: str) -> tuple[bool, float]:
        side = others[name]
        return not side["reached"], side["seconds"] if side["reached"] else side["seconds"] / side["updates"]

    return min(others, key=rank, default=None)


def summary(figures: dict[str, Any]) -> list[list[str]]:
    """Rows of the page's first table."""
    rows = []
    for run in figures["runs"]:
        other, config = fastest_other(run), run["config"]
        ours = {name: side for name, side in run["sides"].items() if name.startswith("ours")}
        if other is None or not ours:
            continue
        best = min(ours, key=lambda name: (not ours[name]["reached"], ours[name]["seconds"]))
        what = f"time to solve {config['task']}, length {config['length']}: {best}; {other}"
        rows.append([what, f"{outcome(ours[best])}; {outcome(run['sides'][other])}"])
    return rows


def section(figures: dict[str, Any], folder: Path) -> str:
    """The part of the page."""
    names = list(dict.fromkeys(name for run in figures["runs"] for name in run["sides"]))
    rows, speeds, missing = [], [], dict(figures["left_out"])
    for run in figures["runs"]:
        config = run["config"]
        label = f"{config['task']} {config['length']}" + (f", seed {config['seed']}" if config["seed"] else "")
        agreed = "" if run["apart"] <= AGREEMENT else " (NOT the same training)"
        rows.append([label, *(outcome(run["sides"].get(name)) for name in names), f"{run['apart']:.1e}{agreed}"])
        missing |= {f"{name} ({label})": why for name, why in run["left_out"].items()}
        other = fastest_other(run)
        for name in run["sides"]:
            if other and name.startswith("ours") and (each := per_update(run, name, other)):
                speeds.append([label, name, other, spread(each)])
    ready = {name: [run["sides"][name]["ready"] for run in figures["runs"] if name in run["sides"]] for name in names}
    parts = [
        "## Time to solve a task",
        wrap(
            f"Seconds of training until {100 * GOAL:.0f} % of 1,000 held-out sequences come out whole, free-running, "
            "by `python -m benchmarks.time_to_solve`: the default settings of `TrainConfig(task, length=L)`, on every "
            "side the same initial weights, batches, Adam, clipping and schedule. The sides take turns of "
            f"{figures['every']} updates; the clock counts updates, the drawing of data included, and evaluation "
            "(ours, for all sides) is not counted. No look is taken while the mean loss of a turn is above "
            f"{HOPELESS} nats per token. *Apart* is the largest relative difference between two sides' losses in the "
            f"first {COMPARED} updates, which has to be below {AGREEMENT:.0e}; later on rounding leads them apart, and "
            "the number of updates differs. One forward and backward is done before the clock starts, and compilation "
            f"with it. PyTorch has all {figures['cores']} cores."
        ),
        table(["task", *names, "apart"], rows),
        "Time per update, times as long as the fastest of PyTorch, turn by turn:" if speeds else "",
        table(["task", "side", "by", "times as long"], speeds) if speeds else "",
        wrap("Seconds of the first step: " + "; ".join(f"{name} {spread(each)}" for name, each in ready.items()) + "."),
        left_out_text(missing),
    ]
    return "\n\n".join(part for part in parts if part)


if __name__ == "__main__":
    main()
