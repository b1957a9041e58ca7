"""A trace made ready to run again and again: each call with its arrays at hand, in memory that is used again.

Between the calls Python does nothing: no view is made, no array is allocated, and what the code decided when it was
recorded is not decided again. The calls are NumPy's own, on arrays laid out as they were, so the results have the bits
of the code.
"""

from __future__ import annotations

import math
import mmap
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, NamedTuple

import numpy as np

from .._typing import Array
from .listing import Call, Trace, View
from .replay import entries, met
from .traced import CannotRecordError

ELEMENTWISE = ("add", "subtract", "multiply", "divide", "negative", "exp", "tanh", "log1p", "square")
INDEXED = ("take", "put", "one_hot")  # calls whose inputs but the first are indices
# All but tanh, whose result is kept for the backward: the sum that it reads is filled faster in memory that is in the
# processor's cache, and the way to other memory costs tanh least, as it takes longest.
IN_PLACE = tuple(name for name in ELEMENTWISE if name != "tanh")
FAR = 2  # a place is used again for a buffer of at least half its size
LINE = 64  # bytes of a line of the processor's cache: an array that starts with one is read faster


class Program:
    """The calls of a trace, bound to arrays.

    Parameters
    ----------
    trace : Trace
    dtype : dtype
        float32 or float64: that of the arrays that were recorded.
    given : dict of arrays
        Inputs that the program reads where they are, in the order of C. What is in them may change between two runs.
    most : float
        Bytes that it may take.

    Attributes
    ----------
    inputs : dict of arrays
        The other inputs, to be filled before a run.
    outputs : dict of arrays
        What the last run has found. The next one overwrites it.
    calls : list of (function, arguments)

    Raises
    ------
    CannotRecordError
        If a call reads what no call has written, a condition depends on numbers that may change, a given array is not
        in the order of C, or the program would need more than ``most`` bytes.

    Examples
    --------
    >>> import numpy as np
    >>> from numpy_attention.ops import attention
    >>> from numpy_attention.trace.record import record
    >>> inputs = {"dc": np.ones((1, 2)), "h": np.ones((1, 3, 2))}
    >>> trace = record(lambda dc, h: {"dalpha": attention.context_backward(dc, h)}, inputs, [attention])
    >>> program = Program(trace, np.float64, {"h": inputs["h"]})
    >>> program.inputs["dc"][...] = [[1.0, 9.0]]
    >>> program.run()["dalpha"]
    array([[10., 10., 10.]])
    """

    def __init__(self, trace: Trace, dtype: Any, given: Mapping[str, Array], most: float = math.inf) -> None:
        indices = _indices(trace)
        trace = _without_copies(trace, indices)
        memory: dict[int, Array] = {}
        for name, view in trace.inputs.items():
            kind = np.intp if view.buffer in indices else dtype
            memory[view.buffer] = given[name].reshape(-1) if name in given else np.zeros(trace.sizes[view.buffer], kind)
            if name in given and not given[name].flags.c_contiguous:
                raise CannotRecordError(f"{name}: expected an array in the order of C")
        for buffer, values in trace.constants.items():
            memory[buffer] = np.array(values, np.intp if buffer in indices else dtype)
        place_of, sizes = _shared_memory(trace, indices, set(memory))
        if sum(sizes) * np.dtype(dtype).itemsize > most:
            raise CannotRecordError(f"expected at most {most:,.0f} bytes, got {sum(sizes):,} numbers")
        memory |= {buffer: np.zeros(trace.sizes[buffer], np.intp) for buffer in indices - set(memory)}
        places = _aligned(sizes, dtype)
        memory |= {buffer: places[place] for buffer, place in place_of.items() if buffer not in indices}

        def array(value: View | float) -> Array:
            return value.of(memory[value.buffer]) if isinstance(value, View) else np.asarray(value, dtype)

        self.inputs = {name: array(view) for name, view in trace.inputs.items() if name not in given}
        self.outputs = {name: array(view) for name, view in trace.outputs.items()}
        self.calls = [_bound(call, array(call.out), list(map(array, call.inputs)), trace) for call in trace.calls]

    def run(self) -> dict[str, Array]:
        """Make all calls; give :attr:`outputs`."""
        for function, arguments in self.calls:
            function(*arguments)
        return self.outputs


def _buffers(call: Call) -> list[int]:
    """Those that a call reads."""
    return [each.buffer for each in call.inputs if isinstance(each, View)]


def _indices(trace: Trace) -> set[int]:
    """Buffers of whole numbers: what calls take as indices, and all that is copied from and to them."""
    found = {b for call in trace.calls if call.name in INDEXED for b in _buffers(call._replace(inputs=call.inputs[1:]))}
    found |= {call.out.buffer for call in trace.calls if call.name == "argmax"}
    for call in reversed(trace.calls):  # a copy is made before it is used
        if call.name == "copy" and call.out.buffer in found:
            found |= set(_buffers(call))
    return found


def _without_copies(trace: Trace, indices: set[int]) -> Trace:
    """The trace without copies of whole buffers, where the calls that fill one can fill the place of its copy instead.

    They can if nothing uses that place until the copy, and if neither is written to afterwards.
    """
    given = {*trace.constants, *(view.buffer for view in trace.inputs.values()), *indices}
    fixed = given | {view.buffer for view in trace.outputs.values()}
    calls: list[Call | None] = list(trace.calls)
    uses: dict[int, list[_Use]] = {}  # of each buffer, in order
    for number, each in enumerate(trace.calls):
        for view in (*each.inputs, each.out):
            if isinstance(view, View):
                uses.setdefault(view.buffer, []).append(_Use(number, *_extent(view), view is each.out))
    for number, call in enumerate(calls):  # which change on the way
        if call is None or call.name != "copy" or not isinstance(call.inputs[0], View):
            continue
        source, target = call.inputs[0], call.out
        if source.buffer in fixed or target.buffer in given:
            continue
        whole = source.offset == 0 and _size(source) == trace.sizes[source.buffer]
        if source.buffer == target.buffer or not (whole and _in_order(source) and _in_order(target)):
            continue
        first, (low, high) = uses[source.buffer][0].number, _extent(target)
        place = [use for use in uses[target.buffer] if use.low <= high and use.high >= low]
        used = any(first <= use.number < number for use in place)
        changed = any(use.number > number and use.writes for use in (*place, *uses[source.buffer]))
        if used or changed:
            continue
        moved = [use for use in uses.pop(source.buffer) if use.number != number]
        for k in {use.number for use in moved}:
            other = calls[k]
            assert other is not None
            inputs = tuple(_moved(value, source, target) for value in other.inputs)
            calls[k] = other._replace(inputs=inputs, out=_moved(other.out, source, target))
        kept = [use for use in uses[target.buffer] if use.number != number]
        kept += [use._replace(low=use.low + low, high=use.high + low) for use in moved]
        uses[target.buffer] = sorted(kept)
        calls[number] = None
    return trace._replace(calls=[call for call in calls if call is not None])


class _Use(NamedTuple):
    """Which numbers of a buffer a call may use."""

    number: int  # of the call
    low: int  # the first number
    high: int  # the last one
    writes: bool


def _extent(view: View) -> tuple[int, int]:
    """The first and the last number that a view may show."""
    steps = [(size - 1) * stride for size, stride in zip(view.shape, view.strides, strict=True)]
    return view.offset + sum(min(step, 0) for step in steps), view.offset + sum(max(step, 0) for step in steps)


def _size(view: View) -> int:
    return math.prod(view.shape)


def _in_order(view: View) -> bool:
    """True if the view shows numbers that follow one another."""
    step = 1
    for size, stride in zip(reversed(view.shape), reversed(view.strides), strict=True):
        if size != 1 and stride != step:
            return False
        step *= size
    return True


def _moved(view: Any, source: View, target: View) -> Any:
    """A view of the source's buffer as one of the target."""
    if not isinstance(view, View) or view.buffer != source.buffer:
        return view
    return view._replace(buffer=target.buffer, offset=target.offset + view.offset)


def _shared_memory(trace: Trace, indices: set[int], there: set[int]) -> tuple[dict[int, int], list[int]]:
    """Where each buffer that calls fill has its place, and the sizes of the places.

    Once a buffer was read for the last time, another may have its place: the one freed last, which is still in the
    processor's cache. A call that reads an entry where it writes one may write over what nobody reads afterwards.
    """
    last = {buffer: number for number, call in enumerate(trace.calls) for buffer in (*_buffers(call), call.out.buffer)}
    kept = there | indices | {view.buffer for view in trace.outputs.values()}
    place_of: dict[int, int] = {}
    sizes: list[int] = []
    free: list[int] = []
    for number, call in enumerate(trace.calls):
        missing = set(_buffers(call)) - there - set(place_of)
        if missing:
            raise CannotRecordError(f"{trace.text(call.frame, call.line)}: it reads what nothing has written")
        new, old = call.out.buffer, {buffer for buffer in _buffers(call) if last[buffer] == number}
        old -= kept | {new}
        over = {buffer for buffer in old if _may_be_written_over(call, buffer)}
        free += [place_of[buffer] for buffer in over]
        if new not in there and new not in place_of:
            size = 0 if new in indices else trace.sizes[new]  # those are of another type
            fits = [place for place in reversed(free) if size <= sizes[place] <= FAR * size and new not in kept]
            place_of[new] = place = min(fits, key=sizes.__getitem__, default=len(sizes))
            if fits:
                free.remove(place)
            else:
                sizes.append(size)
        unread = {new} if last[new] == number and new not in kept else set()
        free += [place_of[buffer] for buffer in (old - over) | unread]
    return place_of, sizes


def _may_be_written_over(call: Call, buffer: int) -> bool:
    """True if an elementwise call reads from a buffer just the entries that it writes, in the same order."""
    same = (call.out[1:] == each[1:] for each in call.inputs if isinstance(each, View) and each.buffer == buffer)
    return call.name in IN_PLACE and all(same)


def _aligned(sizes: list[int], dtype: Any) -> list[Array]:
    """Arrays of zeros, one behind the other, each from the start of a line of the processor's cache.

    The system hands out pages of this memory when they are first written to, and large ones if it has any.
    """
    step = LINE // np.dtype(dtype).itemsize
    starts = np.cumsum([0, *(-(-size // step) * step for size in sizes)])
    private = {"flags": mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS} if hasattr(mmap, "MAP_PRIVATE") else {}
    stretch = mmap.mmap(-1, max(1, int(starts[-1])) * np.dtype(dtype).itemsize, **private)
    if hasattr(mmap, "MADV_HUGEPAGE"):
        with suppress(OSError):
            stretch.madvise(mmap.MADV_HUGEPAGE)
    memory = np.frombuffer(stretch, dtype)
    return [memory[start : start + size] for start, size in zip(starts, sizes, strict=False)]


def _bound(call: Call, out: Array, inputs: list[Array], trace: Trace) -> tuple[Callable[..., Any], tuple[Any, ...]]:
    """The function of NumPy or of ours that makes a call, and its arguments."""
    if call.name == "matmul":
        plain = all(each.ndim == 2 and each.flags.forc and min(each.shape) > 1 for each in inputs)
        plain = plain and out.flags.c_contiguous
        return np.dot if plain else np.matmul, (*inputs, out)  # the same product, and dot takes less time to begin it
    if call.name in ELEMENTWISE:
        return getattr(np, call.name), (*map(_one_entry, inputs), out)
    if call.name == "copy":
        return np.copyto, (out, *inputs)
    if call.name in ("sum", "max"):
        (x,) = inputs
        axes = met(out, x)
        if not axes:  # of a single entry, which makes 0 of -0 as any sum does
            return (np.add, (x, np.zeros((), x.dtype), out)) if call.name == "sum" else (np.copyto, (out, x))
        ufunc: np.ufunc = np.add if call.name == "sum" else np.maximum
        return ufunc.reduce, (x, axes if len(axes) > 1 else axes[0], None, entries(out, axes), True)
    if call.name == "where":
        condition, x, y = inputs
        if not isinstance(call.inputs[0], View) or call.inputs[0].buffer not in trace.constants:
            raise CannotRecordError(f"{trace.text(call.frame, call.line)}: the condition depends on numbers")
        return _where, (out, condition != 0, x, y)
    if call.name == "argmax":
        return np.argmax, (*inputs, -1, out)
    if call.name == "one_hot":
        return _one_hot, (out, inputs[0], _sparse(inputs[1], out.shape[1]))
    return INDEX_CALLS[call.name], (out, inputs[0], tuple(inputs[1:]))


def _one_entry(x: Array) -> Array:
    """The same array with one entry along the axes along which it is stretched."""
    return x[tuple(slice(1) if stride == 0 else slice(None) for stride in x.strides)] if x.ndim else x


def _where(out: Array, condition: Array, x: Array, y: Array) -> None:
    np.copyto(out, y)
    np.copyto(out, x, where=condition)


def _take(out: Array, x: Array, index: tuple[Array, ...]) -> None:
    out[...] = x[index]


def _put(out: Array, x: Array, index: tuple[Array, ...]) -> None:
    out[index] = x


def _sparse(row: Array, count: int) -> Any:
    """SciPy's matrix with a one in each column, at ``row``, whose entries may change later."""
    from scipy.sparse import csc_array

    found = csc_array((np.ones(len(row), np.int8), row, np.arange(len(row) + 1)), shape=(count, len(row)))
    found.indices, found.indptr = row, found.indptr.astype(row.dtype)  # SciPy has made copies
    return found


def _one_hot(out: Array, x: Array, sparse: Any) -> None:
    out.T[...] = sparse @ x.T


INDEX_CALLS: dict[str, Callable[[Array, Array, tuple[Array, ...]], None]] = {"take": _take, "put": _put}
