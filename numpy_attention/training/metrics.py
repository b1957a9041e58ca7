"""The file of metrics that grows beside a run: a line of JSON for every evaluation."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from .._files import add_line, written_whole
from .evaluation import Evaluation

METRICS = "metrics.jsonl"


def add_metrics(path: Path, line: dict[str, Any]) -> None:
    """Add an evaluation."""
    try:
        add_line(path, json.dumps(line))
    except OSError as error:
        raise OSError(f"out: {error}") from error


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """The evaluations in a file of metrics, in order. Lines that are damaged or not complete are left out."""
    if not path.exists():
        return []
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    return [found for line in lines if (found := _parsed(line)) is not None]


def _parsed(line: str) -> dict[str, Any] | None:
    """One evaluation, or None if the line is none."""
    numbers = (int, float)
    try:
        found = json.loads(line)
        held_out = Evaluation(**found["held_out"])
        whole = isinstance(found["number"], int) and all(isinstance(each, numbers) for each in vars(held_out).values())
        return found if whole and isinstance(found["loss"], numbers) else None
    except (ValueError, KeyError, TypeError, RecursionError):
        return None


def cut_metrics(path: Path, step: int) -> None:
    """Drop the lines that were written after the checkpoint at ``step``, and those that are damaged."""
    if path.exists():
        kept = [json.dumps(line) + "\n" for line in read_metrics(path) if line["number"] <= step]
        with written_whole(path) as file:
            file.write("".join(kept).encode())
