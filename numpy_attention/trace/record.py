"""Record a run: unchanged code is run once on arrays that note down every call of NumPy that reads or writes them.

The list holds what depends on the inputs. What does not, such as a mask, is a constant of the trace. So is every
decision: code that decides by a number that depends on the inputs cannot be replayed with others, and is refused.
"""

from __future__ import annotations

import ast
import linecache
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache, wraps
from pathlib import Path
from types import FrameType, ModuleType
from typing import Any
from unittest import mock

import numpy as np

from .._typing import Array
from .listing import Call, Frame, Trace, View

UFUNCS: dict[np.ufunc, str] = {
    np.add: "add",
    np.subtract: "subtract",
    np.multiply: "multiply",
    np.true_divide: "divide",
    np.negative: "negative",
    np.exp: "exp",
    np.tanh: "tanh",
    np.log1p: "log1p",
    np.square: "square",
    np.matmul: "matmul",
}
REDUCTIONS: dict[np.ufunc, str] = {np.add: "sum", np.maximum: "max"}
BUFFERS = ("zeros", "empty", "zeros_like", "empty_like")
ABOUT = (np.shape, np.ndim, np.size, np.result_type, np.shares_memory)  # say what an array is like, not what it holds
COPIES = ("array", "asarray", "ascontiguousarray", "asfortranarray")
LIBRARIES = ("numpy", "scipy", "unittest", "contextlib")

_local = threading.local()  # .tape while this thread records


class CannotRecordError(ValueError):
    """The code does what a list of calls cannot repeat."""


def record(
    run: Callable[..., Mapping[str, Any]],
    inputs: Mapping[str, Array],
    modules: Sequence[ModuleType],
    below: Mapping[str, int] | None = None,
) -> Trace:
    """Run code once, and list its calls of NumPy.

    Parameters
    ----------
    run : callable
        ``run(**inputs)`` calls the code, and returns the results by name.
    inputs : dict of arrays
        What may differ in a replay: floats, or token ids.
    modules : sequence of modules
        The code: calls from its functions are listed, with their lines, and those from elsewhere are not.
    below : dict of int, optional
        By name of an input of token ids, the number of ids that there are.

    Returns
    -------
    Trace

    Raises
    ------
    CannotRecordError
        If the code calls a function of NumPy that has no place in the list, or decides by a number that depends on the
        inputs.

    Examples
    --------
    >>> import numpy as np
    >>> from numpy_attention.ops import attention
    >>> inputs = {"e": np.zeros((1, 3))}
    >>> mask = np.array([[True, True, False]])
    >>> trace = record(lambda e: {"alpha": attention.softmax(e, mask)}, inputs, [attention])
    >>> for call in trace.calls:
    ...     print(call.name, next(trace.where(call))[3])
    where e = np.where(mask, e, -np.inf)
    max alpha: Array = np.exp(e - e.real.max(axis=-1, keepdims=True))
    subtract alpha: Array = np.exp(e - e.real.max(axis=-1, keepdims=True))
    exp alpha: Array = np.exp(e - e.real.max(axis=-1, keepdims=True))
    sum alpha /= alpha.sum(axis=-1, keepdims=True)
    divide alpha /= alpha.sum(axis=-1, keepdims=True)
    """
    tape = Tape(modules)
    arrays = {name: tape.input(name, np.array(value), (below or {}).get(name)) for name, value in inputs.items()}
    with tape.running():
        outputs = run(**arrays)
    return tape.trace(outputs)


class Traced(np.ndarray):
    """An array whose calls are noted on the tape of this thread."""

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **options: Any) -> Any:
        out = options.pop("out", None)
        given = {} if out is None else {"out": tuple(map(_plain, out))}
        found = getattr(ufunc, method)(*map(_plain, inputs), **options, **given)
        if _tape().place() is None:
            return found if out is None else out[0]
        result = np.asarray(found).view(Traced) if out is None else out[0]
        _tape().ufunc(ufunc, method, inputs, result, options)
        return result

    def __array_function__(self, function: Any, types: Any, args: Any, kwargs: Any) -> Any:
        plain = function(*_all_plain(args), **{name: _all_plain(value) for name, value in kwargs.items()})
        if _tape().place() is None or function in ABOUT:
            return plain
        if function is np.where:
            return _tape().note("where", [*args], plain.view(Traced))
        if function is np.concatenate:
            return _tape().joined(args[0], plain.view(Traced), kwargs.get("axis", *args[1:2] or (0,)))
        raise CannotRecordError(f"np.{function.__name__}, {_tape().told()}, has no place in a trace")

    def __matmul__(self, other: Any) -> Any:
        return _tape().one_hot_product(self, other) if isinstance(other, OneHot) else np.matmul(self, other)

    def __getitem__(self, index: Any) -> Any:
        if not _is_fancy(index):
            found = super().__getitem__(index)
            if isinstance(found, np.ndarray) or self.dtype.kind != "f":
                return found
            return super().__getitem__(_open(index))
        arrays = _index_arrays(index)
        found = _plain(self)[tuple(map(_plain, arrays))]
        axes = found.ndim - (self.ndim - len(arrays))
        _tape().note("take", [self, *arrays], found.view(Traced), axes)
        return found.reshape(_plain(self)[_all_plain(index)].shape).view(Traced)

    def __setitem__(self, index: Any, value: Any) -> None:
        if _is_fancy(index):
            arrays = _index_arrays(index)
            _plain(self)[tuple(map(_plain, arrays))] = _plain(value)
            _tape().put(self, arrays, value)
            return
        target = super().__getitem__(_open(index))
        np.ndarray.__setitem__(_plain(self), index, _plain(value))
        if not (isinstance(value, np.ndarray) and _same(value, target)):  # x[i] += y sets x[i] to itself
            _tape().note("copy", [value], target.view(Traced))

    def argmax(self, axis: Any = None, out: Any = None, **options: Any) -> Any:
        """As NumPy's, over the last axis."""
        found = np.asarray(_plain(self).argmax(axis, out, **options)).view(Traced)
        if axis not in (-1, self.ndim - 1):
            raise CannotRecordError(f"argmax over axis {axis}, {_tape().told()}, has no place in a trace")
        return _tape().note("argmax", [self], found)

    def copy(self, order: Any = "C") -> Any:
        """As NumPy's."""
        return _tape().note("copy", [self], _plain(self).copy(order).view(Traced))

    def astype(self, dtype: Any, *args: Any, **options: Any) -> Any:
        """As NumPy's; a list of calls has one dtype."""
        found = _plain(self).astype(dtype, *args, **options)
        return self if np.shares_memory(found, self) else _tape().note("copy", [self], found.view(Traced))

    def reshape(self, *shape: Any, **options: Any) -> Any:
        """As NumPy's: a view, or a copy that is noted down."""
        found = _plain(self).reshape(*shape, **options)
        if found.size == 0 or np.shares_memory(found, self):
            return super().reshape(*shape, **options)
        flat = _plain(self).copy().view(Traced)
        return _tape().note("copy", [self], flat).view(np.ndarray).reshape(*shape, **options).view(Traced)

    def ravel(self, order: Any = "C") -> Any:
        """As NumPy's."""
        return self.reshape(-1)

    def __bool__(self) -> bool:
        raise CannotRecordError(f"{_tape().told()}: the code decides by a number, so other numbers may go another way")

    __float__ = __int__ = __index__ = __bool__


class OneHot:
    """A sparse matrix with a one in each row, as scipy's ``csr_array((ones, column of each row, range), shape)``."""

    def __init__(self, parts: tuple[Array, Array, Array], shape: tuple[int, int]) -> None:
        self.row, self.shape = parts[1], shape


class Tape:
    """What is noted down of a run."""

    def __init__(self, modules: Sequence[ModuleType]) -> None:
        self.modules = modules
        self.names = {module.__name__ for module in modules}
        self.roots: dict[int, tuple[int, Array]] = {}  # number and owner of each stretch of memory, by its address
        self.constants: dict[tuple[Any, ...], View] = {}
        self.values: dict[int, list[float]] = {}
        self.ids: dict[int, int] = {}  # by buffer, the number of token ids
        self.inputs: dict[str, View] = {}
        self.calls: list[Call] = []
        self.frames: list[Frame] = []
        self.stack: list[tuple[FrameType, int]] = []

    def input(self, name: str, value: Array, below: int | None) -> Traced:
        """An array that may differ in a replay."""
        traced = value.view(Traced)
        self.inputs[name] = self.view(traced)
        if below is not None:
            self.ids[self.inputs[name].buffer] = below
        return traced

    def trace(self, outputs: Mapping[str, Any]) -> Trace:
        """All of it."""
        sizes = [owner.size for _, owner in self.roots.values()]
        source: dict[str, dict[int, str]] = {}
        for frame, line in {(call.frame, call.line) for call in self.calls}:
            while frame >= 0:
                file = self.frames[frame].file
                source.setdefault(_short(file), {})[line] = _statement(file, line)
                frame, line = self.frames[frame].parent, self.frames[frame].line
        frames = [frame._replace(file=_short(frame.file)) for frame in self.frames]
        found = {name: self.view(value) for name, value in outputs.items()}
        return Trace(sizes, self.values, self.inputs, found, self.calls, frames, source)

    @contextmanager
    def running(self) -> Iterator[None]:
        """Within the block this thread notes down what the modules do."""
        profile = sys.getprofile()
        with mock.patch("scipy.sparse.csr_array", OneHot):
            swapped = [(vars(module), name) for module in self.modules for name, v in vars(module).items() if v is np]
            for namespace, name in swapped:
                namespace[name] = _NUMPY
            _local.tape = self
            sys.setprofile(self._profile)
            try:
                yield
            finally:
                sys.setprofile(profile)
                _local.tape = None
                for namespace, name in swapped:
                    namespace[name] = np

    def _profile(self, frame: FrameType, event: str, argument: Any) -> None:
        """Called when a function begins and ends: its arguments, and its variables when it returns."""
        if event not in ("call", "return") or frame.f_globals.get("__name__") not in self.names:
            return
        if event == "call":
            parent = self.stack[-1][1] if self.stack else -1
            line = self.stack[-1][0].f_lineno or 0 if self.stack else 0
            code = frame.f_code
            self.stack.append((frame, len(self.frames)))
            begin = len(self.calls)
            names = self._named(frame.f_locals)
            self.frames.append(Frame(code.co_name, code.co_filename, parent, line, begin, begin, names, {}))
        elif self.stack and self.stack[-1][0] is frame:
            number = self.stack.pop()[1]
            names = self._named(frame.f_locals)
            self.frames[number] = self.frames[number]._replace(end=len(self.calls), variables=names)

    def _named(self, variables: Mapping[str, Any]) -> dict[str, View]:
        return {name: self.view(value) for name, value in variables.items() if isinstance(value, Traced) and value.size}

    def place(self) -> tuple[int, int] | None:
        """Frame and line of the code that made the present call; None if other code did."""
        frame: FrameType | None = sys._getframe(1)
        inner = self.stack[-1] if self.stack else (None, -1)
        while frame is not None and frame is not inner[0]:
            name = frame.f_globals.get("__name__", "")
            if name != __name__ and name.partition(".")[0] not in LIBRARIES:
                return None
            frame = frame.f_back
        return None if frame is None else (inner[1], frame.f_lineno or 0)

    def told(self) -> str:
        """The place as a sentence tells it."""
        place = self.place()
        return f"at {_short(self.frames[place[0]].file)}, line {place[1]}" if place else "outside of the code"

    def view(self, array: Array) -> View:
        """Buffer, offset, shape and strides of an array."""
        owner = array
        while isinstance(owner.base, np.ndarray):
            owner = owner.base
        address, step = owner.__array_interface__["data"][0], array.itemsize
        number, _ = self.roots.setdefault(address, (len(self.roots), owner))
        offset = (array.__array_interface__["data"][0] - address) // step
        return View(number, offset, array.shape, tuple(each // step for each in array.strides))

    def read(self, value: Any) -> View | float:
        """An input of a call: traced, constant, or a number."""
        if isinstance(value, Traced):
            return self.view(value)
        array = np.asarray(value)
        if array.ndim == 0:
            return float(array)
        key = (array.shape, array.dtype.str, array.tobytes())
        if key not in self.constants:
            kept = array.astype(float)
            self.constants[key] = view = self.view(kept)
            self.values[view.buffer] = kept.ravel().tolist()
        return self.constants[key]

    def note(self, name: str, inputs: Sequence[Any], out: Traced, index: int = 0) -> Traced:
        """Note a call down; the inputs of an elementwise one are stretched to the shape of ``out``."""
        place = self.place()
        if place is None:
            return out
        view, found = self.view(out), [self.read(each) for each in inputs]
        if name in ("take", "argmax"):
            found = [found[0], *(_stretched(each, out.shape[:index]) for each in found[1:])]
        else:
            found = [_stretched(each, out.shape) for each in found]
        self.calls.append(Call(name, tuple(found), view, *place))
        return out

    def ufunc(self, ufunc: np.ufunc, method: str, inputs: Any, out: Traced, options: Mapping[str, Any]) -> None:
        """Note down a call of one of NumPy's ufuncs."""
        place = self.place()
        assert place is not None
        names: dict[np.ufunc, str] = {"__call__": UFUNCS, "reduce": REDUCTIONS}.get(method, {})
        if ufunc not in names or options.get("where", True) is not True:
            raise CannotRecordError(f"np.{ufunc.__name__}, {self.told()}, has no place in a trace")
        if method == "reduce":
            x, axis = self.read(inputs[0]), options.get("axis", 0)
            axes = tuple(range(inputs[0].ndim)) if axis is None else axis
            kept = out if options.get("keepdims") else np.expand_dims(_plain(out), axes)
            # stretched to x: the entries of x that meet in one of out
            self.calls.append(Call(names[ufunc], (x,), _stretched(self.view(kept), inputs[0].shape), *place))
        elif ufunc is np.matmul:
            self.calls.append(
                Call("matmul", *_matrices(self.read(inputs[0]), self.read(inputs[1]), self.view(out)), *place)
            )
        else:
            self.note(names[ufunc], inputs, out)

    def joined(self, parts: Sequence[Any], out: Traced, axis: int) -> Traced:
        """Note down that arrays are copied into parts of another."""
        ends = np.cumsum([part.shape[axis] for part in parts])
        for part, piece in zip(parts, np.split(_plain(out), ends[:-1], axis), strict=True):
            self.note("copy", [part], piece.view(Traced))
        return out

    def put(self, target: Traced, index: Sequence[Any], value: Any) -> None:
        """Note down an assignment to entries that arrays name."""
        place = self.place()
        if place is None:
            return
        arrays = [each for axis in index for each in (np.nonzero(axis) if _plain(axis).dtype == bool else [axis])]
        shape = np.broadcast_shapes(*(each.shape for each in arrays))
        over = shape + target.shape[len(arrays) :]
        found = [_stretched(self.read(value), over), *(_stretched(self.read(each), shape) for each in arrays)]
        self.calls.append(Call("put", tuple(found), self.view(target), *place))

    def one_hot_product(self, x: Traced, other: OneHot) -> Traced:
        """The product x one_hot: the sum of columns of x that fall into the same one."""
        found = np.zeros((len(x), other.shape[1]), x.dtype)
        np.add.at(found.T, _plain(other.row), _plain(x).T)
        out, place = found.view(Traced), self.place()
        assert place is not None
        inputs = self.read(x), self.read(other.row)
        self.calls.append(Call("one_hot", inputs, self.view(out), *place))
        return out


class _TracedNumPy(ModuleType):
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
        found = original(*_all_plain(args), **options)
        if _tape() is None or found.dtype.kind != "f":
            return found
        return _tape().note("copy", [0.0], found.view(Traced)) if "zeros" in original.__name__ else found.view(Traced)

    return made


def _copy(original: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(original)
    def copied(value: Any, *args: Any, **options: Any) -> Any:
        found = original(_all_plain(value), *args, **options)
        if _tape() is None or not _holds_traced(value):
            return found
        out = found.view(Traced)
        if isinstance(value, Traced):
            return out if np.shares_memory(found, value) else _tape().note("copy", [value], out)
        for number, part in enumerate(value):
            _tape().note("copy", [part], np.ndarray.__getitem__(out, number))
        return out

    return copied


def _unique(ar: Any, *args: Any, **options: Any) -> Any:
    """np.unique; of traced token ids, all that there are: which of them occur is for each replay to see."""
    if not isinstance(ar, Traced):
        return np.unique(ar, *args, **options)
    below = _tape().ids.get(_tape().view(ar).buffer)
    if below is None or options != {"return_inverse": True}:
        raise CannotRecordError(f"np.unique, {_tape().told()}, has no place in a trace")
    return np.arange(below), ar.reshape(-1)


_NUMPY = _TracedNumPy()


def _tape() -> Any:
    return getattr(_local, "tape", None)


def _plain(value: Any) -> Any:
    return value.view(np.ndarray) if isinstance(value, Traced) else value


def _all_plain(value: Any) -> Any:
    if type(value) in (tuple, list):
        return type(value)(map(_all_plain, value))
    return _plain(value)


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
        raise CannotRecordError(f"an index of arrays and slices, {_tape().told()}, has no place in a trace")
    return found


def _stretched(value: Any, shape: tuple[int, ...]) -> Any:
    """A view, or a number, by the rules of broadcasting."""
    if not isinstance(value, View):
        return value
    missing = len(shape) - len(value.shape)
    strides = (0,) * missing + tuple(
        0 if size == 1 and wanted != 1 else stride
        for size, wanted, stride in zip(value.shape, shape[missing:], value.strides, strict=True)
    )
    return value._replace(shape=shape, strides=strides)


def _matrices(x: Any, y: Any, out: View) -> tuple[tuple[View, View], View]:
    """Views of a matrix product with all axes that NumPy supplies or leaves out."""
    if len(x.shape) == 1:
        x = x._replace(shape=(1, *x.shape), strides=(0, *x.strides))
        at = len(out.shape) - (len(y.shape) > 1)
        out = out._replace(
            shape=(*out.shape[:at], 1, *out.shape[at:]), strides=(*out.strides[:at], 0, *out.strides[at:])
        )
    if len(y.shape) == 1:
        y = y._replace(shape=(*y.shape, 1), strides=(*y.strides, 0))
        out = out._replace(shape=(*out.shape, 1), strides=(*out.strides, 0))
    batch = out.shape[:-2]
    return (_batched(x, batch), _batched(y, batch)), out


def _batched(view: View, batch: tuple[int, ...]) -> View:
    over = _stretched(view._replace(shape=view.shape[:-2], strides=view.strides[:-2]), batch)
    return view._replace(shape=batch + view.shape[-2:], strides=over.strides + view.strides[-2:])


def _short(file: str) -> str:
    """A path within the package: ops/attention.py."""
    root = str(Path(__file__).parent.parent)
    return file[len(root) + 1 :].replace("\\", "/") if file.startswith(root) else Path(file).name


@cache
def _statements(file: str) -> dict[int, tuple[int, int]]:
    """First and last line of the statement that stands on a line, where it takes several."""
    found: dict[int, tuple[int, int]] = {}
    for node in ast.walk(ast.parse("".join(linecache.getlines(file)))):
        if isinstance(node, ast.stmt) and not hasattr(node, "body") and node.end_lineno:
            found |= dict.fromkeys(range(node.lineno, node.end_lineno + 1), (node.lineno, node.end_lineno))
    return found


def _statement(file: str, line: int) -> str:
    """The statement on a line."""
    begin, end = _statements(file).get(line, (line, line))
    return " ".join(each.strip() for each in linecache.getlines(file)[begin - 1 : end])
