"""Arrays that note down on a tape what is called on them, and a NumPy whose new arrays are such ones."""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import wraps
from types import ModuleType
from typing import Any

import numpy as np

from .._typing import Array

BUFFERS = ("zeros", "empty", "zeros_like", "empty_like")
ABOUT = (np.shape, np.ndim, np.size, np.result_type, np.shares_memory)  # say what an array is like, not what it holds
COPIES = ("array", "asarray", "ascontiguousarray", "asfortranarray")

local = threading.local()  # .tape while this thread records


class CannotRecordError(ValueError):
    """The code does what a list of calls cannot repeat."""


class Traced(np.ndarray):
    """An array whose calls are noted on the tape of this thread."""

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **options: Any) -> Any:
        out = options.pop("out", None)
        given = {} if out is None else {"out": tuple(map(plain, out))}
        found = getattr(ufunc, method)(*map(plain, inputs), **options, **given)
        if tape().place() is None:
            return found if out is None else out[0]
        result = np.asarray(found).view(Traced) if out is None else out[0]
        tape().ufunc(ufunc, method, inputs, result, options)
        return result

    def __array_function__(self, function: Any, types: Any, args: Any, kwargs: Any) -> Any:
        found = function(*all_plain(args), **{name: all_plain(value) for name, value in kwargs.items()})
        if tape().place() is None or function in ABOUT:
            return found
        if function is np.where:
            return tape().note("where", [*args], found.view(Traced))
        if function is np.concatenate:
            return tape().joined(args[0], found.view(Traced), kwargs.get("axis", *args[1:2] or (0,)))
        raise CannotRecordError(f"np.{function.__name__}, {tape().told()}, has no place in a trace")

    def __matmul__(self, other: Any) -> Any:
        return tape().one_hot_product(self, other) if isinstance(other, OneHot) else np.matmul(self, other)

    def __getitem__(self, index: Any) -> Any:
        if not _is_fancy(index):
            found = super().__getitem__(index)
            if isinstance(found, np.ndarray) or self.dtype.kind != "f":
                return found
            return super().__getitem__(_open(index))
        arrays = _index_arrays(index)
        found = plain(self)[tuple(map(plain, arrays))]
        axes = found.ndim - (self.ndim - len(arrays))
        tape().note("take", [self, *arrays], found.view(Traced), axes)
        return found.reshape(plain(self)[all_plain(index)].shape).view(Traced)

    def __setitem__(self, index: Any, value: Any) -> None:
        if _is_fancy(index):
            arrays = _index_arrays(index)
            plain(self)[tuple(map(plain, arrays))] = plain(value)
            tape().put(self, arrays, value)
            return
        target = super().__getitem__(_open(index))
        np.ndarray.__setitem__(plain(self), index, plain(value))
        if not (isinstance(value, np.ndarray) and _same(value, target)):  # x[i] += y sets x[i] to itself
            tape().note("copy", [value], target.view(Traced))

    def argmax(self, axis: Any = None, out: Any = None, **options: Any) -> Any:
        """As NumPy's, over the last axis."""
        found = np.asarray(plain(self).argmax(axis, out, **options)).view(Traced)
        if axis not in (-1, self.ndim - 1):
            raise CannotRecordError(f"argmax over axis {axis}, {tape().told()}, has no place in a trace")
        return tape().note("argmax", [self], found)

    def copy(self, order: Any = "C") -> Any:
        """As NumPy's."""
        return tape().note("copy", [self], plain(self).copy(order).view(Traced))

    def astype(self, dtype: Any, *args: Any, **options: Any) -> Any:
        """As NumPy's; a list of calls has one dtype."""
        found = plain(self).astype(dtype, *args, **options)
        return self if np.shares_memory(found, self) else tape().note("copy", [self], found.view(Traced))

    def reshape(self, *shape: Any, **options: Any) -> Any:
        """As NumPy's: a view, or a copy that is noted down."""
        found = plain(self).reshape(*shape, **options)
        if found.size == 0 or np.shares_memory(found, self):
            return super().reshape(*shape, **options)
        flat = plain(self).copy().view(Traced)
        return tape().note("copy", [self], flat).view(np.ndarray).reshape(*shape, **options).view(Traced)

    def ravel(self, order: Any = "C") -> Any:
        """As NumPy's."""
        return self.reshape(-1)

    def __bool__(self) -> bool:
        raise CannotRecordError(f"{tape().told()}: the code decides by a number, so other numbers may go another way")

    __float__ = __int__ = __index__ = __bool__


class OneHot:
    """A sparse matrix with a one in each row, as scipy's ``csr_array((ones, column of each row, range), shape)``."""

    def __init__(self, parts: tuple[Array, Array, Array], shape: tuple[int, int]) -> None:
        self.row, self.shape = parts[1], shape


class TracedNumPy(ModuleType):
    """NumPy, for the modules that are recorded: new arrays are traced ones too."""

    def __init__(self) -> None:
        super().__init__("numpy")
        for name in BUFFERS:
            setattr(self, name, _buffer(getattr(np, name)))
        for name in COPIES:
            setattr(self, name, _copy(getattr(np, name)))
        self.unique = _unique

    def __getattr__(self, name: str) -> Any:
        return getattr(np, name)


def _buffer(original: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(original)
    def made(*args: Any, **options: Any) -> Any:
        found = original(*all_plain(args), **options)
        if tape() is None or found.dtype.kind != "f":
            return found
        return tape().note("copy", [0.0], found.view(Traced)) if "zeros" in original.__name__ else found.view(Traced)

    return made


def _copy(original: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(original)
    def either(*args: Any, **options: Any) -> Any:
        return original(*args, **options) if tape() is None else copied(*args, **options)

    def copied(value: Any, *args: Any, **options: Any) -> Any:
        found = original(all_plain(value), *args, **options)
        if not _holds_traced(value):
            return found
        out = found.view(Traced)
        if isinstance(value, Traced):
            return out if np.shares_memory(found, value) else tape().note("copy", [value], out)
        for number, part in enumerate(value):
            tape().note("copy", [part], np.ndarray.__getitem__(out, number))
        return out

    return either


def _unique(ar: Any, *args: Any, **options: Any) -> Any:
    """np.unique; of traced token ids, all that there are: which of them occur is for each replay to see."""
    if not isinstance(ar, Traced):
        return np.unique(ar, *args, **options)
    below = tape().ids.get(tape().view(ar).buffer)
    if below is None or options != {"return_inverse": True}:
        raise CannotRecordError(f"np.unique, {tape().told()}, has no place in a trace")
    return np.arange(below), ar.reshape(-1)


NUMPY = TracedNumPy()


def tape() -> Any:
    """The tape of this thread while it records, otherwise None."""
    return getattr(local, "tape", None)


def plain(value: Any) -> Any:
    """The array itself, whose calls nobody notes."""
    return value.view(np.ndarray) if isinstance(value, Traced) else value


def all_plain(value: Any) -> Any:
    """The same for all that tuples and lists hold."""
    if type(value) in (tuple, list):
        return type(value)(map(all_plain, value))
    return plain(value)


def _holds_traced(value: Any) -> bool:
    return isinstance(value, Traced) or (isinstance(value, tuple | list) and any(isinstance(v, Traced) for v in value))


def _same(x: Array, y: Array) -> bool:
    return x.shape == y.shape and x.strides == y.strides and x.ctypes.data == y.ctypes.data


def _is_fancy(index: Any) -> bool:
    return any(isinstance(each, np.ndarray) and each.ndim for each in (index if isinstance(index, tuple) else [index]))


def _open(index: Any) -> tuple[Any, ...]:
    """The same index, of a view even where it names a single entry."""
    found = index if isinstance(index, tuple) else (index,)
    return found if any(each is Ellipsis for each in found) else (*found, ...)


def _index_arrays(index: Any) -> list[Any]:
    """The arrays of an index, which name entries of the first axes."""
    found = list(index) if isinstance(index, tuple) else [index]
    while found[-1] is None:  # x[i, j, None]: a new axis at the end, of the result alone
        found.pop()
    if not all(isinstance(each, np.ndarray) for each in found):
        raise CannotRecordError(f"an index of arrays and slices, {tape().told()}, has no place in a trace")
    return found
