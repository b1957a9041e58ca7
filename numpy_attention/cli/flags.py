"""Command-line flags from a dataclass of settings."""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Iterable, Mapping
from typing import Annotated, Any

import tyro


def flags_of(settings: type, choices: Mapping[str, Iterable[str]] | None = None) -> Any:
    """A dataclass with the same fields, defaults and docstring, but without checks.

    Parsing and checking stay apart: the parser rejects a text that is no number, the settings reject an impossible
    number, and report it in one line.

    Parameters
    ----------
    settings : dataclass
    choices : dict of str to names, optional
        Possible values of fields of type str, which the help lists. The settings reject others.

    Returns
    -------
    flags : dataclass
    """
    hints = typing.get_type_hints(settings)
    hints |= {name: choice_of(each) for name, each in (choices or {}).items()}
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


def choice_of(names: Iterable[str]) -> Any:
    """A text of which the help lists the choices. It is checked later, so that a wrong one gets one line."""
    return Annotated[str, tyro.conf.arg(metavar="{" + ",".join(names) + "}")]
