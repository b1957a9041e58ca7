"""Time and accuracy of ``numpy-attention train`` with its defaults, the start of the program included.

    python -m benchmarks.default_runs [--lengths 10 20 50] [--seeds 0]

Each run is a process of its own. Writes benchmarks/RESULTS-default-runs.md.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from numpy_attention import load_run

RESULTS = Path(__file__).parent / "RESULTS-default-runs.md"
ROWS = Path(__file__).parent / "default_runs.json"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lengths", type=int, nargs="*", default=[10, 20, 50])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    options = parser.parse_args()
    jobs = [(task, length) for length in options.lengths for task in ("reverse", "copy")] + [("scan", None)]
    rows = []
    for task, length in jobs:
        for seed in options.seeds:
            rows.append(run(task, length, seed))
            print(rows[-1], flush=True)
    rows = merged(rows)
    RESULTS.write_text(report(rows), encoding="utf-8")
    print(f"written to {RESULTS}")


def merged(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows of earlier calls, those that were measured again replaced; kept in a file beside the page."""
    known = json.loads(ROWS.read_text(encoding="utf-8")) if ROWS.exists() else []
    by_run = {(row["task"], row["length"], row["seed"]): row for row in [*known, *rows]}
    ROWS.write_text(json.dumps(list(by_run.values()), indent=1) + "\n", encoding="utf-8")
    return list(by_run.values())


def run(task: str, length: int | None, seed: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "numpy_attention", "train", task]
        command += ["--seed", str(seed), "--out", folder, *(["--length", str(length)] if length else [])]
        start = time.perf_counter()
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        seconds = time.perf_counter() - start
        assert "sequence accuracy" in done.stdout
        trained = load_run(folder)
    found = trained.test or trained.evaluation
    data = trained.config.data()
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


def report(rows: list[dict[str, Any]]) -> str:
    threads = os.environ.get("OPENBLAS_NUM_THREADS", "not set")
    lines = [
        "# `numpy-attention train` with its defaults",
        "",
        f"Written by `python -m benchmarks.default_runs`. {platform.machine()}, {os.cpu_count()} cores, "
        f"Python {platform.python_version()}, NumPy {np.__version__}, OPENBLAS_NUM_THREADS {threads}. Seconds are "
        "those of the whole command, start-up, evaluations, pictures and saving included; accuracy is that of "
        "free-running greedy output on held-out sequences, of SCAN on its test commands. One run each; a row "
        "stays until it is measured again, so rows may come "
        "from different calls.",
        "",
        "| task | length | seed | steps | pairs | whole sequences right | tokens right | seconds |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        lines.append(
            f"| {row['task']} | {row['length']} | {row['seed']} | {row['steps']:,} | {row['pairs']:,} "
            f"| {100 * row['sequence_accuracy']:.2f} % | {100 * row['token_accuracy']:.2f} % | {row['seconds']:.1f} |"
        )
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
