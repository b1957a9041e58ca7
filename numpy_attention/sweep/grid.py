"""A grid of settings: every combination of their values, and a name for each that says what it is."""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import fields
from itertools import product
from pathlib import Path
from typing import Any

from .._text import brief
from ..training.config import TrainConfig

NOT_VARIED = ("out", "overwrite")  # a sweep decides them
LONGEST = 200  # bytes of a name; most file systems take 255


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

    A setting that the task alone decides, such as its own file for the test, is left out. Where names would be the same
    (files of one name in different folders) or longer than 200 bytes, a digest of the settings stands before the seed.

    Raises
    ------
    ValueError
        If two configs are the same.

    Examples
    --------
    >>> names_of(grid(task="copy", length=[(3, 10)], cell=["tanh", "lstm"], seed=range(1, 2)))
    ['copy cell=tanh seed=1', 'copy cell=lstm seed=1']
    """
    settings = [_settings(config) for config in configs]
    plain = _plain_names(configs)
    runs, count = Counter(settings), Counter(plain)
    twice = next((name for name, own in zip(plain, settings, strict=True) if runs[own] > 1), None)
    if twice is not None:
        raise ValueError(f"grid: expected different runs, got {brief(twice)} more than once")
    found = []
    for config, own, name in zip(configs, settings, plain, strict=True):
        enough = count[name] == 1 and len(name.encode()) <= LONGEST
        found.append(name if enough else _with_digest(name, f"seed={config.seed}", own))
    return found


def _plain_names(configs: Sequence[TrainConfig]) -> list[str]:
    """The task, the settings that vary, and the seed; some of these names may be the same, or too long."""
    vary = [name for name in deciding(configs) if name != "seed"]
    found = []
    for config in configs:
        parts = [config.name]
        for name in [*vary, "seed"]:  # seeds may be added later
            value = getattr(config, name)
            text = "-".join(map(str, value)) if isinstance(value, tuple) else str(value)
            parts.append(f"{name}={Path(text).stem if isinstance(value, Path) else text}")
        found.append(re.sub(r"[^\w.=,+-]+", " ", " ".join(parts)))
    return found


def _with_digest(name: str, seed: str, settings: str) -> str:
    """The name with a digest of the settings before the seed, and cut before them if it is too long."""
    end = f" {hashlib.sha256(settings.encode()).hexdigest()[:8]} {seed}"
    start = name.removesuffix(f" {seed}").encode()[: LONGEST - len(end.encode())]
    return start.decode(errors="ignore").rstrip() + end


def _settings(config: TrainConfig) -> str:
    """The settings that are not left at their defaults, as a text: a setting that is added later changes nothing."""
    files = {name: str(path.absolute()) for name, path in config.files().items()}
    plain = {**config.to_dict(), **files}
    given = [each.name for each in fields(config) if each.name not in NOT_VARIED and plain[each.name] != each.default]
    return json.dumps({name: plain[name] for name in given}, sort_keys=True)
