"""The interpreter of a trace: the same calls again, on other numbers, real or complex."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from .._typing import Array
from .listing import Trace, View


def replay(
    trace: Trace,
    inputs: Mapping[str, Array],
    dtype: Any = np.float64,
    after: Callable[[int, list[Array]], None] | None = None,
) -> list[Array]:
    """Make the calls of a trace in their order.

    Parameters
    ----------
    trace : Trace
    inputs : dict of arrays
        All of the trace's inputs, of their shapes.
    dtype : dtype
        float64, or complex128 for the complex step. A maximum is then that of the real parts, as in the code: it is
        subtracted inside a softmax, which changes no result, so it carries no derivative.
    after : callable, optional
        ``after(number, memory)`` is called after each call, and may change the memory.

    Returns
    -------
    memory : list of arrays
        All buffers; ``trace.outputs[name].of(memory[...])`` is a result, as :func:`result` gives it.

    Raises
    ------
    ValueError
        If an input is missing, unknown or of another shape.

    Examples
    --------
    >>> import numpy as np
    >>> from numpy_attention.ops import attention
    >>> from numpy_attention.trace.record import record
    >>> inputs = {"dc": np.ones((1, 2)), "h": np.ones((1, 3, 2))}
    >>> trace = record(lambda dc, h: {"dalpha": attention.context_backward(dc, h)}, inputs, [attention])
    >>> result(trace, replay(trace, {**inputs, "dc": np.array([[1.0, 9.0]])}), "dalpha")
    array([[10., 10., 10.]])
    """
    if set(inputs) != set(trace.inputs):
        raise ValueError(f"inputs: expected {', '.join(trace.inputs)}, got {', '.join(inputs)}")
    memory = [np.zeros(size, dtype) for size in trace.sizes]
    for buffer, values in trace.constants.items():
        memory[buffer][:] = values
    for name, view in trace.inputs.items():
        if np.shape(inputs[name]) != view.shape:
            raise ValueError(f"inputs: expected {name} of shape {view.shape}, got {np.shape(inputs[name])}")
        view.of(memory[view.buffer])[...] = inputs[name]
    for number, call in enumerate(trace.calls):
        arrays = [each.of(memory[each.buffer]) if isinstance(each, View) else each for each in call.inputs]
        CALLS[call.name](call.out.of(memory[call.out.buffer]), *arrays)
        if after is not None:
            after(number, memory)
    return memory


def result(trace: Trace, memory: list[Array], name: str) -> Array:
    """An output of a replayed trace."""
    view = trace.outputs[name]
    return view.of(memory[view.buffer])


def _elementwise(function: Callable[..., Any]) -> Callable[..., None]:
    def call(out: Array, *inputs: Any) -> None:
        out[...] = function(*inputs)

    return call


def _where(condition: Any, x: Any, y: Any) -> Any:
    return np.where(np.real(condition) != 0, x, y)


def _sum(out: Array, x: Array) -> None:
    axes = met(out, x)
    entries(out, axes)[...] = x.sum(axis=axes, keepdims=True)


def _max(out: Array, x: Array) -> None:
    axes = met(out, x)
    entries(out, axes)[...] = x.real.max(axis=axes, keepdims=True)


def met(out: Array, x: Array) -> tuple[int, ...]:
    """The axes along which entries of x meet in one entry of out."""
    return tuple(axis for axis in range(out.ndim) if out.strides[axis] == 0 and x.shape[axis] > 1)


def entries(out: Array, axes: tuple[int, ...]) -> Array:
    """A view of out with a single entry along these axes, along which it is stretched."""
    return out[tuple(slice(1) if axis in axes else slice(None) for axis in range(out.ndim))]


def _argmax(out: Array, x: Array) -> None:
    out[...] = x.real.argmax(axis=-1)


def _take(out: Array, x: Array, *index: Array) -> None:
    out[...] = x[_whole(index)]


def _put(out: Array, x: Any, *index: Array) -> None:
    out[_whole(index)] = x


def _one_hot(out: Array, x: Array, row: Array) -> None:
    out[...] = 0
    np.add.at(out.T, _whole([row])[0], x.T)


def _whole(index: Any) -> tuple[Array, ...]:
    return tuple(np.real(each).astype(np.intp) for each in index)


def _tanh(x: Array) -> Array:
    """As the model's own: NumPy's is slow for complex numbers, and no closer."""
    if x.dtype.kind != "c":
        return np.tanh(x)
    t, u = np.tanh(x.real), np.tan(x.imag)
    z: Array = (t + 1j * u) / (1 + 1j * t * u)
    return z


CALLS: dict[str, Callable[..., None]] = {
    "add": _elementwise(np.add),
    "subtract": _elementwise(np.subtract),
    "multiply": _elementwise(np.multiply),
    "divide": _elementwise(np.divide),
    "negative": _elementwise(np.negative),
    "exp": _elementwise(np.exp),
    "tanh": _elementwise(_tanh),
    "log1p": _elementwise(np.log1p),
    "square": _elementwise(np.square),
    "copy": _elementwise(lambda x: x),
    "where": _elementwise(_where),
    "matmul": _elementwise(np.matmul),
    "sum": _sum,
    "max": _max,
    "argmax": _argmax,
    "take": _take,
    "put": _put,
    "one_hot": _one_hot,
}
