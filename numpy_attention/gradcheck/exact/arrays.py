"""Arrays of exact numbers, which NumPy's functions take like any others.

They are arrays of objects. Only what NumPy does not do with objects by itself stands here.
"""

from __future__ import annotations

import math
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import wraps
from types import ModuleType
from typing import Any

import numpy as np

from ..._shared import EXCHANGE
from ..._text import brief
from . import numbers
from .field import Field
from .numbers import Exact

# Functions of one number, by the name of NumPy's or SciPy's ufunc.
FUNCTIONS: dict[str, Callable[[Any], Any]] = {
    name: getattr(numbers, name)
    for name in (
        *("exp", "log", "sqrt", "tanh", "sin", "cos", "sinh", "cosh", "erf", "sign"),
        *("arctan", "arcsin", "arccos", "arcsinh", "arccosh", "arctanh"),
    )
} | {
    "expm1": lambda x: numbers.exp(x) - 1,
    "log1p": lambda x: numbers.log(1 + x),
    "exp2": lambda x: 2**x,
    "log2": lambda x: numbers.log(x) / numbers.log(2 * _one(x)),
    "log10": lambda x: numbers.log(x) / numbers.log(10 * _one(x)),
    "cbrt": lambda x: x ** (1 / 3),
    "tan": lambda x: numbers.sin(x) / numbers.cos(x),
    "square": lambda x: x * x,
    "reciprocal": lambda x: 1 / x,
    "expit": lambda x: 1 / (1 + numbers.exp(-x)),
    "erfc": lambda x: 1 - numbers.erf(x),
    "absolute": abs,
    "fabs": abs,
    "conjugate": lambda x: x,
    "rint": round,
    "floor": math.floor,
    "ceil": math.ceil,
    "trunc": math.trunc,
    # Yes and no, by the float.
    "isfinite": lambda x: math.isfinite(_shadow(x)),
    "isnan": lambda x: math.isnan(_shadow(x)),
    "isinf": lambda x: math.isinf(_shadow(x)),
    "signbit": lambda x: bool(x < 0),
}
YES_OR_NO = ("isfinite", "isnan", "isinf", "signbit")
# Functions of two numbers.
PAIRS: dict[str, Callable[[Any, Any], Any]] = {
    "logaddexp": lambda x, y: numbers.log(numbers.exp(x) + numbers.exp(y)),
    "hypot": lambda x, y: numbers.sqrt(x * x + y * y),
    "heaviside": lambda x, y: y if x == 0 else int(x > 0),
    "copysign": lambda x, y: abs(x) if y >= 0 else -abs(x),
    "fmax": max,
    "fmin": min,
    "float_power": lambda x, y: x**y,
}
# Made by NumPy in floats, where a backward puts its results: arrays that can hold exact numbers take their place.
PACKAGE = __name__.partition(".")[0]
CHECKER = f"{PACKAGE}.gradcheck", f"{PACKAGE}._"  # stay as they are
CHECKED = (
    f"{PACKAGE}.ops",
    f"{PACKAGE}.model",
    f"{PACKAGE}.exercises",
)  # even where this package is installed like a library
BUFFERS = ("zeros", "ones", "empty", "full", "eye", "identity", "zeros_like", "ones_like", "empty_like", "full_like")
CONVERSIONS = ("array", "asarray", "asanyarray", "ascontiguousarray", "asfortranarray")

_ours = threading.local()  # .field while this thread runs code on exact numbers


def _one(x: Any) -> Any:
    return Exact.constant(x.field, 1.0, 1) if type(x) is Exact else 1.0


def _shadow(x: Any) -> float:
    return x.shadow if type(x) is Exact else float(x)


class ExactArray(np.ndarray):
    """An array of objects, exact numbers among plain ones."""

    exact = True

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **options: Any) -> Any:
        return call_ufunc(_field(), ufunc, method, inputs, options)

    def __array_function__(self, function: Any, types: Any, args: Any, kwargs: Any) -> Any:
        if function is np.linalg.norm:
            return _norm(*args, **kwargs)
        try:
            return _exact(super().__array_function__(function, types, args, kwargs))
        except TypeError:
            name = f"{function.__module__.replace('numpy', 'np')}.{function.__name__}"
            _field().refuse(f"{name} has no exact form")

    def __matmul__(self, other: Any) -> Any:
        # A sparse matrix would take over, and knows no objects.
        return np.matmul(self, other.toarray() if hasattr(other, "toarray") else other)

    def astype(self, dtype: Any, *args: Any, **kwargs: Any) -> Any:
        """A copy: exact numbers are as good as double precision."""
        return self.copy() if _holds_exact(dtype) else super().astype(dtype, *args, **kwargs)


def as_exact_array(value: Any) -> ExactArray:
    """``value`` as an array of objects."""
    found = np.ndarray(np.shape(value) if isinstance(value, np.ndarray) else (), object)
    found[...] = value
    return found.view(ExactArray)


def number(field: Field, value: Any) -> Exact:
    """An entry of a result as an exact number."""
    if type(value) is Exact:
        return value
    found = Exact.constant(field, 0.0, 0) + value if value is not None else value
    if type(found) is Exact:
        return found
    field.refuse(f"an entry of a result is {brief(value)}")


def lifted(field: Field, array: np.ndarray, *, slope: bool) -> ExactArray:
    """Exact numbers in place of floats: each is a variable, with a random value and, if asked for, a random slope."""
    found = np.ndarray(array.shape, object)
    for index, shadow in np.ndenumerate(array):
        found[index] = Exact(field, float(shadow), field.draw(), field.draw() if slope else 0, 1, 1)
    return found.view(ExactArray)


def with_slopes(array: ExactArray, slopes: Iterable[int]) -> ExactArray:
    """The same numbers with these slopes."""
    found = np.ndarray(array.shape, object)
    for entry, slope, index in zip(array.flat, slopes, np.ndindex(array.shape), strict=True):
        found[index] = Exact(entry.field, entry.shadow, entry.value, slope, entry.degree, 1)
    return found.view(ExactArray)


def _field() -> Field:
    field: Field = _ours.field
    return field


def _exact(result: Any) -> Any:
    """``result`` with arrays of objects made exact ones."""
    if isinstance(result, (tuple, list)) and type(result) in (tuple, list):
        return type(result)(map(_exact, result))
    if isinstance(result, np.ndarray) and result.dtype == object:
        return result.view(ExactArray)
    return result


def _plain(value: Any) -> Any:
    """``value`` as something that NumPy does not hand back to us."""
    value = as_exact_array(value) if type(value) is Exact else value
    return value.view(np.ndarray) if isinstance(value, ExactArray) else value


def _holds_exact(dtype: Any) -> bool:
    """True for the dtypes whose place exact numbers take: double precision, and the dtype of an exact array."""
    try:
        return dtype is None or np.dtype(dtype) in (np.float64, object)
    except TypeError:
        return False


def call_ufunc(field: Field, ufunc: np.ufunc, method: str, inputs: Any, options: dict[str, Any]) -> Any:
    """``ufunc.method(*inputs, **options)``, on exact numbers."""
    name, plain = ufunc.__name__, [_plain(value) for value in inputs]
    out = options.get("out")
    if out is not None:
        for array in out:
            if array is not None and array.dtype != object and array.dtype.kind != "b":
                field.refuse(f"a buffer of {array.dtype} cannot hold exact numbers")
        options = {**options, "out": tuple(map(_plain, out))}
    if options.get("dtype") is not None and _holds_exact(options["dtype"]):
        options = {**options, "dtype": object}
    _spend(field, name, plain)
    if name in FUNCTIONS and method == "__call__":
        return _elementwise(FUNCTIONS[name], plain, options, bool if name in YES_OR_NO else object)
    if name in PAIRS and method == "__call__":
        return _elementwise(PAIRS[name], plain, options, object)
    try:
        return _exact(getattr(ufunc, method)(*plain, **options))
    except TypeError:
        module = "np" if isinstance(getattr(np, name, None), np.ufunc) else "scipy.special"
        field.refuse(f"{module}.{name} has no exact form")


def _spend(field: Field, name: str, plain: list[Any]) -> None:
    sizes = [np.size(value) for value in plain]
    if name == "matmul" and len(plain) == 2:
        columns = plain[1].shape[-1] if np.ndim(plain[1]) > 1 else 1
        sizes = [sizes[0] * columns, sizes[1]]
    field.spend(max(sizes))


def _elementwise(function: Callable[..., Any], inputs: list[Any], options: dict[str, Any], dtype: type) -> Any:
    found = np.frompyfunc(function, len(inputs), 1)(*inputs, **options)
    if dtype is bool:
        return found.astype(bool) if isinstance(found, np.ndarray) else bool(found)
    return _exact(found)


def _norm(x: Any, ord: Any = None, axis: Any = None, keepdims: bool = False) -> Any:
    """np.linalg.norm, of order 2 over any axes and of a matrix by its entries."""
    if ord not in (None, 2, "fro") or (ord == 2 and (x.ndim if axis is None else np.size(axis)) != 1):
        _field().refuse(f"np.linalg.norm of order {ord} has no exact form")
    return np.sqrt(np.sum(x * x, axis=axis, keepdims=keepdims))


# A backward may put its results into np.zeros(shape). While code is run, its modules get a NumPy whose arrays of floats
# can hold exact numbers. NumPy itself stays as it is: compiled code calls it.


class ExactNumPy(ModuleType):
    """NumPy, with other ``zeros``, ``array`` and the like in the thread of an exact run."""

    def __init__(self) -> None:
        super().__init__("numpy")
        for name in BUFFERS:
            setattr(self, name, _buffer(getattr(np, name)))
        for name in CONVERSIONS:
            setattr(self, name, _conversion(getattr(np, name)))

    def __getattr__(self, name: str) -> Any:
        return getattr(np, name)


def _buffer(original: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(original)
    def made(*args: Any, **kwargs: Any) -> Any:
        array = original(*args, **kwargs)
        mine = getattr(_ours, "field", None) is not None and array.dtype in (np.float64, object)
        return array.astype(object).view(ExactArray) if mine else array

    return made


def _conversion(original: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(original)
    def converted(*args: Any, **kwargs: Any) -> Any:
        return original(*args, **kwargs) if getattr(_ours, "field", None) is None else exact(*args, **kwargs)

    def exact(value: Any, dtype: Any = None, *args: Any, **kwargs: Any) -> Any:
        if dtype is not None and _holds_exact(dtype) and original(value).dtype == object:
            dtype = object
        return _exact(original(value, dtype, *args, **kwargs))

    return converted


_NUMPY = ExactNumPy()
_REPLACED = {id(getattr(np, name)): getattr(_NUMPY, name) for name in (*BUFFERS, *CONVERSIONS)} | {id(np): _NUMPY}


@contextmanager
def exact_run(field: Field, namespaces: Iterable[dict[str, Any]] = ()) -> Iterator[None]:
    """Within the block, code whose globals are among ``namespaces``, or that is no library's, makes exact arrays.

    Other threads, which may run the same code, get floats as ever.
    """
    with EXCHANGE:
        swapped = [
            (namespace, name, value)
            for namespace in {id(each): each for each in (*namespaces, *_own_code())}.values()
            for name, value in list(namespace.items())
            if id(value) in _REPLACED
        ]
        for namespace, name, value in swapped:
            namespace[name] = _REPLACED[id(value)]
        outer, _ours.field = getattr(_ours, "field", None), field
        try:
            yield
        finally:
            _ours.field = outer
            for namespace, name, value in swapped:
                namespace[name] = value


def _own_code() -> Iterator[dict[str, Any]]:
    """The namespaces of loaded modules that belong to no library."""
    for name, module in list(sys.modules.items()):
        file = getattr(module, "__file__", None) or ""
        library = name.partition(".")[0] in sys.stdlib_module_names or "site-packages" in file or not file
        if name == "__main__" or not (library or name.startswith(CHECKER)) or name.startswith(CHECKED):
            yield vars(module)
