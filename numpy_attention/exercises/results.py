"""What an answer gave back, printed, changed or raised, in words."""

from __future__ import annotations

import operator
import re
import traceback
from collections.abc import Callable, Mapping
from functools import wraps
from pathlib import Path
from typing import Any

import numpy as np

from .._code import argument_names
from .._text import brief
from .._typing import Array
from .words import shape_told, two_numbers

CLOSE = 1e-12
LONGEST = 300  # characters of a line
PRINTED = 10  # lines of what an answer prints


class ChangedError(ValueError):
    """An answer changed what it was only to read."""


class Printed:
    """In place of ``print``: keeps the first lines of what an answer prints."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def __call__(self, *values: Any, sep: str = " ", **options: Any) -> None:
        """Keep a line; not one of exact numbers, which mean nothing to the reader."""
        if len(self.lines) < PRINTED and not any(getattr(value, "exact", False) for value in values):
            text = str(sep or " ").join(map(str, values))[: PRINTED * LONGEST]
            lines = [line[:LONGEST] for line in text.splitlines() if line.strip() and line[:LONGEST] not in self.lines]
            self.lines += lines[: PRINTED - len(self.lines)]


def watched(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """The function, which raises ChangedError if it changes an array that it is given."""
    try:
        names = argument_names(function)
    except (TypeError, ValueError):  # a ufunc, for one
        names = []

    @wraps(function)
    def call(*args: Any, **options: Any) -> Any:
        given = {names[place] if place < len(names) else str(place + 1): value for place, value in enumerate(args)}
        given |= options
        kept = {each: copied(value) for each, value in given.items()}
        found = function(*args, **options)
        if found is None:
            raise ValueError(f"{name}: it returns None; is a return missing?")
        changed = [each for each, value in given.items() if not unchanged(value, kept[each])]
        if changed:
            raise ChangedError(f"{name}: it changes {', '.join(changed)}, which it is only to read")
        return found

    return call


def crash(error: BaseException, path: Path) -> str:
    """An error, with the line of the answer in which it arose; the checker's own errors say it themselves."""
    message = str(error).splitlines()[0][:LONGEST] if str(error) else ""
    unfit = re.match(r"(matmul: ).*\(size (\d+) is different from (\d+)\)", message)
    message = message.rstrip(" .") if not unfit else f"{unfit[1]}sizes {unfit[3]} and {unfit[2]} do not fit"
    lines = lines_of(error, path)
    if not lines:
        return message or type(error).__name__
    said = f"{type(error).__name__}: {message}" if message else type(error).__name__
    last = lines[-1]
    where = f"{Path(last.filename).name}, line {last.lineno}"
    return f"{where}: {(last.line or '').strip()[:LONGEST]}  raises {said}{_shapes(error, last)}"


def _shapes(error: BaseException, last: traceback.FrameSummary) -> str:
    """Shapes of the arrays that a line of the answer names, as they were when it raised an error."""
    if not isinstance(error, (ValueError, TypeError, IndexError)):
        return ""
    frame = [frame for frame, _ in traceback.walk_tb(error.__traceback__) if frame.f_code.co_filename == last.filename][
        -1
    ]
    named = dict.fromkeys(re.findall(r"(?<![\w.])[A-Za-z_]\w*", last.line or ""))
    arrays = {name: frame.f_locals.get(name) for name in named}
    shapes = [f"{name} {value.shape}" for name, value in arrays.items() if isinstance(value, np.ndarray)]
    return f". There {', '.join(shapes)}." if shapes else ""


def lines_of(error: BaseException, path: Path) -> list[traceback.FrameSummary]:
    """The lines of the reader's files through which an error came."""
    frames = traceback.extract_tb(error.__traceback__)
    return [frame for frame in frames if Path(frame.filename).parent == path.parent and frame.filename.endswith(".py")]


def difference(name: str, ours: Any, theirs: Any) -> str:
    """What is wrong with a result, or nothing."""
    if not isinstance(theirs, (np.ndarray, np.generic, float, int)):
        return f"{name}: expected an array, got {brief(theirs)}"
    shape = np.shape(theirs)
    if shape != np.shape(ours):
        return shape_told(name, shape, np.shape(ours))
    kind = np.asarray(theirs).dtype
    if kind != np.float64:
        return f"{name}: expected float64, got {kind}"
    if np.size(theirs) == 1 and not np.isfinite(theirs).all():
        return f"{name} is {np.asarray(theirs).item()}, which is not finite"
    if not np.isfinite(theirs).all():
        return f"{name}: {np.count_nonzero(~np.isfinite(theirs))} of {np.size(theirs)} entries are not finite"
    apart = np.abs(np.asarray(theirs) - ours)
    if apart.max(initial=0.0) <= CLOSE * max(1.0, np.abs(ours).max(initial=0.0)):
        return ""
    index = tuple(map(int, np.unravel_index(np.argmax(apart), apart.shape)))
    at = f"[{', '.join(map(str, index))}]" if index else ""
    return f"{name}{at} {two_numbers(float(np.asarray(theirs)[index]), float(np.asarray(ours)[index]))}"


def where_wrong(theirs: Array, ours: Array) -> list[list[bool]]:
    """Which entries are wrong, the leading axes as one."""
    wrong = ~(np.abs(theirs - ours) <= 1e-9 * max(np.abs(ours).max(initial=0.0), 1e-300))
    rows: list[list[bool]] = wrong.reshape(-1, wrong.shape[-1] if wrong.ndim else 1).tolist()
    return rows


def parts(result: Any) -> dict[str, Any]:
    """The results of a forward, by name or number."""
    if isinstance(result, Mapping):
        return dict(result)
    several = result if isinstance(result, (tuple, list)) else (result,)
    return {str(number): part for number, part in enumerate(several)}


def names_of(results: Mapping[str, Any]) -> list[str]:
    """What to call each result."""
    if len(results) == 1:
        return ["the result"]
    return [f"result {int(name) + 1}" if name.isdigit() else name for name in results]


def listed(results: Mapping[Any, Any]) -> str:
    """What came back, in a few words."""
    if all(isinstance(name, str) and name.isdigit() for name in results):
        return "one result" if len(results) == 1 else f"{len(results)} results"
    return f"a dict of {brief(list(results))[1:-1]}"


def is_float(value: Any) -> bool:
    """True for an array that has a gradient."""
    return isinstance(value, np.ndarray) and value.dtype.kind == "f"


def copied(value: Any) -> Any:
    """A copy of an array, or of a dict of them; anything else as it is."""
    if isinstance(value, dict):
        return {name: copied(each) for name, each in value.items()}
    return value.copy() if isinstance(value, np.ndarray) else value


def unchanged(one: Any, other: Any) -> bool:
    """True if an array, or a dict of them, is what it was when ``other`` was copied from it."""
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(unchanged(one[name], other[name]) for name in one)
    if not isinstance(one, np.ndarray):
        return True  # nothing that could be changed
    if one.dtype == object:  # to compare exact numbers would be to compute with them
        return one.shape == other.shape and all(map(operator.is_, one.flat, other.flat))
    return bool(np.array_equal(one, other, equal_nan=one.dtype.kind == "f"))
