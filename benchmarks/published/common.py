"""What the programs share: their settings, the sweep that they run, and the file that holds their figures."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import mean, median
from typing import Any

from benchmarks import results
from numpy_attention import TrainConfig
from numpy_attention.sweep import Outcome, look, sweep

SWEEPS = Path("sweeps")
TINY = {"hidden_size": 16, "embedding_size": 8, "alignment_size": 8, "batch_size": 16, "steps": 20}


def options_of(description: str | None, seeds: int = 3) -> argparse.Namespace:
    """The settings that every program has."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a smoke run: tiny models, seconds, pages of its own")
    parser.add_argument("--full", action="store_true", help="the published sizes and updates; only wang has them")
    parser.add_argument("--seeds", type=int, help=f"runs of each kind; default {seeds}, with --quick 1")
    parser.add_argument("--processes", type=int, help="runs at a time; default as many as there are cores")
    parser.add_argument("--out", type=Path, help=f"folder of the runs; default {SWEEPS}/ and the program's name")
    parser.add_argument("--table", action="store_true", help="train nothing; a table of the runs that are over")
    options = parser.parse_args()
    options.seeds = options.seeds or (1 if options.quick else seeds)
    return options


def run(
    name: str, configs: Sequence[TrainConfig], options: argparse.Namespace, row: Callable[[Outcome], dict[str, Any]]
) -> None:
    """Train all configs, and save a row of figures for each run that is over.

    Called again, it makes only the runs that are missing. A run that failed is not in the table, and is named.
    """
    if options.quick:
        configs = [replace(config, **TINY) for config in configs]
    folder = options.out or SWEEPS / f"{name}{'-quick' * options.quick}"
    outcomes = look(configs, folder) if options.table else sweep(configs, folder, processes=options.processes)
    rows = [{**settings(outcome), **row(outcome)} for outcome in outcomes if outcome.run is not None]
    save(name, rows, options.quick)


def settings(outcome: Outcome) -> dict[str, Any]:
    """What tells the runs apart, and what every table has."""
    assert outcome.run is not None
    config, found = outcome.run.config, outcome.run.test or outcome.run.evaluation
    assert found is not None
    return {
        "task": outcome.config.name,
        "length": config.length if isinstance(config.length, int) else list(config.length),
        "cell": config.cell,
        "alignment": config.alignment,
        "bidirectional": config.bidirectional,
        "seed": config.seed,
        "steps": config.steps,
        "batch_size": config.batch_size,
        "hidden_size": config.hidden_size,
        "parameters": sum(value.size for value in outcome.run.params.values()),
        "seconds": outcome.seconds,
        "seconds_to_99": outcome.seconds_to(0.99),
        "loss": found.loss,
        "token_accuracy": found.token_accuracy,
        "sequence_accuracy": found.sequence_accuracy,
    }


def save(name: str, rows: Sequence[dict[str, Any]], quick: bool) -> None:
    """Write the figures, and the page anew."""
    from benchmarks.published.page import write_page

    folder = results.QUICK if quick else results.FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"published_{name}.json"
    text = json.dumps({"machine": results.describe_machine(), "rows": rows}, indent=1)
    path.write_text(text + "\n", encoding="utf-8")
    print(f"written to {path} and {write_page(folder)}")


def where(rows: Sequence[dict[str, Any]], **wanted: Any) -> list[dict[str, Any]]:
    """The rows with these values."""
    return [row for row in rows if all(row[name] == value for name, value in wanted.items())]


def values(rows: Sequence[dict[str, Any]], name: str) -> list[Any]:
    """The different values of a setting, in the order in which they come."""
    return list(dict.fromkeys(tuple(row[name]) if isinstance(row[name], list) else row[name] for row in rows))


def percent(numbers: Sequence[float]) -> str:
    """Mean of some shares in percent, and the smallest and the largest."""
    if not numbers:
        return ""
    low, high = 100 * min(numbers), 100 * max(numbers)
    spread = f" ({low:.1f} to {high:.1f})" if len(numbers) > 1 and f"{low:.1f}" != f"{high:.1f}" else ""
    return f"{100 * mean(numbers):.1f}{spread}"


def seconds(numbers: Sequence[float]) -> str:
    """Median of some times, and the smallest and the largest."""
    if not numbers:
        return ""
    low, high = min(numbers), max(numbers)
    digits = 1 if high < 10 else 0
    spread = f" ({low:.{digits}f} to {high:.{digits}f})" if len(numbers) > 1 else ""
    return f"{median(numbers):.{digits}f}{spread}"
