"""Catalogue: every source of data by its name, as ``numpy-attention train NAME`` finds it."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .._text import printable
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
    "scan-jump": lambda settings: scan("jump", settings.seed),
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
    path, shown = Path(settings.task), printable(str(settings.task))
    if path.is_dir():
        hint = "; it holds a run, which --resume goes on with" if (path / "checkpoint.npz").exists() else ""
        raise ValueError(f"task: expected a file of pairs, {shown} is a folder{hint}")
    if not path.exists():
        near = difflib.get_close_matches(str(settings.task).lower(), sources, n=1)
        if near:
            raise ValueError(f"task: there is no task or file {shown}; did you mean {near[0]}?")
        raise ValueError(f"task: expected one of {', '.join(sources)}, or a file of pairs; there is no file {shown}")
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
