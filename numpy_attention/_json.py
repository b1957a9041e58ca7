"""Results as JSON: numbers that JSON does not know become None or a word, and no text can steer a terminal."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np

from ._text import printable


def plain(value: Any) -> Any:
    """Dicts, lists and numbers that ``json.dumps(..., allow_nan=False)`` takes.

    Parameters
    ----------
    value : object
        Dicts, named tuples, lists, tuples and arrays are looked into; anything else is returned as it is.

    Returns
    -------
    value : object
        The same values with dicts for named tuples, lists for tuples and arrays, None for NaN, and ``"inf"`` or
        ``"-inf"`` for infinities.

    Examples
    --------
    >>> plain({"half_life": np.array([1.0, np.nan, np.inf])})
    {'half_life': [1.0, None, 'inf']}
    """
    if hasattr(value, "_asdict"):
        value = value._asdict()
    if isinstance(value, dict):
        return {str(name): plain(part) for name, part in value.items()}
    if isinstance(value, (list, tuple, np.ndarray)):
        return [plain(part) for part in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None if math.isnan(value) else "inf" if value > 0 else "-inf"
    return value


def to_json(value: Any, indent: int | None = None) -> str:
    r"""``plain(value)`` as JSON, in which all that :func:`~numpy_attention._text.printable` escapes is escaped.

    Examples
    --------
    >>> print(to_json({"words": ["café", "\x9b", "\u2028"]}))
    {"words": ["café", "\u009b", "\u2028"]}
    """
    text = json.dumps(plain(value), ensure_ascii=False, allow_nan=False, indent=indent)
    if indent is None and text == printable(text):
        return text
    return "".join(each if each == "\n" or each == printable(each) else f"\\u{ord(each):04x}" for each in text)
