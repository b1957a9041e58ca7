"""Seconds of training until 99 % of held-out sequences come out whole: ours, and the same training in PyTorch.

    python -m benchmarks.time_to_solve [--quick] [--tasks reverse copy] [--lengths 10 20 50 100] [--limit 900]

Both begin with the same weights, draw the same batches and follow the same rule. They take turns, some updates at a
time; evaluation is not counted. Writes results/time_to_solve.json.
"""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

import numpy as np

from benchmarks import results
from benchmarks.crew import CORES, Failed, Side, Worker
from benchmarks.measuring import installed, order_of
from benchmarks.results import joined, ratios, short, spread, table, wrap
from benchmarks.sides import OURS, WORKERS
from numpy_attention import TrainConfig

NAME = "time_to_solve"
GOAL = 0.99
HOPELESS = 0.3  # nats per token: above it there is no evaluation, as hardly a sequence comes out whole
COMPARED = 20  # updates whose losses are compared
AGREEMENT = 1e-4  # relative, in float32
GET_READY = 900.0  # seconds
SIDES = {
    "ours": OURS,
    "workers": WORKERS,
    "torch": Side("PyTorch eager", "torch", CORES),
    "step": Side("PyTorch, steps compiled", "torch step", CORES),
    "whole": Side("PyTorch, compiled as a whole", "torch whole", CORES),  # minutes before the first update
}
TINY = {"hidden_size": 16, "embedding_size": 8, "alignment_size": 8, "batch_size": 8, "steps": 40}


def main() -> None:
    parser = results.arguments(__doc__, rounds=1)
    parser.add_argument("--tasks", nargs="+", default=["reverse", "copy"], choices=["reverse", "copy"])
    parser.add_argument("--lengths", nargs="+", type=int, default=[10, 20, 50, 100])
    parser.add_argument("--sides", nargs="+", default=["ours", "workers", "torch", "step"], choices=list(SIDES))
    parser.add_argument("--every", type=int, default=25, help="updates of a turn, after which it is evaluated")
    options = results.parse(parser)
    settings: dict[str, Any] = {}
    if options.quick:
        options.tasks, options.lengths, options.every, settings = ["reverse"], [3], 20, TINY
        options.sides = [key for key in options.sides if key not in ("step", "whole")]
    sides, missing = installed([SIDES[key] for key in options.sides])
    cases = {
        f"{task} {length}" + (f", seed {seed}" if seed else ""): {"task": task, "length": length, "seed": seed}
        for seed in range(options.rounds)
        for length in options.lengths
        for task in options.tasks
    }

    def measure(config: dict[str, Any]) -> dict[str, Any]:
        found = race(sides, config | settings, options.every, options.limit)
        return {"config": config | settings, **found, "left_out": missing | found["left_out"]}

    results.measure(NAME, options, cases, measure, limit=options.limit, every=options.every)


class Lane:
    """One side in a race."""

    def __init__(self, worker: Worker, ready: float, steps: int) -> None:
        self.worker, self.ready, self.steps = worker, ready, steps
        self.turns: list[float] = []  # seconds
        self.losses: list[float] = []
        self.best, self.reached, self.why = 0.0, False, ""

    def advance(self, count: int, limit: float) -> None:
        """One turn, and an evaluation if there is hope or the race is over."""
        count = min(count, self.steps - len(self.losses))
        answers = self.worker.call("benchmarks.learning:updates", count)
        self.turns.append(max(seconds for seconds, _ in answers))
        self.losses += answers[0][1]
        late = sum(self.turns) > limit
        over = late or len(self.losses) >= self.steps
        if over or np.mean(self.losses[-count:]) < HOPELESS:
            accuracy = self.worker.call("benchmarks.learning:accuracy")[0]
            self.best, self.reached = max(self.best, accuracy), accuracy >= GOAL
        if over and not self.reached:
            self.why = "time is up" if late else "the updates are done"

    def figures(self) -> dict[str, Any]:
        """Figures of this side for the results."""
        return {
            "seconds": sum(self.turns),
            "updates": len(self.losses),
            "best": self.best,
            "reached": self.reached,
            "why": self.why,
            "ready": self.ready,
            "turns": self.turns,
            "losses": self.losses[:COMPARED],
        }


def race(sides: list[Side], config: dict[str, Any], every: int, limit: float) -> dict[str, Any]:
    """All sides on one task, turn by turn, until each has solved it, made all updates, or used up its time."""
    settings = TrainConfig(**config)
    steps = settings.settled(settings.data()).steps
    assert steps is not None
    lanes: dict[str, Lane] = {}
    left_out: dict[str, str] = {}
    with ExitStack() as stack:
        for side in sides:
            try:
                worker = stack.enter_context(Worker(side))
                ready = max(worker.call("benchmarks.learning:prepare", side, config, limit=GET_READY))
                lanes[side.name] = Lane(worker, ready, steps)
            except Failed as error:
                left_out[side.name] = str(error)
        names, number = list(lanes), 0
        while running := {name for name, lane in lanes.items() if not (lane.reached or lane.why)}:
            for name in (names[place] for place in order_of(len(names), number)):
                try:
                    if name in running:
                        lanes[name].advance(every, limit)
                except Failed as error:
                    left_out[name] = str(error)
                    del lanes[name]
            number += 1
    found = {name: lane.figures() for name, lane in lanes.items()}
    return {"sides": found, "left_out": left_out, "apart": apart([each["losses"] for each in found.values()])}


def apart(losses: list[list[float]]) -> float:
    """Largest relative difference of the first losses of any side from those of the first side."""
    count = min(map(len, losses), default=0)
    first = np.array([each[:count] for each in losses])
    return float(np.abs(first / first[:1] - 1).max(initial=0.0))


def outcome(side: dict[str, Any]) -> str:
    """Seconds and updates until the task was solved, or the reason why it was not."""
    spent = f"{short(side['seconds'])} s, {side['updates']:,} updates"
    return spent if side["reached"] else f"not reached ({side['why']} after {spent}), best {100 * side['best']:.1f} %"


def fastest_other(sides: dict[str, Any]) -> str | None:
    """The side of PyTorch that solved the task first; if none did, the one with the fastest updates."""

    def rank(name: str) -> tuple[bool, float]:
        side = sides[name]
        return not side["reached"], side["seconds"] / (1 if side["reached"] else side["updates"])

    return min((name for name in sides if not name.startswith("ours")), key=rank, default=None)


def section(figures: dict[str, Any]) -> str:
    """The section of the page."""
    runs = figures["cases"]
    names = list(dict.fromkeys(name for run in runs.values() for name in run["sides"]))
    rows, speeds = [], []
    for label, run in runs.items():
        sides, agreed = run["sides"], "" if run["apart"] <= AGREEMENT else " (NOT the same training)"
        outcomes = [outcome(sides[name]) if name in sides else "" for name in names]
        rows.append([label, *outcomes, f"{run['apart']:.1e}{agreed}"])
        other = fastest_other(sides)
        for name in sides:
            if other and name.startswith("ours"):
                mine, theirs = sides[name]["turns"][:-1], sides[other]["turns"][:-1]  # the last may be shorter
                if count := min(len(mine), len(theirs)):
                    speeds.append([label, name, other, spread(ratios(mine[:count], theirs[:count]))])
    ready = {name: [run["sides"][name]["ready"] for run in runs.values() if name in run["sides"]] for name in names}
    return joined(
        "## Time to solve a task",
        wrap(
            f"Seconds of training until {100 * GOAL:.0f} % of 1,000 held-out sequences come out whole, free-running, "
            "by `python -m benchmarks.time_to_solve`: the default settings of `TrainConfig(task, length=L)`, on every "
            "side the same initial weights, batches, Adam, clipping and schedule. The sides take turns of "
            f"{figures['every']} updates; the clock counts updates, the drawing of data included, and not evaluation "
            "(ours, for all sides). There is no evaluation while the mean loss of a turn is above "
            f"{HOPELESS} nats per token. *Apart* is the largest relative difference between two sides' losses in the "
            f"first {COMPARED} updates, which has to be below {AGREEMENT:.0e}; later on rounding leads them apart, and "
            "the number of updates differs. One forward and backward is done before the clock starts, and compilation "
            f"with it. PyTorch has all {figures['cores']} cores."
        ),
        table(["task", *names, "apart"], rows),
        "Time per update, times as long as the fastest of PyTorch, turn by turn:" if speeds else "",
        table(["task", "side", "by", "times as long"], speeds) if speeds else "",
        wrap("Seconds of the first step: " + "; ".join(f"{name} {spread(each)}" for name, each in ready.items()) + "."),
        results.left_out_text(runs),
    )


if __name__ == "__main__":
    main()
