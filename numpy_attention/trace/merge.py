"""Several recordings of the same code as one trace, some of whose sizes follow counts that each run is given."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

from .._text import brief
from .listing import Call, Live, Trace, View
from .traced import CannotRecordError


def merged(traces: Sequence[Trace], counts: Sequence[Sequence[int]]) -> Trace:
    """One trace of recordings that were made with different counts.

    A size that differs between them must be a multiple of one count, the same multiple of the same count in all of
    them. It becomes a :class:`Live`. All else must be the same, so that a count decides how long the arrays are, and
    nothing more.

    Parameters
    ----------
    traces : sequence of R traces
    counts : sequence of R lists of int
        With which each was recorded. The first count is the largest, and the same in all.

    Returns
    -------
    Trace
        With the largest sizes: those of all counts as large as the first.

    Raises
    ------
    CannotRecordError
        If something differs that must not, or a size follows no count, or it cannot be told which.

    Examples
    --------
    >>> import numpy as np
    >>> from numpy_attention.ops import attention
    >>> from numpy_attention.trace.record import record
    >>> def step(n):
    ...     inputs = {"dc": np.ones((4, 2)), "h": np.ones((4, 3, 2))}
    ...     code = lambda dc, h: {"dalpha": attention.context_backward(dc[:n], h[:n])}
    ...     return record(code, inputs, [attention])
    >>> trace = merged([step(2), step(3)], [[4, 2], [4, 3]])
    >>> trace.outputs["dalpha"].shape, trace.outputs["dalpha"].shape[0].step
    ((4, 3), 1)
    """
    first, most = traces[0], counts[0][0]
    of_step = list(zip(*counts, strict=True))

    @cache
    def size(found: tuple[int, ...]) -> int:
        if len(set(found)) == 1:
            return found[0]
        followed = [
            Live(step, found[0] // each[0], most)
            for step, each in enumerate(of_step)
            if found[0] % each[0] == 0 and found == tuple(found[0] // each[0] * count for count in each)
        ]
        if len(followed) != 1:
            raise CannotRecordError(f"sizes {found}: expected multiples of one count, got {len(followed)} such counts")
        return followed[0]

    def same(what: str, values: Sequence[Any]) -> Any:
        """A view whose sizes follow counts; of all else the value that all recordings have."""
        if all(isinstance(value, View) for value in values):
            shapes = [value.shape for value in values]
            if len(set(map(len, shapes))) == 1:
                shape = tuple(map(size, zip(*shapes, strict=True)))
                values = [value._replace(shape=shape) for value in values]
        for value in values:
            if value != values[0]:
                got = f"{brief(values[0])} and {brief(value)}"
                raise CannotRecordError(f"{what}: expected the same in all recordings, got {got}")
        return values[0]

    def call(calls: tuple[Call, ...]) -> Call:
        name, inputs, out, frame, line = zip(*calls, strict=True)
        where, name = same("line", list(zip(frame, line, strict=True))), same("call", name)
        arrays = [same(f"input of {name}", each) for each in zip(*inputs, strict=True)]
        return Call(name, tuple(arrays), same(f"result of {name}", out), *where)

    same("number of calls", [len(trace.calls) for trace in traces])
    same("number of buffers", [len(trace.sizes) for trace in traces])
    return first._replace(
        sizes=[size(each) for each in zip(*(trace.sizes for trace in traces), strict=True)],
        constants=same("constants", [trace.constants for trace in traces]),
        inputs={name: same(name, [trace.inputs[name] for trace in traces]) for name in first.inputs},
        outputs={name: same(name, [trace.outputs[name] for trace in traces]) for name in first.outputs},
        calls=[call(each) for each in zip(*(trace.calls for trace in traces), strict=True)],
    )
