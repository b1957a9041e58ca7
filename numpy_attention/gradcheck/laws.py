"""The structural laws of a backward, each tested on a fresh cache, so that one fault does not look like three."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from .._typing import Array
from .report import LawReport


class ForwardBackward(NamedTuple):
    """A forward and a backward, the inputs by name, and the names of those that have a gradient."""

    forward: Callable[..., Any]
    backward: Callable[..., Any]
    inputs: dict[str, Any]
    by_name: bool
    differentiable: tuple[str, ...]
    lone: bool = True  # the output is an array and not a tuple


def copied(value: Any) -> Any:
    """A copy of an array; anything else as it is."""
    return value.copy() if isinstance(value, np.ndarray) else value


def run_forward(
    operation: ForwardBackward, values: Mapping[str, Any], kinds: str = "fc"
) -> tuple[list[Array], bool, Any]:
    """The outputs as a list, True if the output was a lone array, and the cache. ``kinds`` are those of dtypes."""
    result = operation.forward(**values) if operation.by_name else operation.forward(*values.values())
    if not isinstance(result, tuple) or len(result) != 2:
        raise WrongResultError(
            f"forward: expected (output, cache), got {type(result).__name__}"
            + (f" of length {len(result)}" if isinstance(result, tuple) else "")
        )
    output, cache = result
    lone = not isinstance(output, (tuple, list))
    outputs = [np.asarray(array) for array in ([output] if lone else output)]
    for array in outputs:
        if array.dtype.kind not in kinds:
            raise WrongResultError(f"forward: expected floating outputs, got {array.dtype}")
    return outputs, lone, cache


class WrongResultError(TypeError):
    """An operation returned something of the wrong kind."""


def run_backward(operation: ForwardBackward, dout: list[Array], cache: Any, kinds: str = "f") -> dict[str, Array]:
    """The gradients by name, in the order of the differentiable inputs. ``kinds`` are those of dtypes."""
    result = operation.backward(dout[0] if operation.lone else tuple(dout), cache)
    names = operation.differentiable
    if isinstance(result, Mapping):
        if result.keys() != set(names):
            raise ValueError(f"backward: expected gradients of {', '.join(names)}, got {', '.join(map(str, result))}")
        found = {name: result[name] for name in names}
    else:
        parts = tuple(result) if isinstance(result, (tuple, list)) else (result,)
        if len(parts) != len(names):
            raise ValueError(f"backward: expected {len(names)} gradients ({', '.join(names)}), got {len(parts)}")
        found = dict(zip(names, parts, strict=True))
    for name, gradient in found.items():
        array = np.asarray(gradient) if hasattr(gradient, "__array__") or "O" in kinds else None
        if array is None or array.dtype.kind not in kinds:
            kind = type(gradient).__name__ if array is None else array.dtype
            raise WrongResultError(f"backward: expected a floating array as gradient of {name}, got {kind}")
    return {name: np.array(gradient) for name, gradient in found.items()}


def fresh_backward(operation: ForwardBackward, dout: list[Array]) -> dict[str, Array]:
    """The gradients from a new forward and backward, on copies of inputs and cotangent."""
    values = {name: copied(value) for name, value in operation.inputs.items()}
    return run_backward(operation, [array.copy() for array in dout], run_forward(operation, values)[2])


def random_like(outputs: list[Array], rng: np.random.Generator) -> list[Array]:
    """Normal random cotangents. Cotangents of ones would hide errors in the factors that they multiply."""
    return [rng.standard_normal(array.shape).astype(array.dtype) for array in outputs]


def shapes_and_dtypes(operation: ForwardBackward, outputs: list[Array], gradients: Mapping[str, Array]) -> LawReport:
    """Every gradient has the shape and dtype of its input, and the output the dtype of the inputs together."""
    faults = []
    for name, gradient in gradients.items():
        expected = operation.inputs[name]
        if gradient.shape != expected.shape:
            faults.append(f"the gradient of {name} has shape {gradient.shape}, expected {expected.shape}")
        if gradient.dtype != expected.dtype:
            faults.append(f"the gradient of {name} is {gradient.dtype}, expected {expected.dtype}")
    common = np.result_type(*(operation.inputs[name].dtype for name in operation.differentiable))
    faults += [
        f"output {place} is {array.dtype}, expected {common}"
        for place, array in enumerate(outputs)
        if array.dtype != common
    ]
    return LawReport("shapes and dtypes", not faults, "; ".join(faults))


def snapshot(value: Any, path: str) -> dict[str, Array]:
    """Copies of all arrays in ``value`` by path; looks into tuples, lists, dicts, dataclasses and plain objects."""
    return {where: array.copy() for where, array in _arrays(value, path)}


def _arrays(value: Any, path: str) -> Iterator[tuple[str, Array]]:
    """The arrays in ``value`` with their paths; a container that several share is looked into once."""
    stack, seen = [(path, value)], {}
    while stack:
        where, part = stack.pop()
        if isinstance(part, np.ndarray):
            yield where, part
        elif id(part) not in seen and not callable(part):
            seen[id(part)] = part  # kept, so that nothing else gets its id
            stack += reversed(_parts(part, where))


def _parts(value: Any, path: str) -> list[tuple[str, Any]]:
    """What is in a container, each with its path."""
    if isinstance(value, Mapping):
        return [(f"{path}[{key!r}]", part) for key, part in value.items()]
    if isinstance(value, (tuple, list)):
        names = [f".{field}" for field in getattr(value, "_fields", ())] or [f"[{i}]" for i in range(len(value))]
        return [(path + name, part) for name, part in zip(names, value, strict=True)]
    return [(f"{path}.{name}", part) for name, part in getattr(value, "__dict__", {}).items()]


def untouched(law: str, before: Mapping[str, Array], after: Mapping[str, Array]) -> LawReport:
    """The arrays are the same, with the same values, as before."""
    changed = [
        path
        for path, array in before.items()
        if path not in after or not np.array_equal(array, after[path], equal_nan=array.dtype.kind in "fc")
    ]
    changed += [path for path in after if path not in before]
    return LawReport(law, not changed, f"{', '.join(changed)} changed" if changed else "")


def cotangent_laws(
    operation: ForwardBackward, dout: list[Array], other: list[Array], gradients: Mapping[str, Array]
) -> list[LawReport]:
    """backward(0) = 0, backward(a d + b d') = a backward(d) + b backward(d'), and the same answer twice."""
    rounding = 1e-12 if all(array.dtype == np.float64 for array in gradients.values()) else 1e-5
    zero = fresh_backward(operation, [np.zeros_like(array) for array in dout])
    first, second = fresh_backward(operation, dout), fresh_backward(operation, other)
    a, b = 2.0, -3.0
    mixed = fresh_backward(operation, [a * d + b * e for d, e in zip(dout, other, strict=True)])
    expected = {name: a * first[name] + b * second[name] for name in first}
    again = fresh_backward(operation, dout)
    return [
        _same("zero cotangent gives zero", zero, {name: np.zeros_like(g) for name, g in zero.items()}, 0.0),
        _same("linear in the cotangent", mixed, expected, rounding),
        _same("same answer twice", again, gradients, 1e-13 if rounding < 1e-6 else 1e-6),
    ]


def _same(law: str, found: Mapping[str, Array], expected: Mapping[str, Array], rtol: float) -> LawReport:
    """Equality of gradients, up to ``rtol`` of the largest entry of all."""
    scale = max(float(np.abs(array).max(initial=0.0)) for array in expected.values())
    for name, array in found.items():
        error = np.abs(array - expected[name])
        if not (error <= rtol * scale).all():
            index = tuple(int(i) for i in np.unravel_index(np.argmax(error), error.shape))
            return LawReport(
                law,
                False,
                f"the gradient of {name} at {list(index)} is {array[index]:.6g}, expected {expected[name][index]:.6g}",
            )
    return LawReport(law, True)


def no_leak(operation: ForwardBackward, dout: list[Array], batch_axis: int, shared: Collection[str]) -> LawReport:
    """The cotangent of one sequence alone gives gradients that are exactly zero in all others."""
    law = "no leak between sequences"
    carriers = [name for name in operation.differentiable if name not in shared]
    count = _batch_size(operation, dout, batch_axis, carriers, shared)
    for b in range(count):
        gradients = fresh_backward(operation, one_sequence(dout, batch_axis, b))
        for name in carriers:
            by_sequence = np.moveaxis(gradients[name], batch_axis, 0).reshape(count, -1)
            reached = np.flatnonzero((by_sequence != 0).any(axis=1) & (np.arange(count) != b))
            if reached.size:
                return LawReport(law, False, f"the cotangent of sequence {b} reaches sequence {reached[0]} of {name}")
    return LawReport(law, True)


def one_sequence(dout: list[Array], batch_axis: int, b: int) -> list[Array]:
    """The cotangent of sequence ``b`` alone, zero for the others."""
    alone = [np.zeros_like(array) for array in dout]
    for part, whole in zip(alone, dout, strict=True):
        np.moveaxis(part, batch_axis, 0)[b] = np.moveaxis(whole, batch_axis, 0)[b]
    return alone


def unheard_sequences(
    operation: ForwardBackward, dout: list[Array], batch_axis: int, names: Collection[str]
) -> dict[str, list[int]]:
    """For each of ``names``, the sequences whose cotangent alone leaves its gradient zero."""
    alone = [fresh_backward(operation, one_sequence(dout, batch_axis, b)) for b in range(dout[0].shape[batch_axis])]
    return {name: [b for b, gradients in enumerate(alone) if not gradients[name].any()] for name in names}


def _batch_size(
    operation: ForwardBackward, dout: list[Array], batch_axis: int, carriers: list[str], shared: Collection[str]
) -> int:
    unknown = sorted(set(shared) - set(operation.differentiable))
    if unknown:
        raise ValueError(f"shared: expected names of differentiable inputs, got {', '.join(map(repr, unknown))}")
    arrays = {f"output {place}": array for place, array in enumerate(dout)}
    arrays.update({name: operation.inputs[name] for name in carriers})
    for name, array in arrays.items():
        if not -array.ndim <= batch_axis < array.ndim:
            raise ValueError(f"batch_axis: expected an axis of {name}, whose shape is {array.shape}, got {batch_axis}")
    count = int(dout[0].shape[batch_axis])
    for name, array in arrays.items():
        if array.shape[batch_axis] != count:
            raise ValueError(
                f"batch_axis: expected {count} sequences on axis {batch_axis} of {name}, got shape "
                f"{array.shape}; inputs without sequences belong in shared"
            )
    return count
