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

import numpy as np

RESULTS = Path(__file__).parent / "RESULTS-default-runs.md"
GOALS = {10: 10, 20: 40, 50: 180}  # seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lengths", type=int, nargs="+", default=[10, 20, 50])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    options = parser.parse_args()
    rows = []
    for length in options.lengths:
        for task in ("reverse", "copy"):
            for seed in options.seeds:
                rows.append(run(task, length, seed))
                print(rows[-1], flush=True)
    RESULTS.write_text(report(rows), encoding="utf-8")
    print(f"written to {RESULTS}")


def run(task: str, length: int, seed: int) -> dict[str, float | str | int]:
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "numpy_attention", "train", task]
        command += ["--length", str(length), "--seed", str(seed), "--out", folder]
        start = time.perf_counter()
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        seconds = time.perf_counter() - start
        assert "sequence accuracy" in done.stdout
        last = json.loads((Path(folder) / "metrics.jsonl").read_text(encoding="utf-8").splitlines()[-1])
    held_out = last["held_out"]
    return {
        "task": task,
        "length": length,
        "seed": seed,
        "steps": last["number"],
        "sequence_accuracy": held_out["sequence_accuracy"],
        "token_accuracy": held_out["token_accuracy"],
        "seconds": seconds,
    }


def report(rows: list[dict[str, float | str | int]]) -> str:
    threads = os.environ.get("OPENBLAS_NUM_THREADS", "not set")
    lines = [
        "# `numpy-attention train` with its defaults",
        "",
        f"Written by `python -m benchmarks.default_runs`. {platform.machine()}, {os.cpu_count()} cores, "
        f"Python {platform.python_version()}, NumPy {np.__version__}, OPENBLAS_NUM_THREADS {threads}. Seconds are "
        "those of the whole command, start-up, evaluations and saving included; accuracy is that of free-running "
        "greedy output on 1,000 held-out sequences.",
        "",
        "| task | length | seed | steps | whole sequences right | tokens right | seconds | goal |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        goal = GOALS.get(int(row["length"]))
        lines.append(
            f"| {row['task']} | {row['length']} | {row['seed']} | {row['steps']} "
            f"| {100 * float(row['sequence_accuracy']):.1f} % | {100 * float(row['token_accuracy']):.2f} % "
            f"| {float(row['seconds']):.1f} | {goal or ''} |"
        )
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
