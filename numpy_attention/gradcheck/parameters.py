"""The input of a check: parameters in any nesting of dicts, lists and tuples, and a loss that keeps its contract.

Inside this package everything is a flat dict of fresh C-ordered float64 arrays: ``layers[0].W`` names ``W`` of the
first of ``layers``, and a lone array has the name ``params``.
"""

from __future__ import annotations

import cmath
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from .._checks import check_size
from .._text import brief
from .._typing import Array

ArrayOrDict = Any  # an array, or dicts, lists and tuples of arrays; whatever has ``__array__`` counts as one
Arrays = dict[str, Array]
JAX_HINT = " (JAX: jax.config.update('jax_enable_x64', True))"


class LoneName(str):
    """The name of an array that came without a dict, told apart from a key ``"params"`` by its type."""

    __slots__ = ()


LONE: str = LoneName("params")


def as_dict(value: ArrayOrDict, argument: str) -> Arrays:
    """The arrays of ``value`` by name.

    Raises
    ------
    TypeError
        If something in it is no array, nor what NumPy can make one of.
    ValueError
        If there is nothing in it, or two arrays have the same name: "a.b", and "b" in "a".
    """
    if isinstance(value, _NESTS):
        found: Arrays = {}
        for name, array in _leaves(value, "", argument):
            if name in found:
                raise ValueError(f"{argument}: expected different names, got two arrays that are called {name!r}")
            found[name] = array
        if not found:
            raise ValueError(f"{argument}: expected at least one array, got an empty {type(value).__name__}")
        return found
    return {LONE: _leaf(value, argument)}


_NESTS = (Mapping, list, tuple)


def _leaves(value: Any, path: str, argument: str) -> Iterator[tuple[str, Array]]:
    """The arrays in a nest, by their paths."""
    if isinstance(value, Mapping):
        for name in value:
            if not isinstance(name, str):
                raise TypeError(f"{argument}: expected names that are strings, got {brief(name)}")
        parts = [(f"{path}.{name}" if path else name, part) for name, part in value.items()]
    else:
        parts = [(f"{path}[{place}]", part) for place, part in enumerate(value)]
    for name, part in parts:
        if isinstance(part, _NESTS):
            yield from _leaves(part, name, argument)
        else:
            yield name, _leaf(part, spot(argument, name))


def _leaf(value: Any, what: str) -> Array:
    """An array, or what has one: a tensor of another library, a number."""
    if isinstance(value, np.ndarray):
        return value
    if hasattr(value, "__array__") or isinstance(value, (int, float)) or getattr(value, "exact", False):
        return np.asarray(value)
    raise TypeError(f"{what}: expected an array, or dicts, lists or tuples of arrays, got {type(value).__name__}")


def unwrap(arrays: Mapping[str, Any], like: ArrayOrDict) -> Any:
    """``arrays`` in the form of ``like``."""

    def rebuilt(value: Any, path: str) -> Any:
        if isinstance(value, Mapping):
            return {name: rebuilt(part, f"{path}.{name}" if path else name) for name, part in value.items()}
        if isinstance(value, (list, tuple)):
            parts = [rebuilt(part, f"{path}[{place}]") for place, part in enumerate(value)]
            return type(value)(*parts) if hasattr(value, "_fields") else type(value)(parts)
        return arrays[path]

    return rebuilt(like, "") if isinstance(like, _NESTS) else arrays[LONE]


def spot(argument: str, name: str) -> str:
    """An array's name in a message: ``params['W']``, or ``params`` for a lone array."""
    return argument if isinstance(name, LoneName) else f"{argument}[{name!r}]"


def at(name: str, index: tuple[int, ...]) -> str:
    """An entry's name in a message: ``W[0, 2]``."""
    return f"{name}[{', '.join(map(str, index))}]"


def one_entry(parameter: Array, index: tuple[int, ...]) -> Array:
    """The unit direction of one entry."""
    unit = np.zeros(parameter.shape)
    unit[index] = 1.0
    return unit


def moved(params: Arrays, direction: Mapping[str, Array], step: float | complex) -> Arrays:
    """``params + step * direction``; parameters that are not in ``direction`` stay as they are."""
    return {**params, **{name: params[name] + step * along for name, along in direction.items()}}


def largest_entry(array: Array) -> float:
    """The largest finite entry, in absolute value; 0 if there is none."""
    return float(np.abs(array[np.isfinite(array)]).max(initial=0.0))


def private_stream(seed: int, purpose: str) -> np.random.Generator:
    """Random numbers for one purpose, different from those of ``default_rng(seed)``.

    Parameters may have been drawn from those. A cotangent equal to an input, or a direction parallel to the
    parameters, would hide mistakes.
    """
    check_size("seed", seed, least=0)
    return np.random.default_rng([int(seed), *purpose.encode()])


def working_copy(params: ArrayOrDict, argument: str = "params") -> Arrays:
    """Fresh float64 copies; parameters must be float32 or float64, and finite."""
    copies = {}
    for name, array in as_dict(params, argument).items():
        require_floating(array, spot(argument, name))
        if not np.isfinite(array).all():
            index = tuple(int(i) for i in np.argwhere(~np.isfinite(array))[0])
            raise ValueError(f"{spot(argument, name)}: expected finite numbers, got {array[index]} at {index}")
        copies[name] = np.array(array, dtype=np.float64, order="C")
    return copies


def require_floating(array: Array, what: str) -> None:
    """Raise TypeError unless the dtype is float32 or float64."""
    if array.dtype not in (np.float32, np.float64):
        raise TypeError(f"{what}: expected float32 or float64, got {array.dtype}")


def matching(arrays: ArrayOrDict, params: Mapping[str, Array], argument: str) -> Arrays:
    """``arrays`` as a dict, checked to have the names and shapes of ``params`` and a real floating dtype."""
    found = as_dict(arrays, argument)
    missing, extra = sorted(params.keys() - found.keys()), sorted(found.keys() - params.keys())
    if missing or extra:
        faults = [
            f"{word} {', '.join(map(repr, names))}" for word, names in (("missing", missing), ("extra", extra)) if names
        ]
        raise ValueError(f"{argument}: expected the names of params; {'; '.join(faults)}")
    for name, array in found.items():
        what, expected = spot(argument, name), params[name].shape
        if array.shape != expected:
            hint = " (the transposed shape)" if array.shape == expected[::-1] else ""
            raise ValueError(f"{what}: expected shape {expected}, got {array.shape}{hint}")
        require_floating(array, what)
    return {name: found[name] for name in params}


@dataclass
class Loss:
    """The caller's loss as a function of a dict of arrays; checks that it is a scalar, and counts evaluations."""

    function: Callable[..., Any]
    like: ArrayOrDict  # the form in which it takes its parameters
    evaluations: int = 0

    def __call__(self, values: Mapping[str, Array]) -> complex:
        """The loss at ``values``, possibly NaN or infinite. Raises ValueError or TypeError unless it is a scalar."""
        self.evaluations += 1
        # A fresh dict each time: a loss may add or remove keys.
        result = np.asarray(self.function(unwrap(values, self.like)))
        if result.ndim != 0:
            raise ValueError(f"loss_function: expected a scalar, got an array of shape {result.shape}")
        if result.dtype.kind not in "fciu":
            raise WrongKindError(f"loss_function: expected a number, got {brief(result.item())}")
        if result.dtype in (np.float16, np.float32, np.complex64):
            raise ValueError(
                f"loss_function: expected double precision for float64 parameters, got {result.dtype}; "
                f"something in it computes in single precision{JAX_HINT if 'jax' in sys.modules else ''}"
            )
        return complex(result)

    def real(self, values: Mapping[str, Array]) -> float:
        """The loss at real ``values``, possibly NaN or infinite."""
        value = self(values)
        if value.imag != 0:
            raise WrongKindError(f"loss_function: expected a real number for real parameters, got {value}")
        return value.real


class WrongKindError(TypeError):
    """The loss did not return a number, or returned a complex one for real parameters."""


def probe(loss: Loss, params: Arrays) -> float:
    """The loss at ``params``. Called twice: it must be finite, repeatable and leave its arguments unchanged."""
    values = {name: array.copy() for name, array in params.items()}
    first, second = loss.real(values), loss.real(values)
    require_unchanged(values, params, values)
    if not cmath.isfinite(first):
        raise ValueError(f"loss_function: expected a finite number, got {first}")
    require_same(first, second, "two calls")
    return first


def require_same(first: float, second: float, which: str) -> None:
    """Raise ValueError if two calls with the same params differ by more than the order of a summation may change."""
    if not abs(first - second) <= 1e-13 * abs(first):
        raise ValueError(
            f"loss_function: {which} with the same params gave {first!r} and {second!r}; "
            "draw random numbers (dropout, sampling) once, outside it, and keep nothing from call to call"
        )


def require_unchanged(values: Mapping[str, Array], params: Mapping[str, Array], names: Iterable[str]) -> None:
    """Raise ValueError if the loss has changed one of its arguments."""
    for name in names:
        if not np.array_equal(values[name], params[name]):
            raise ValueError(
                f"loss_function: expected its arguments to stay as they are, but it changes {spot('params', name)}"
            )
