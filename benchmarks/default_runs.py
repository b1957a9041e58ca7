"""Time and accuracy of ``numpy-attention train`` with its defaults, the start of the program included.

    python -m benchmarks.default_runs [--quick] [--lengths 10 20 50]

Every run is a process of its own; every round is another seed. Writes results/default_runs.json.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from typing import Any

from benchmarks import results
from benchmarks.results import joined, table, wrap
from numpy_attention import load_run

NAME = "default_runs"


def main() -> None:
    parser = results.arguments(__doc__, rounds=1)
    parser.add_argument("--lengths", type=int, nargs="*", default=[10, 20, 50])
    options = results.parse(parser)
    jobs = [(task, length) for length in options.lengths for task in ("reverse", "copy")] + [("scan", None)]
    cases = {
        " ".join(filter(None, [task, str(length) if length else "", f"seed {seed}"])): (task, length, seed)
        for task, length in ([("reverse", 3)] if options.quick else jobs)
        for seed in range(options.rounds)
    }
    results.measure(NAME, options, cases, lambda case: run(*case))


def run(task: str, length: int | None, seed: int) -> dict[str, Any]:
    """Train once from the command line."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "numpy_attention", "train", task]
        command += ["--seed", str(seed), "--out", folder, *(["--length", str(length)] if length else [])]
        start = time.perf_counter()
        subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
        seconds = time.perf_counter() - start
        trained = load_run(folder)
    found, data = trained.test or trained.evaluation, trained.config.data()
    return {
        "task": task,
        "length": length or "1 to 9",
        "seed": seed,
        "steps": trained.step,
        "pairs": len((data.test or data.held_out).sources),
        "sequence_accuracy": found.sequence_accuracy,
        "token_accuracy": found.token_accuracy,
        "seconds": seconds,
    }


def section(figures: dict[str, Any]) -> str:
    """The section of the page."""
    rows = [
        [
            row["task"],
            row["length"],
            row["seed"],
            f"{row['steps']:,}",
            f"{row['pairs']:,}",
            f"{100 * row['sequence_accuracy']:.2f} %",
            f"{100 * row['token_accuracy']:.2f} %",
            f"{row['seconds']:.1f}",
        ]
        for row in figures["cases"].values()
    ]
    head = ["task", "length", "seed", "steps", "pairs", "whole sequences right", "tokens right", "seconds"]
    return joined(
        "## `numpy-attention train` with its defaults",
        wrap(
            "By `python -m benchmarks.default_runs`. Seconds are those of the whole command: start-up, evaluations, "
            "pictures and saving included. Accuracy is that of free-running greedy output on held-out sequences, for "
            "SCAN on its test commands. One run each, not all in one call."
        ),
        table(head, rows),
    )


if __name__ == "__main__":
    main()
