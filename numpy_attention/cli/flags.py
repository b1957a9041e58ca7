"""Flags made of a dataclass of settings."""

from __future__ import annotations

import dataclasses
import typing
from typing import Any


def flags_of(settings: type) -> Any:
    """A dataclass of the same fields, defaults and text that checks nothing.

    Parsing and checking stay apart: the parser says what is no number, the settings say what is no possible one, and
    they say it in one line.

    Parameters
    ----------
    settings : dataclass

    Returns
    -------
    flags : dataclass
    """
    hints = typing.get_type_hints(settings)
    made = dataclasses.make_dataclass(
        settings.__name__,
        [
            (field.name, hints[field.name])
            if field.default is dataclasses.MISSING
            else (field.name, hints[field.name], field.default)
            for field in dataclasses.fields(settings)
        ],
        frozen=True,
    )
    made.__doc__ = settings.__doc__
    return made
