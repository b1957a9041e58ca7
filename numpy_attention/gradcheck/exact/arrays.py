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
    """An array of objects, exact numbers among plain ones.

    The code may keep it when the run is over. From then on it acts as an array of floats.
    """

    exact = True
    run: Field | None  # in which it was made

    def __array_finalize__(self, source: Any) -> None:
        self.run = getattr(source, "run", None) or getattr(_ours, "field", None)

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **options: Any) -> Any:
        return call_ufunc(ufunc, method, inputs, options)

    def __array_function__(self, function: Any, types: Any, args: Any, kwargs: Any) -> Any:
        if _current((args, kwargs)) is None:
            return _in_floats(function, args, kwargs)
        args, kwargs = _renewed(args, _field()), _renewed(kwargs, _field())
        _field().spend(_work(function, args, kwargs))
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

    def dot(self, other: Any, out: Any = None) -> Any:
        """np.dot, which counts its operations."""
        return np.dot(self, other, out)

    def astype(self, dtype: Any, *args: Any, **kwargs: Any) -> Any:
        """A copy: exact numbers are as good as double precision."""
        if _current(self) is None:
            return _floats(self).astype(dtype, *args, **kwargs)
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
    if isinstance(value, numbers.PLAIN) and math.isfinite(value):
        return Exact.plain(field, value)
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


def _runs(value: Any) -> Iterator[Field]:
    """The fields of the exact numbers and arrays in an argument."""
    if type(value) is Exact:
        yield value.field
    elif isinstance(value, ExactArray) and value.run is not None:
        yield value.run
    elif type(value) in (tuple, list):
        for part in value:
            yield from _runs(part)
    elif type(value) is dict:
        yield from _runs(list(value.values()))


def _current(value: Any) -> Field | None:
    """The field that this thread runs code in; None if the run is over that the arguments are from."""
    field: Field | None = getattr(_ours, "field", None)
    if field is None:
        for run in _runs(value):
            if not run.over:
                run.refuse("the code computes with exact numbers in another thread")
    return field


def _mapped(value: Any, rule: Callable[[Any], Any]) -> Any:
    """An argument with ``rule`` applied to its exact numbers and arrays."""
    if type(value) is Exact or isinstance(value, ExactArray):
        return rule(value)
    if type(value) in (tuple, list):
        return type(value)(_mapped(part, rule) for part in value)
    return {name: _mapped(part, rule) for name, part in value.items()} if type(value) is dict else value


def _floats(value: Any) -> Any:
    """An argument with floats in place of exact numbers."""

    def rule(found: Any) -> Any:
        if type(found) is Exact:
            return found.shadow
        return np.array([_shadow(entry) for entry in found.flat], np.float64).reshape(found.shape)

    return _mapped(value, rule)


def _renewed(value: Any, field: Field) -> Any:
    """An argument with floats in place of the numbers of an earlier run, which the code has kept."""

    def rule(found: Any) -> Any:
        if type(found) is Exact:
            return found if found.field is field else found.shadow
        if found.run is field:
            return found
        plain = found.view(np.ndarray)
        for index, entry in enumerate(found.flat):
            if type(entry) is Exact and entry.field is not field:
                plain = plain if plain.flags.writeable else plain.copy()
                plain.flat[index] = entry.shadow
        return plain.view(ExactArray)

    return _mapped(value, rule)


def _in_floats(function: Callable[..., Any], args: Any, kwargs: Any) -> Any:
    """A function of what was kept when a run was over, in floats; what it changes in place is changed."""
    pairs = []

    def rule(kept: Any) -> Any:
        pairs.append((kept, _floats(kept)))
        return pairs[-1][1]

    found = function(*_mapped(args, rule), **_mapped(kwargs, rule))
    for kept, floats in pairs:
        if isinstance(kept, ExactArray) and not np.array_equal(_floats(kept), floats, equal_nan=True):
            kept[...] = floats
    return found


def _work(function: Any, args: Any, kwargs: Any) -> int:
    """About how many operations a function takes that NumPy does not put together from others."""
    arrays = [each for each in (*args, *kwargs.values()) if isinstance(each, np.ndarray)]
    sizes = [int(array.size) for array in arrays]
    if function is np.einsum and isinstance(args[0], str):
        return _einsum_work(args[0].partition("->")[0].replace(" ", "").split(","), args[1:])
    if function in (np.dot, np.inner) and len(arrays) >= 2 and all(array.ndim for array in arrays[:2]):
        return sizes[0] * sizes[1] // max(1, int(arrays[0].shape[-1]))
    if function in (np.convolve, np.correlate, np.kron, np.outer):
        return math.prod(sizes[:2])
    return max(sizes, default=0)


def _einsum_work(subscripts: list[str], operands: Any) -> int:
    """The product of the lengths of all axes."""
    lengths: dict[str, int] = {}
    for labels, operand in zip(subscripts, operands, strict=True):
        head, dots, tail = labels.partition("...")
        shape = np.shape(operand)
        hidden = [f"{place} hidden" for place in range(len(shape) - len(head) - len(tail), 0, -1)] if dots else []
        for label, length in zip([*head, *hidden, *tail], shape, strict=True):
            lengths[label] = max(length, lengths.get(label, 1))
    return math.prod(lengths.values())


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


def call_ufunc(ufunc: np.ufunc, method: str, inputs: Any, options: dict[str, Any]) -> Any:
    """``ufunc.method(*inputs, **options)``, on exact numbers; on floats if their run is over."""
    field = _current((list(inputs), options))
    if field is None:
        return _in_floats(getattr(ufunc, method), inputs, options)
    name, plain = ufunc.__name__, [_plain(_renewed(value, field)) for value in inputs]
    out = options.get("out")
    if out is not None:
        for array in out:
            if array is not None and array.dtype != object and array.dtype.kind != "b":
                field.refuse(f"a buffer of {array.dtype} cannot hold exact numbers")
        options = {**options, "out": tuple(map(_plain, out))}
    if options.get("dtype") is not None and _holds_exact(options["dtype"]):
        options = {**options, "dtype": object}
    _spend(field, name, method, plain)
    if name in FUNCTIONS and method == "__call__":
        return _elementwise(FUNCTIONS[name], plain, options, bool if name in YES_OR_NO else object)
    if name in PAIRS and method == "__call__":
        return _elementwise(PAIRS[name], plain, options, object)
    try:
        return _exact(getattr(ufunc, method)(*plain, **options))
    except TypeError:
        module = "np" if isinstance(getattr(np, name, None), np.ufunc) else "scipy.special"
        field.refuse(f"{module}.{name} has no exact form")


def _spend(field: Field, name: str, method: str, plain: list[Any]) -> None:
    """Count the operations of a ufunc: the size of what it computes, times the length of a sum in a matrix product."""
    shapes = [np.shape(value) for value in plain]
    try:
        if name == "matmul" and len(plain) == 2 and all(shapes):
            left, right = shapes
            columns = right[-1] if len(right) > 1 else 1
            rows = left[-2] if len(left) > 1 else 1
            size = math.prod(np.broadcast_shapes(left[:-2], right[:-2])) * rows * left[-1] * columns
        elif method == "__call__":
            size = math.prod(np.broadcast_shapes(*shapes))
        else:
            size = (math.prod if method == "outer" else max)(math.prod(shape) for shape in shapes)
    except ValueError:  # the shapes do not fit, which NumPy says itself
        return
    field.spend(size)


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
        field.over = False
        try:
            yield
        finally:
            _ours.field, field.over = outer, outer is not field
            for namespace, name, value in swapped:
                namespace[name] = value


def _own_code() -> Iterator[dict[str, Any]]:
    """The namespaces of loaded modules that belong to no library."""
    for name, module in list(sys.modules.items()):
        file = getattr(module, "__file__", None) or ""
        library = name.partition(".")[0] in sys.stdlib_module_names or "site-packages" in file or not file
        if name == "__main__" or not (library or name.startswith(CHECKER)) or name.startswith(CHECKED):
            yield vars(module)
