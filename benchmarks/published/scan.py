"""SCAN beside Lake and Baroni (2018): three splits, three cells, with attention and without.

python -m benchmarks.published.scan [--seeds 3]
"""

from __future__ import annotations

from typing import Any

from benchmarks.published.common import options_of, percent, run, seconds, where
from benchmarks.results import joined, table, wrap
from numpy_attention.sweep import Outcome, grid

NAME = "scan"
SPLITS = {"scan": "simple", "scan-length": "length", "scan-jump": "add jump"}
# Lake and Baroni (2018): the tanh rows are those of their simple recurrent network on the simple split, the LSTM row is
# their best overall there (two layers of 200, no attention). Of the other splits, see the text below the table.
PUBLISHED = {
    ("scan", "tanh", "additive"): "59.7 (18.4 to 94.0)",
    ("scan", "tanh", "none"): "below 1.5",
    ("scan", "lstm", "none"): "99.8",
}


def main() -> None:
    options = options_of(__doc__)
    configs = grid(
        task=["scan"] if options.quick else list(SPLITS),
        cell=["tanh", "gru", "lstm"],
        alignment=["additive", "none"],
        seed=range(options.seeds),
    )
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
                if found:
                    ours = percent([each["sequence_accuracy"] for each in found])
                    times = seconds([each["seconds"] for each in found])
                    published = PUBLISHED.get((split, cell, alignment), "")
                    lines.append([name, cell, alignment, published, ours, len(found), times])
    first = rows[0]
    return joined(
        "## SCAN: Lake and Baroni 2018",
        wrap(
            "By `python -m benchmarks.published.scan`. Share of the test commands in percent whose actions are right "
            "as a whole; mean over the seeds, smallest and largest in brackets. Published: mean and range over "
            "architectures of 25 to 400 units, 100,000 updates on single commands with Adam at 1e-3, teacher forcing "
            f"half of the time. Ours: {first['hidden_size']} units, {first['steps']:,} updates of "
            f"{first['batch_size']} commands, default settings; a twentieth of the training commands is held out for "
            "choosing. Seconds of training on one core, with another run on the other."
        ),
        table(["split", "cell", "alignment", "published, %", "ours, %", "seeds", "seconds"], lines),
    )


if __name__ == "__main__":
    main()
