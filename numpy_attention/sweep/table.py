"""The outcomes of a sweep as one table, and as curves with bands over the seeds."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .._files import written_whole
from ..views.plots import plot_bands
from .grid import deciding
from .outcome import Outcome

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FILE = "sweep.csv"
GOAL = 0.99  # share of the held-out sequences
MOST_CURVES = 10  # that can be told apart


def rows_of(outcomes: Sequence[Outcome]) -> list[dict[str, Any]]:
    """One row for each run, every row with the same columns.

    The columns are the task, every setting that varies, the seed, what was reached, and where the run is. Losses are in
    nats per token, accuracies shares from 0 to 1, times in seconds of training. What is not known is None.
    """
    vary = [name for name in deciding([outcome.config for outcome in outcomes]) if name not in ("task", "seed")]
    return [_row(outcome, vary) for outcome in outcomes]


def _row(outcome: Outcome, vary: Sequence[str]) -> dict[str, Any]:
    """The row of one run."""
    config, run, last = outcome.config, outcome.run, outcome.metrics[-1] if outcome.metrics else {}
    settings = {name: _plain(getattr(config, name)) for name in vary}
    figures: dict[str, Any] = {"updates": last.get("number"), "training_loss": last.get("loss")}
    for part, found in (("held_out", run and run.evaluation), ("test", run and run.test)):
        for name in ("loss", "token_accuracy", "sequence_accuracy"):
            figures[f"{part}_{name}"] = None if found is None else getattr(found, name)
    first = outcome.first(GOAL)
    times = {"seconds": outcome.seconds, "seconds_to_99": first.get("seconds")}
    times |= {"cpu_seconds": outcome.cpu_seconds, "cpu_seconds_to_99": first.get("cpu_seconds")}
    place = {"folder": str(outcome.folder), "error": outcome.error}
    return {"task": config.name, **settings, "seed": config.seed, **figures, **times, **place}


def _plain(value: Any) -> Any:
    """A range of lengths as it is typed; all else as it is."""
    return "-".join(map(str, value)) if isinstance(value, tuple) else value


def write_table(outcomes: Sequence[Outcome], folder: Path) -> Path:
    """Write the table as a CSV file, whole or not at all."""
    rows = rows_of(outcomes)
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    path = folder / FILE
    with written_whole(path) as file:
        file.write(text.getvalue().encode())
    return path


def plot_outcomes(outcomes: Sequence[Outcome]) -> dict[str, Figure]:
    """A figure for each task: held-out accuracy over the updates, a curve for each combination of the other settings.

    A curve is the median over the seeds, and its band reaches from the worst seed to the best. A task with more than
    ten combinations has several figures.
    """
    vary = [name for name in deciding([outcome.config for outcome in outcomes]) if name not in ("task", "seed")]
    by_task: dict[str, dict[str, list[Outcome]]] = {}
    for outcome in outcomes:
        if outcome.run is not None and outcome.metrics:
            name = ", ".join(f"{name} {_plain(getattr(outcome.config, name))}" for name in vary) or "all seeds"
            by_task.setdefault(outcome.config.name, {}).setdefault(name, []).append(outcome)
    figures = {}
    for task, groups in by_task.items():
        curves = {name: _curves(group) for name, group in groups.items()}
        for number, start in enumerate(range(0, len(curves), MOST_CURVES), start=1):
            part = dict(list(curves.items())[start : start + MOST_CURVES])
            name = task if len(curves) <= MOST_CURVES else f"{task}-{number}"
            figures[name] = plot_bands(part, "updates", "held-out sequences right (%)", title=task)
    return figures


def _curves(group: Sequence[Outcome]) -> tuple[Any, Any]:
    """Updates and accuracies in percent of runs that differ in the seed: arrays (N,) and (seeds, N)."""
    fewest = min(len(outcome.metrics) for outcome in group)  # patience may have ended some early
    steps = [each["number"] for each in group[0].metrics[:fewest]]
    shares = [[each["held_out"]["sequence_accuracy"] for each in outcome.metrics[:fewest]] for outcome in group]
    return np.array(steps), 100 * np.array(shares)
