"""The list that a recorded run becomes: calls of NumPy on views of buffers.

A buffer is a stretch of memory, a view says which of its numbers an array shows, as NumPy's own arrays do: entry (i, j)
is number ``offset + i strides[0] + j strides[1]`` of the buffer. A call reads views and writes one. All views of a call
are stretched to one shape already, so an interpreter needs to know nothing of broadcasting or axes:

=======================================  ===========================================================================
call                                     out
=======================================  ===========================================================================
add, subtract, multiply, divide          x op y
negative, exp, tanh, tan, log1p, square  of x
where                                    x where the condition is not 0, else y
copy                                     x
sum, max                                 of x, where several entries of x meet in one of out, which has stride 0 there
argmax                                   of x over its last axis
matmul                                   x (..., n, k) times y (..., k, m)
take                                     x[i, j, ...]: index views that have the shape of out's first axes
put                                      out[i, j, ...] = x
one_hot                                  out[k, r] = sum of x[k, n] over the n with row[n] = r
=======================================  ===========================================================================
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from .._typing import Array

FORMAT = 1


class View(NamedTuple):
    """Which numbers of a buffer an array shows; offset and strides count numbers, not bytes."""

    buffer: int
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]

    def of(self, memory: Array) -> Array:
        """The array, a view of ``memory``."""
        step = memory.itemsize
        return np.ndarray(
            self.shape, memory.dtype, memory.data, self.offset * step, tuple(each * step for each in self.strides)
        )


class Call(NamedTuple):
    """One call of NumPy: ``out = name(*inputs)``."""

    name: str
    inputs: tuple[View | float, ...]
    out: View
    frame: int  # of the function that made it
    line: int


class Frame(NamedTuple):
    """One call of a function of the recorded code."""

    function: str
    file: str
    parent: int  # -1: called from outside
    line: int  # of the parent, where it was called
    begin: int  # the calls of NumPy from here
    end: int  # to here, without this one, were made by it or below it
    arguments: dict[str, View]
    variables: dict[str, View]  # when it returned


class Trace(NamedTuple):
    """A recorded run.

    Attributes
    ----------
    sizes : list of int
        Numbers in each buffer.
    constants : dict
        Contents of the buffers that no call fills.
    inputs, outputs : dict of View
    calls : list of Call
    frames : list of Frame
    source : dict
        By file the text of each line that made a call.
    """

    sizes: list[int]
    constants: dict[int, list[float]]
    inputs: dict[str, View]
    outputs: dict[str, View]
    calls: list[Call]
    frames: list[Frame]
    source: dict[str, dict[int, str]]

    def __repr__(self) -> str:
        return (
            f"Trace({len(self.calls):,} calls of {len({call.name for call in self.calls})} functions, "
            f"{sum(self.sizes):,} numbers in {len(self.sizes):,} buffers)"
        )

    def text(self, frame: int, line: int) -> str:
        """The line of Python."""
        return self.source[self.frames[frame].file][line]

    def where(self, call: Call) -> Iterator[tuple[str, int, str, str]]:
        """File, line, function and text of a call, then those of the function's caller, and so on."""
        frame, line = call.frame, call.line
        while frame >= 0:
            found = self.frames[frame]
            yield found.file, line, found.function, self.text(frame, line)
            frame, line = found.parent, found.line

    def called(self, function: str) -> list[Frame]:
        """Every call of a function of this name, in order."""
        return [frame for frame in self.frames if frame.function == function]


def to_json(trace: Trace, marks: Mapping[str, View] | None = None) -> dict[str, Any]:
    """The trace as lists and dicts: each view is written once, and meant by its number.

    Parameters
    ----------
    trace : Trace
    marks : dict of View, optional
        More names of arrays of it.

    Examples
    --------
    >>> import numpy as np
    >>> from numpy_attention.ops import attention
    >>> from numpy_attention.trace.record import record
    >>> inputs = {"dc": np.ones((1, 2)), "h": np.ones((1, 3, 2))}
    >>> trace = record(lambda dc, h: {"dalpha": attention.context_backward(dc, h)}, inputs, [attention])
    >>> to_json(trace)["calls"], to_json(trace)["names"]
    ([[0, 0, [1, 2], 0, 184]], ['matmul'])
    """
    views: dict[View, int] = {}
    names: dict[str, int] = {}

    def numbered(view: View) -> int:
        return views.setdefault(view, len(views))

    def read(value: View | float) -> int | list[Any]:
        if isinstance(value, View):
            return numbered(value)
        return [value if np.isfinite(value) else str(value).replace("inf", "Infinity")]  # JSON has none

    def all_of(named: Mapping[str, View]) -> dict[str, int]:
        return {name: numbered(view) for name, view in named.items()}

    calls = [
        [names.setdefault(call.name, len(names)), numbered(call.out), [read(each) for each in call.inputs], *call[3:]]
        for call in trace.calls
    ]
    frames = [[*frame[:6], all_of(frame.arguments), all_of(frame.variables)] for frame in trace.frames]
    return {
        "format": FORMAT,
        "sizes": trace.sizes,
        "constants": {str(buffer): values for buffer, values in trace.constants.items()},
        "inputs": all_of(trace.inputs),
        "outputs": all_of(trace.outputs),
        "calls": calls,
        "frames": frames,
        "source": {file: {str(line): text for line, text in lines.items()} for file, lines in trace.source.items()},
        "names": list(names),
        "marks": all_of(dict(marks or {})),
        "views": [[view.buffer, view.offset, list(view.shape), list(view.strides)] for view in views],
    }


def from_json(data: dict[str, Any]) -> Trace:
    """The trace that :func:`to_json` wrote.

    Raises
    ------
    ValueError
        If it is of another format.
    """
    if data.get("format") != FORMAT:
        raise ValueError(f"trace: expected format {FORMAT}, got {data.get('format')!r}")
    views = [View(buffer, offset, tuple(shape), tuple(strides)) for buffer, offset, shape, strides in data["views"]]

    def read(value: int | list[Any]) -> View | float:
        return float(value[0]) if isinstance(value, list) else views[value]

    def all_of(named: dict[str, int]) -> dict[str, View]:
        return {name: views[number] for name, number in named.items()}

    return Trace(
        sizes=data["sizes"],
        constants={int(buffer): values for buffer, values in data["constants"].items()},
        inputs=all_of(data["inputs"]),
        outputs=all_of(data["outputs"]),
        calls=[
            Call(data["names"][name], tuple(map(read, inputs)), views[out], frame, line)
            for name, out, inputs, frame, line in data["calls"]
        ],
        frames=[
            Frame(function, file, parent, line, begin, end, all_of(arguments), all_of(variables))
            for function, file, parent, line, begin, end, arguments, variables in data["frames"]
        ],
        source={file: {int(line): text for line, text in lines.items()} for file, lines in data["source"].items()},
    )
