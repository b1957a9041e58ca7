"""SCAN beside Lake and Baroni (2018): three splits, three cells, with attention and without.

python -m benchmarks.published.scan [--seeds 3]
"""

from __future__ import annotations

from statistics import mean
from typing import Any

from benchmarks.published.common import options_of, percent, run, seconds, where
from benchmarks.results import joined, table, wrap
from numpy_attention.sweep import Outcome, grid

NAME = "scan"
SPLITS = {"scan": "simple", "scan-length": "length", "scan-jump": "add jump"}
# What Lake and Baroni (2018) report of the simple split, and the mean in percent where there is one.
PUBLISHED: dict[tuple[str, str, str], tuple[str, float | None]] = {
    ("scan", "tanh", "additive"): ("59.7 (18.4 to 94.0)", 59.7),
    ("scan", "tanh", "none"): ("below 1.5", None),
    ("scan", "lstm", "none"): ("99.8", 99.8),
}


def main() -> None:
    options = options_of(__doc__)
    configs = grid(
        task=["scan"] if options.quick else list(SPLITS),
        cell=["tanh", "gru", "lstm"],
        alignment=["additive", "none"],
        seed=range(options.seeds),
    )
    configs.sort(key=lambda config: config.seed)  # one seed of every row first
    run(NAME, configs, options, row)


def row(outcome: Outcome) -> dict[str, Any]:
    """What this table has besides."""
    return {}


def section(rows: list[dict[str, Any]]) -> str:
    """The section of the page."""
    lines = []
    for split, name in SPLITS.items():
        for cell in ("tanh", "gru", "lstm"):
            for alignment in ("additive", "none"):
                found = where(rows, task=split, cell=cell, alignment=alignment)
                if not found:
                    continue
                ours = [each["sequence_accuracy"] for each in found]
                theirs, mean_of_theirs = PUBLISHED.get((split, cell, alignment), ("", None))
                difference = "" if mean_of_theirs is None else f"{100 * mean(ours) - mean_of_theirs:+.1f}"
                times = seconds([each["seconds"] for each in found])
                steps = f"{found[0]['steps']:,}"
                lines.append([name, cell, alignment, theirs, percent(ours), difference, steps, len(found), times])
    first = rows[0]
    return joined(
        "## SCAN: Lake and Baroni 2018",
        wrap(
            "By `python -m benchmarks.published.scan`. Share of the test commands in percent whose actions are right "
            "as a whole; mean over the seeds, smallest and largest in brackets. Published for the tanh cell: mean and "
            "range over architectures of 25 to 400 units, or the limit that none of them reached; for the LSTM: the "
            "best of all their models, with two layers of 200 units. All of theirs made 100,000 updates on single "
            "commands with Adam at 1e-3, gradients clipped at 5, and read the true outputs half of the time. Ours: "
            f"one layer of {first['hidden_size']} units, updates of {first['batch_size']} commands, default settings; "
            "a twentieth of the training commands is held out for choosing. Seconds of one core in training."
        ),
        table(
            ["split", "cell", "alignment", "published, %", "ours, %", "difference", "updates", "seeds", "seconds"],
            lines,
        ),
    )


if __name__ == "__main__":
    main()
