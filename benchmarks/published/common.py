"""What the programs share: their settings, the sweep that they run, and the file that holds their figures."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import mean, median
from typing import Any

from benchmarks import results
from numpy_attention import TrainConfig
from numpy_attention._files import written_whole
from numpy_attention.sweep import Outcome, look, sweep

SWEEPS = Path("sweeps")
INTERRUPTED = "interrupted; run the same command again to continue"
TINY = {"hidden_size": 16, "embedding_size": 8, "alignment_size": 8, "batch_size": 16, "steps": 20}


def options_of(description: str | None, seeds: int = 3, full: str | None = None) -> argparse.Namespace:
    """The settings that every program has, and ``--full`` for one that says what it does."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a smoke run: tiny models, seconds, pages of its own")
    if full is not None:
        parser.add_argument("--full", action="store_true", help=full)
    parser.add_argument("--seeds", type=int, help=f"runs of each kind; default {seeds}, with --quick 1")
    parser.add_argument("--processes", type=int, help="runs at a time; default as many as there are cores")
    parser.add_argument("--out", type=Path, help=f"folder of the runs; default {SWEEPS}/ and the program's name")
    parser.add_argument("--table", action="store_true", help="train nothing; a table of the runs that are over")
    options = parser.parse_args()
    if options.seeds is None:
        options.seeds = 1 if options.quick else seeds
    for name in ("seeds", "processes"):
        value = getattr(options, name)
        if value is not None and value < 1:
            parser.error(f"--{name}: expected at least 1, got {value}")
    return options


def run(
    name: str, configs: Sequence[TrainConfig], options: argparse.Namespace, row: Callable[[Outcome], dict[str, Any]]
) -> None:
    """Train all configs, and save a row of figures for each run that is over.

    Called again, it makes only the runs that are missing. A run that failed is not in the table, and is named; the exit
    status is then 1, and 2 if the folder holds other runs.
    """
    if options.quick:
        configs = [replace(config, **TINY) for config in configs]
    folder = options.out or SWEEPS / f"{name}{'-quick' * options.quick}"
    try:
        outcomes = look(configs, folder) if options.table else sweep(configs, folder, processes=options.processes)
    except KeyboardInterrupt:
        raise SystemExit(INTERRUPTED) from None
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(2) from None
    over = [outcome for outcome in outcomes if outcome.run is not None]
    save(name, [{**settings(outcome), **row(outcome)} for outcome in over], options.quick)
    if len(over) < len(outcomes):
        print(f"{len(outcomes) - len(over)} of {len(outcomes)} runs are not over; the same command makes them")
        if not options.table:
            raise SystemExit(1)


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
        "seconds": outcome.cpu_seconds,
        "seconds_to_99": outcome.first(0.99).get("cpu_seconds"),
        "loss": found.loss,
        "token_accuracy": found.token_accuracy,
        "sequence_accuracy": found.sequence_accuracy,
    }


def save(name: str, rows: Sequence[dict[str, Any]], quick: bool) -> None:
    """Write the figures, and the page anew. Without figures, those of an earlier call stay."""
    if not rows:
        raise SystemExit(f"{name}: no run is over, so there is no table")
    from benchmarks.published.page import write_page

    folder = results.QUICK if quick else results.FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"published_{name}.json"
    text = json.dumps({"machine": results.describe_machine(), "rows": rows}, indent=1)
    with written_whole(path) as file:
        file.write(text.encode() + b"\n")
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
