"""Checks of arguments: one line that names the argument, what was expected and what came."""

from __future__ import annotations

import math
import sys
from collections.abc import Collection, Mapping
from typing import Any

import numpy as np

from ._text import brief
from ._typing import Array

_REAL = (np.dtype(np.float32), np.dtype(np.float64))
_COMPLEX = np.dtype(np.complex128)


def check_size(name: str, value: Any, least: int = 1, most: int = sys.maxsize) -> None:
    """Raise ValueError unless ``value`` is a whole number of at least ``least`` and at most ``most``."""
    if not isinstance(value, (int, np.integer)) or isinstance(value, bool) or value < least:
        raise ValueError(f"{name}: expected a whole number of at least {least}, got {brief(value)}")
    if value > most:
        raise ValueError(f"{name}: expected a whole number of at most {most:,}, got {brief(value)}")


def check_choice(name: str, value: Any, choices: Collection[str]) -> None:
    """Raise ValueError unless ``value`` is one of ``choices``."""
    if not isinstance(value, str) or value not in choices:
        raise ValueError(f"{name}: expected one of {', '.join(choices)}, got {brief(value)}")


def check_flag(name: str, value: Any) -> None:
    """Raise ValueError unless ``value`` is True or False."""
    if not isinstance(value, (bool, np.bool_)):
        raise ValueError(f"{name}: expected True or False, got {brief(value)}")


def check_share(name: str, value: Any) -> None:
    """Raise ValueError unless ``value`` is a number of at least 0 and below 1."""
    if not isinstance(value, (int, float, np.floating)) or isinstance(value, bool) or not 0 <= value < 1:
        raise ValueError(f"{name}: expected a number of at least 0 and below 1, got {brief(value)}")


def check_number(name: str, value: Any) -> None:
    """Raise ValueError unless ``value`` is a finite number."""
    number = isinstance(value, (int, float, np.floating, np.integer)) and not isinstance(value, bool)
    try:
        finite = number and math.isfinite(value)
    except OverflowError:  # a whole number beyond the range of floats
        finite = False
    if not finite:
        raise ValueError(f"{name}: expected a finite number, got {brief(value)}")


def check_params(shapes: Mapping[str, tuple[int, ...]], params: Mapping[str, Array]) -> None:
    """Raise ValueError unless ``params`` has exactly these names and shapes, and finite values of fitting dtypes.

    These are float32, float64 and complex128, but float32 and float64 do not go together.
    """
    if not isinstance(params, Mapping):
        raise ValueError(f"params: expected a dict of arrays, got {type(params).__name__}")
    real = {}
    for name, shape in shapes.items():
        value = params.get(name)
        if not isinstance(value, np.ndarray) or value.__array_priority__ > 0 or value.shape != shape:  # see is_plain
            got = "it is missing" if name not in params else f"got {_shape_or_type(value)}"
            raise ValueError(f"params: expected {name} of shape {shape}, {got}")
        if value.dtype in _REAL:
            real[value.dtype] = name
        elif value.dtype != _COMPLEX and not getattr(value, "exact", False):  # the numbers of a proof are objects
            raise ValueError(f"{name}: expected dtype float32, float64 or complex128, got {value.dtype}")
    if len(params) > len(shapes):
        unknown = ", ".join(sorted(map(str, set(params) - set(shapes))))
        raise ValueError(f"params: expected the model's own parameters alone, got {brief(unknown)} as well")
    if len(real) > 1:
        single, double = (real[dtype] for dtype in _REAL)
        raise ValueError(f"params: expected one real dtype, got float32 ({single}) and float64 ({double})")
    # x . x, one fast product, is finite only if every entry of x is; if it overflowed, every entry is looked at.
    with np.errstate(over="ignore", invalid="ignore"):
        if not np.isfinite(sum(map(np.vdot, params.values(), params.values()))):
            _check_finite(params)


def is_plain(value: Any) -> bool:
    """True for an array whose operators are NumPy's own: no matrix and no masked array."""
    return isinstance(value, np.ndarray) and not value.__array_priority__ > 0


def _shape_or_type(value: Any) -> str:
    return f"shape {value.shape}" if is_plain(value) else type(value).__name__


def _check_finite(params: Mapping[str, Array]) -> None:
    for name, value in params.items():
        finite = np.isfinite(value)
        if not finite.all():
            where = np.unravel_index(int(np.argmin(finite)), value.shape)
            index = ", ".join(map(str, where))
            raise ValueError(f"params: expected finite values, {name}[{index}] is {value[where]}")


def check_dtype(name: str, dtype: Any) -> None:
    """Raise ValueError unless ``dtype`` is, or names, float32, float64 or complex128."""
    try:
        known = np.dtype(dtype) in (*_REAL, _COMPLEX)
    except TypeError:
        known = False
    if not known:
        raise ValueError(f"{name}: expected float32, float64 or complex128, got {brief(dtype)}")


def check_real(params: Mapping[str, Array]) -> None:
    """Raise ValueError if a parameter is complex: search compares probabilities."""
    for name, value in params.items():
        if value.dtype == _COMPLEX:
            raise ValueError(f"params: search needs real parameters, {name} is {value.dtype}")


def check_tokens(name: str, tokens: Array, vocabulary: int, first: int = 0) -> None:
    """Raise ValueError if a token id is outside a vocabulary of this size; row 0 is sequence number ``first``."""
    if tokens.max(initial=0) >= vocabulary:
        row, position = np.unravel_index(int(np.argmax(tokens)), tokens.shape)
        raise ValueError(
            f"{name}: expected token ids below the vocabulary's size {vocabulary}, "
            f"got {tokens[row, position]} in sequence {first + row} at position {position}"
        )
