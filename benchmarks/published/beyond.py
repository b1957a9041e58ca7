"""Beyond the lengths of training: what a score that reads the attention of the step before makes of them.

    python -m benchmarks.published.beyond [--seeds 3]

Models are trained on 6 to 15 letters, as those of Wang (2023), and tested on up to 100.
"""

from __future__ import annotations

from statistics import mean
from typing import Any

from benchmarks.published.common import options_of, percent, run, where
from benchmarks.results import joined, table, wrap
from numpy_attention.data.tasks import Task
from numpy_attention.sweep import Outcome, grid

NAME = "beyond"
TRAINED, LETTERS = (6, 15), 26
TESTED = (5, 10, 15, 16, 18, 20, 22, 30, 50, 100)
SEQUENCES = 300  # of each length


def main() -> None:
    options = options_of(__doc__)
    configs = grid(
        task=["copy", "reverse"],
        length=TRAINED,
        symbols=LETTERS,
        alignment=["additive", "location"],
        bidirectional=[False, True],
        seed=range(options.seeds),
    )
    run(NAME, configs, options, row)


def row(outcome: Outcome) -> dict[str, Any]:
    """Accuracy on new sequences of each length."""
    run = outcome.run
    assert run is not None
    found = {}
    for length in TESTED:
        unseen = Task(run.config.task, LETTERS, (length, length), seed=run.config.seed + 1).held_out
        sources, targets = unseen.sources[:SEQUENCES], unseen.targets[:SEQUENCES]
        outputs = run.model.translate(run.params, sources, max_length=length + 1)
        found[str(length)] = mean(output.tokens == target for output, target in zip(outputs, targets, strict=True))
    return {"by_length": found}


def section(rows: list[dict[str, Any]]) -> str:
    """The section of the page."""
    lines = []
    for task in ("copy", "reverse"):
        for bidirectional in (False, True):
            for alignment in ("additive", "location"):
                found = where(rows, task=task, bidirectional=bidirectional, alignment=alignment)
                if found:
                    shares = [percent([each["by_length"][str(length)] for each in found]) for length in TESTED]
                    lines.append([task, alignment, "both" if bidirectional else "one", *shares])
    return joined(
        "## Beyond the lengths of training",
        wrap(
            "By `python -m benchmarks.published.beyond`. Models are trained on new sequences of 6 to 15 of 26 letters "
            f"with default settings, {rows[0]['steps']:,} updates, and tested on {SEQUENCES} sequences of each length. "
            "The alignment `location` adds one term to the additive score: where the step before looked (Chorowski et "
            "al. 2015, three positions wide). Share of the outputs in percent that are right as a whole; mean over "
            f"{len({row['seed'] for row in rows})} seeds, smallest and largest in brackets."
        ),
        table(["task", "alignment", "directions", *(f"{length}" for length in TESTED)], lines),
    )


if __name__ == "__main__":
    main()
