"""Catalogue: every source of data by its name, as ``numpy-attention train NAME`` finds it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from .._text import brief
from .pairs import read_pairs
from .scan import scan
from .source import Data
from .tasks import TASKS, Task

# A source is made from the settings of a run: the TrainConfig, which a room above this one defines.
Factory = Callable[[Any], Data]


def symbol_task(settings: Any) -> Data:
    """Random symbols with a rule of ``TASKS``."""
    return Task(settings.task, settings.symbols, settings.lengths, settings.seed)


DATA: dict[str, Factory] = {
    "copy": symbol_task,
    "reverse": symbol_task,
    "scan": lambda settings: scan("simple", settings.seed),
    "scan-length": lambda settings: scan("length", settings.seed),
}


def named_sources() -> dict[str, Factory]:
    """``DATA``, and every further rule of ``TASKS`` as a task of random symbols."""
    return dict.fromkeys(TASKS, symbol_task) | DATA


def make_data(settings: Any) -> Data:
    """The source that ``settings.task`` names, or the pairs of that file.

    Parameters
    ----------
    settings : TrainConfig

    Returns
    -------
    Data

    Raises
    ------
    ValueError
        If there is no such source or file, or the file holds no pairs.
    OSError
        If the file cannot be read.
    """
    sources = named_sources()
    if settings.task in sources:
        return sources[settings.task](settings)
    if not Path(settings.task).exists():
        known = f"one of {', '.join(sources)}, or a file of pairs"
        raise ValueError(f"task: expected {known}, got {brief(settings.task)} (there is no such file)")
    return read_pairs(
        settings.task,
        settings.tokens,
        dev=settings.dev,
        test=settings.test,
        held_out=settings.held_out,
        min_count=settings.min_count,
        max_length=settings.max_length,
        seed=settings.seed,
    )
