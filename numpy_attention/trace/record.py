"""Record a run: unchanged code is run once on arrays that note down every call of NumPy that reads or writes them.

The list holds what depends on the inputs. What does not, such as a mask, is a constant of the trace. So is every
decision: code that decides by a number that depends on the inputs cannot be replayed with others, and is refused.
"""

from __future__ import annotations

import ast
import linecache
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from types import CodeType, FrameType, ModuleType
from typing import Any
from unittest import mock
from weakref import ReferenceType, ref

import numpy as np

from .._shared import EXCHANGE
from .._typing import Array
from .listing import Call, Frame, Trace, View
from .traced import NUMPY, CannotRecordError, OneHot, Traced, local, plain, tape

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
LIBRARIES = ("numpy", "scipy", "unittest", "contextlib")


def record(
    run: Callable[..., Mapping[str, Any]],
    inputs: Mapping[str, Array],
    modules: Sequence[ModuleType],
    below: Mapping[str, int] | None = None,
    frames: bool = True,
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
    frames : bool
        List every call of a function, with its arguments and variables. Without, there is one frame for each function:
        enough to run the calls of NumPy again, and made in less than half the time.

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
    tape = Tape(modules, frames)
    arrays = {name: tape.input(name, np.array(value), (below or {}).get(name)) for name, value in inputs.items()}
    with tape.running():
        outputs = run(**arrays)
    return tape.trace(outputs)


class Tape:
    """What is noted down of a run."""

    def __init__(self, modules: Sequence[ModuleType], watched: bool = True) -> None:
        self.modules, self.watched = modules, watched
        self.names = {module.__name__ for module in modules}
        self.roots: dict[int, tuple[int, ReferenceType[Array]]] = {}  # number and owner of memory, by its address
        self.sizes: list[int] = []  # by number
        self.constants: dict[tuple[Any, ...], View] = {}
        self.values: dict[int, list[float]] = {}
        self.ids: dict[int, int] = {}  # by buffer, the number of token ids
        self.inputs: dict[str, View] = {}
        self.calls: list[Call] = []
        self.frames: list[Frame] = []
        self.stack: list[tuple[FrameType, int]] = []
        self.functions: dict[CodeType, int] = {}  # number of the frame of each, if calls are not watched

    def input(self, name: str, value: Array, below: int | None) -> Traced:
        """An array that may differ in a replay."""
        traced = value.view(Traced)
        self.inputs[name] = self.view(traced)
        if below is not None:
            self.ids[self.inputs[name].buffer] = below
        return traced

    def trace(self, outputs: Mapping[str, Any]) -> Trace:
        """All of it."""
        source: dict[str, dict[int, str]] = {}
        for frame, line in {(call.frame, call.line) for call in self.calls}:
            while frame >= 0:
                file = self.frames[frame].file
                source.setdefault(_short(file), {})[line] = _statement(file, line)
                frame, line = self.frames[frame].parent, self.frames[frame].line
        frames = [frame._replace(file=_short(frame.file)) for frame in self.frames]
        found = {name: self.view(value) for name, value in outputs.items()}
        return Trace(self.sizes, self.values, self.inputs, found, self.calls, frames, source)

    @contextmanager
    def running(self) -> Iterator[None]:
        """Within the block this thread notes down what the modules do."""
        from scipy.sparse import csr_array

        if tape() is not None:
            raise CannotRecordError("this thread is recording already")
        with EXCHANGE:
            profile = sys.getprofile()
            swapped = [(vars(module), name) for module in self.modules for name, v in vars(module).items() if v is np]
            try:
                with mock.patch("scipy.sparse.csr_array", _one_hot(csr_array)):
                    for namespace, name in swapped:
                        namespace[name] = NUMPY
                    local.tape = self
                    if self.watched:
                        sys.setprofile(self._profile)
                    yield
            finally:
                local.tape = None
                for namespace, name in swapped:
                    namespace[name] = np
                sys.setprofile(profile if callable(profile) else None)

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
        while frame is not None:
            name = frame.f_globals.get("__name__", "")
            if name in self.names and (self.stack or not self.watched):
                number = self.stack[-1][1] if self.watched else self._function(frame.f_code)
                return number, frame.f_lineno or 0
            if name.rpartition(".")[0] != __package__ and name.partition(".")[0] not in LIBRARIES:
                return None
            frame = frame.f_back
        return None

    def _function(self, code: CodeType) -> int:
        """The frame that stands for all calls of a function."""
        if code not in self.functions:
            self.functions[code] = len(self.frames)
            self.frames.append(Frame(code.co_name, code.co_filename, -1, 0, 0, 0, {}, {}))
        return self.functions[code]

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
        if address not in self.roots:  # or once was, when the memory had another owner
            self.roots[address] = len(self.sizes), ref(owner, lambda _: self.roots.pop(address))
            self.sizes.append(owner.size)
        number, _ = self.roots[address]
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
            kept = out if options.get("keepdims") else np.expand_dims(plain(out), axes)
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
        for part, piece in zip(parts, np.split(plain(out), ends[:-1], axis), strict=True):
            self.note("copy", [part], piece.view(Traced))
        return out

    def put(self, target: Traced, index: Sequence[Any], value: Any) -> None:
        """Note down an assignment to entries that arrays name."""
        place = self.place()
        if place is None:
            return
        arrays = [each for axis in index for each in (np.nonzero(axis) if plain(axis).dtype == bool else [axis])]
        shape = np.broadcast_shapes(*(each.shape for each in arrays))
        over = shape + target.shape[len(arrays) :]
        found = [_stretched(self.read(value), over), *(_stretched(self.read(each), shape) for each in arrays)]
        self.calls.append(Call("put", tuple(found), self.view(target), *place))

    def one_hot_product(self, x: Traced, other: OneHot) -> Traced:
        """The product x one_hot: the sum of columns of x that fall into the same one."""
        found = np.zeros((other.shape[1], len(x)), x.dtype).T  # laid out as scipy's result
        np.add.at(found.T, plain(other.row), plain(x).T)
        out, place = found.view(Traced), self.place()
        assert place is not None
        inputs = self.read(x), self.read(other.row)
        self.calls.append(Call("one_hot", inputs, self.view(out), *place))
        return out


def _one_hot(original: type) -> type:
    """What stands for scipy's sparse matrices: a :class:`OneHot` for the thread that records, no change for others."""

    class Either(type):
        def __call__(cls, *args: Any, **options: Any) -> Any:
            return (OneHot if tape() is not None else original)(*args, **options)

        def __instancecheck__(cls, value: Any) -> bool:
            return isinstance(value, original)

    return Either(original.__name__, (), {})


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


@cache
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
