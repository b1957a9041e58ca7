"""A grid of settings: every combination of their values, and a name for each that says what it is."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import fields
from itertools import product
from pathlib import Path
from typing import Any

from .._text import brief
from ..training.config import TrainConfig

NOT_VARIED = ("out", "overwrite")  # a sweep decides them


def grid(**settings: Any) -> list[TrainConfig]:
    """Every combination of the values of some settings, the last one changing fastest.

    Parameters
    ----------
    **settings
        Settings of :class:`TrainConfig`. A list or a range holds values to combine; anything else is one value.

    Returns
    -------
    configs : list of TrainConfig

    Raises
    ------
    ValueError
        If a setting is unknown, has no values, or its values are impossible together.

    Examples
    --------
    >>> [(config.task, config.seed) for config in grid(task=["copy", "reverse"], length=20, seed=range(2))]
    [('copy', 0), ('copy', 1), ('reverse', 0), ('reverse', 1)]
    """
    known = [field.name for field in fields(TrainConfig) if field.name not in NOT_VARIED]
    for name in settings:
        if name not in known:
            raise ValueError(f"grid: expected settings of a run ({', '.join(known)}), got {brief(name)}")
    if "task" not in settings:
        raise ValueError("grid: expected a task, got none")
    values = {name: list(value) if isinstance(value, (list, range)) else [value] for name, value in settings.items()}
    for name, found in values.items():
        if not found:
            raise ValueError(f"grid: expected a value of {name}, got none")
    return [TrainConfig(**dict(zip(values, chosen, strict=True))) for chosen in product(*values.values())]


def deciding(configs: Sequence[TrainConfig]) -> list[str]:
    """Names of the settings that tell configs of one task apart."""
    names = [field.name for field in fields(TrainConfig) if field.name not in (*NOT_VARIED, "task")]
    tasks = len({config.task for config in configs})
    return [name for name in names if len({(config.task, str(getattr(config, name))) for config in configs}) > tasks]


def names_of(configs: Sequence[TrainConfig]) -> list[str]:
    """A name for each config: its task, the settings that vary, and the seed. It is safe as a folder's name.

    A setting that the task alone decides, such as its own file for the test, is left out.

    Raises
    ------
    ValueError
        If two configs are the same.

    Examples
    --------
    >>> names_of(grid(task="copy", length=[(3, 10)], cell=["tanh", "lstm"], seed=range(1, 2)))
    ['copy cell=tanh seed=1', 'copy cell=lstm seed=1']
    """
    found = []
    for config in configs:
        parts = [config.name]
        for name in [*(each for each in deciding(configs) if each != "seed"), "seed"]:  # seeds may be added later
            value = getattr(config, name)
            text = "-".join(map(str, value)) if isinstance(value, tuple) else str(value)
            parts.append(f"{name}={Path(text).stem if isinstance(value, Path) else text}")
        found.append(re.sub(r"[^\w.=,+-]+", " ", " ".join(parts))[:200])
    twice = next((name for name in found if found.count(name) > 1), None)
    if twice is not None:
        raise ValueError(f"grid: expected different runs, got {brief(twice)} more than once")
    return found
