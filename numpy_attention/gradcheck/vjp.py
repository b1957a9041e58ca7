"""Check one operation: its backward against its forward, and the laws that every backward obeys."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Mapping
from typing import Any, NamedTuple

import numpy as np

from .._checks import check_size
from .._typing import Array
from .check import CheckMethod, check_gradients, proved_or_measured
from .diagnosis import NO_PATTERN
from .exact import Proof
from .laws import (
    ForwardBackward,
    copied,
    cotangent_laws,
    no_leak,
    random_like,
    run_backward,
    run_forward,
    shapes_and_dtypes,
    snapshot,
    unheard_sequences,
    untouched,
)
from .parameters import private_stream
from .proofs import all_sizes, made_inputs, prove_operation, size_names, together
from .report import GradientReport, LawReport, ParameterReport


def check_vjp(
    forward: Callable[..., Any],
    backward: Callable[..., Any],
    inputs: Mapping[str, Any] | tuple[Any, ...] | Array | Callable[..., Any],
    *,
    batch_axis: int | None = None,
    shared: Collection[str] = (),
    seed: int = 0,
    method: CheckMethod = "auto",
    points: int = 1,
    every_shape: bool = False,
    **options: Any,
) -> GradientReport:
    """Compare a backward with the derivative of <random cotangent, output>, and test its structural laws.

    The laws: a cotangent of zero gives exactly zero; the backward is linear in the cotangent; it gives the same answer
    twice; inputs, cotangent and cache are not changed; every gradient has the shape and dtype of its input. With
    ``batch_axis`` also: the cotangent of one sequence reaches no other sequence.

    Parameters
    ----------
    forward : callable
        ``forward(**inputs)`` for a dict, ``forward(*inputs)`` for a tuple; returns ``(output, cache)``. The output is a
        floating array or a tuple of them. For the complex step the forward must be complex-analytic.
    backward : callable
        ``backward(dout, cache)``, where ``dout`` is an array, or a tuple of arrays if the output is one. Returns the
        gradients of the differentiable inputs: one array if there is one, otherwise a tuple in their order or a dict by
        their names.
    inputs : dict, tuple or array, or a function of sizes
        NumPy arrays of dtype float32 or float64 are differentiable. Everything else (bool masks, integer tokens, Python
        numbers, None) is held fixed, and the backward returns no gradient of it. The report calls the inputs of a tuple
        ``input 0``, ``input 1`` and so on. A function such as ``inputs(rng, B, K)`` returns one of these for given
        sizes; ``rng`` is a generator, and may be left out.
    batch_axis : int, optional
        Batch axis of every output and of every differentiable input that is not in ``shared``.
    shared : collection of str
        Names of the differentiable inputs without a batch axis, such as weights.
    seed : int
        Seed of the cotangents and directions.
    method : {'auto', 'exact', 'complex-step', 'finite-difference', 'taylor'}
        As for :func:`check_gradients`. The proof runs ``forward`` and ``backward`` unchanged on exact numbers.
    points : int
        Points at which to prove it. Each may take another path through comparisons.
    every_shape : bool
        If ``inputs`` is a function of sizes: prove it for each combination of sizes from 1 to 3 (of more than four
        sizes, from 1 to 2).
    **options
        ``mode``, ``factors``, ``mask``, ``rtol``, ``own_scale``, ``directions`` and ``show_progress`` of
        :func:`check_gradients`, with the differentiable inputs in place of the parameters.

    Returns
    -------
    GradientReport
        As from :func:`check_gradients`, with ``report.laws``.

    Raises
    ------
    ValueError
        If no input is differentiable; if two forwards differ; if the output is not finite; if the backward returns too
        many or too few gradients; if the batch axis of an array is missing or of the wrong length.
    TypeError
        If the forward does not return ``(output, cache)``, or an output or gradient is not a floating array.

    Examples
    --------
    >>> def forward(x, W):
    ...     return x @ W, (x, W)
    >>> def backward(dout, cache):
    ...     x, W = cache
    ...     return dout @ W.T, x.T @ dout
    >>> x, W = np.random.default_rng(0).standard_normal((2, 3, 3))
    >>> check_vjp(forward, backward, {"x": x, "W": W}, batch_axis=0, shared=["W"]).ok
    True
    >>> report = check_vjp(forward, lambda dout, cache: (dout @ cache[1], cache[0].T @ dout), {"x": x, "W": W})
    >>> [(row.name, row.verdict) for row in report.parameters]
    [('x', 'wrong'), ('W', 'ok')]
    """
    check_size("points", points)
    sizes = ""
    if callable(inputs):
        names, rng = size_names(inputs), private_stream(seed, "inputs")
        made = made_inputs(inputs, dict(zip(names, range(2, len(names) + 2), strict=True)), rng)
        shapes = _every_shape(forward, backward, inputs, seed, points) if every_shape else None
        if shapes is not None and shapes.inputs is not None:  # look at the shapes that failed
            made, sizes = shapes.inputs, shapes.sizes
    elif every_shape:
        raise ValueError("every_shape: expected inputs as a function of their sizes, got arrays")
    else:
        made, shapes = inputs, None
    tested = _tested(_operation(forward, backward, made), seed, batch_axis, shared)
    operation, dout, gradients, fitting = tested.operation, tested.dout, tested.gradients, tested.fitting
    proof = None
    if method in ("auto", "exact") and len(fitting) == len(gradients):
        proof = prove_operation(operation, tested.outputs, seed, points, method) if shapes is None else shapes.proof

    def measure(method: str, mode: str) -> GradientReport:
        return _compare(operation, dout, fitting, {"seed": seed, **options, "method": method, "mode": mode})

    size = sum(array.size for array in fitting.values())
    report = proved_or_measured(measure, proof, method, options.get("mode"), size)
    if report.measured == "wrong" and _right_if_swapped(operation):
        note = "It is right with its arguments the other way round: expected backward(dout, cache)."
        report = dataclasses.replace(report, notes=(*report.notes, note))
    if sizes:
        report = dataclasses.replace(report, notes=(*report.notes, f"At {sizes}."))
    if batch_axis is not None:
        report = _name_missing_sums(report, operation, dout, batch_axis, shared)
    misfits = [
        ParameterReport(
            name,
            array.shape,
            "wrong",
            np.nan,
            np.nan,
            diagnosis=f"has shape {array.shape}, expected {operation.inputs[name].shape}",
        )
        for name, array in gradients.items()
        if name not in fitting
    ]
    return dataclasses.replace(report, laws=tuple(tested.laws), parameters=(*report.parameters, *misfits))


class _Tested(NamedTuple):
    """An operation that was run in floats: outputs, a cotangent, gradients, those of fitting shapes, and the laws."""

    operation: ForwardBackward
    outputs: list[Array]
    dout: list[Array]
    gradients: dict[str, Array]
    fitting: dict[str, Array]
    laws: list[LawReport]


def _tested(operation: ForwardBackward, seed: int, batch_axis: int | None, shared: Collection[str]) -> _Tested:
    """Run the operation, and test the structural laws of its backward."""
    values = {name: copied(value) for name, value in operation.inputs.items()}
    outputs, lone, _ = run_forward(operation, values)
    operation = operation._replace(lone=lone)
    # A second time, on copies that can be compared with the inputs afterwards.
    values = {name: copied(value) for name, value in operation.inputs.items()}
    again, _, cache = run_forward(operation, values)
    _require_repeatable(outputs, again)
    dout = random_like(outputs, private_stream(seed, "cotangents"))
    other = random_like(outputs, private_stream(seed, "other cotangents"))
    before = {"cotangent": snapshot(dout, "dout"), "cache": snapshot(cache, "cache")}
    try:
        gradients = run_backward(operation, dout, cache)
    except Exception:
        if _right_if_swapped(operation):
            raise TypeError("backward: expected backward(dout, cache), got one that takes the cache first") from None
        raise
    laws = [
        shapes_and_dtypes(operation, outputs, gradients),
        untouched("inputs untouched", snapshot(operation.inputs, "inputs"), snapshot(values, "inputs")),
        untouched("cotangent untouched", before["cotangent"], snapshot(dout, "dout")),
        untouched("cache untouched", before["cache"], snapshot(cache, "cache")),
    ]
    fitting = {name: array for name, array in gradients.items() if array.shape == operation.inputs[name].shape}
    if len(fitting) == len(gradients):
        # Draw the cotangent again: a backward that writes to its argument has spoilt the first one.
        dout = random_like(outputs, private_stream(seed, "cotangents"))
        laws += cotangent_laws(operation, dout, other, gradients)
        if batch_axis is not None:
            laws.append(no_leak(operation, dout, batch_axis, shared))
    return _Tested(operation, outputs, dout, gradients, fitting, laws)


def prove_vjp(
    forward: Callable[..., Any], backward: Callable[..., Any], inputs: Any, *, points: int = 1, seed: int = 0
) -> Proof:
    """The proof of :func:`check_vjp` alone, without a measurement and laws.

    Parameters
    ----------
    forward, backward, inputs, points, seed
        As for :func:`check_vjp`; ``inputs`` is no function.

    Returns
    -------
    Proof

    Examples
    --------
    >>> x = np.array([0.3, -0.5])
    >>> prove_vjp(lambda x: (np.tanh(x), np.tanh(x)), lambda dz, z: dz * (1 - z**2), x).verdict
    'PROVED'
    """
    operation = _operation(forward, backward, inputs)
    outputs, lone, _ = run_forward(operation, {name: copied(value) for name, value in operation.inputs.items()})
    return prove_operation(operation._replace(lone=lone), outputs, seed, points, "exact")


def _right_if_swapped(operation: ForwardBackward) -> bool:
    """True if the backward takes its arguments the other way round, and is right."""
    swapped = operation._replace(backward=lambda dout, cache: operation.backward(cache, dout))
    try:
        outputs, _, _ = run_forward(operation, {name: copied(value) for name, value in operation.inputs.items()})
        return prove_operation(swapped, outputs, 0, 1, "auto").verdict == "PROVED"
    except Exception:  # code that is called the wrong way can raise anything
        return False


class _Shapes(NamedTuple):
    """The proof for every combination of sizes; with the inputs and the sizes of the first one that failed."""

    proof: Proof
    inputs: Any = None
    sizes: str = ""


def _every_shape(
    forward: Callable[..., Any],
    backward: Callable[..., Any],
    inputs: Callable[..., Any],
    seed: int,
    points: int,
) -> _Shapes:
    names, shapes, proofs = size_names(inputs), set(), []
    for sizes in all_sizes(names):
        told = ", ".join(f"{name} = {size}" for name, size in sizes.items())
        try:
            made = made_inputs(inputs, sizes, private_stream(seed, "inputs"))
            operation = _operation(forward, backward, made)
            shapes.add(tuple(operation.inputs[name].shape for name in operation.differentiable))
            proof = prove_vjp(forward, backward, made, points=points, seed=seed)
        except (ValueError, ArithmeticError, LookupError, AssertionError) as error:  # a size that it cannot take
            raise ValueError(f"every_shape: with {told} it raises {type(error).__name__}: {error}") from error
        if proof.verdict != "PROVED":
            return _Shapes(proof, made, told)
        proofs.append(proof)
    if len(shapes) == 1:
        return _Shapes(Proof("CANNOT PROVE", f"the inputs have the same shapes for all {', '.join(names) or 'sizes'}"))
    return _Shapes(together(proofs)._replace(shapes=len(shapes)))


def _operation(forward: Callable[..., Any], backward: Callable[..., Any], inputs: Any) -> ForwardBackward:
    by_name = isinstance(inputs, Mapping)
    if isinstance(inputs, np.ndarray):
        inputs = (inputs,)
    if not isinstance(inputs, (Mapping, tuple, list)):
        raise TypeError(f"inputs: expected a dict, a tuple or an array, got {type(inputs).__name__}")
    named = dict(inputs) if by_name else {f"input {place}": value for place, value in enumerate(inputs)}
    for name, value in named.items():
        if hasattr(value, "__array__") and not isinstance(value, (np.ndarray, np.generic)):
            named[name] = np.asarray(value)  # a tensor of another library
    differentiable = tuple(
        name
        for name, value in named.items()
        if isinstance(value, np.ndarray) and value.dtype in (np.float32, np.float64)
    )
    if not differentiable:
        got = ", ".join(str(getattr(value, "dtype", type(value).__name__)) for value in named.values()) or "none"
        raise ValueError(f"inputs: expected at least one float32 or float64 array, got {got}")
    for name in differentiable:
        if not np.isfinite(named[name]).all():
            raise ValueError(f"inputs[{name!r}]: expected finite numbers")
    return ForwardBackward(forward, backward, named, by_name, differentiable)


def _require_repeatable(outputs: list[Array], again: list[Array]) -> None:
    for place, (first, second) in enumerate(zip(outputs, again, strict=True)):
        if not np.isfinite(first).all():
            bad = first[~np.isfinite(first)][0]
            raise ValueError(f"forward: expected a finite output, got {bad} in output {place}")
        noise = 1e-13 if first.dtype == np.float64 else 1e-6
        apart = np.abs(first - second).max(initial=0.0) if first.shape == second.shape else np.inf
        if apart > noise * np.abs(first).max(initial=0.0):
            raise ValueError(
                f"forward: two calls with the same inputs gave different values of output {place}; draw "
                "random numbers (dropout, sampling) outside it and pass them in"
            )


def _name_missing_sums(
    report: GradientReport,
    operation: ForwardBackward,
    dout: list[Array],
    batch_axis: int,
    shared: Collection[str],
) -> GradientReport:
    """Explain a wrong gradient of a shared input to which some sequences of the batch contribute nothing."""
    puzzling = [row.name for row in report.parameters if row.name in shared and NO_PATTERN in row.diagnosis]
    if not puzzling:
        return report
    said = {}
    for name, unheard in unheard_sequences(operation, dout, batch_axis, puzzling).items():
        if unheard:
            which = f"sequence {unheard[0]}" if len(unheard) == 1 else f"sequences {', '.join(map(str, unheard))}"
            said[name] = f"nothing comes from {which} of the batch: a missing sum"
    rows = tuple(dataclasses.replace(row, diagnosis=said.get(row.name, row.diagnosis)) for row in report.parameters)
    return dataclasses.replace(report, parameters=rows)


def _compare(
    operation: ForwardBackward, dout: list[Array], gradients: dict[str, Array], options: dict[str, Any]
) -> GradientReport:
    """Check the gradients of L = sum(dout * output)."""
    if not gradients:
        return GradientReport(
            method="none", mode="full", rtol=0.0, own_scale=False, largest=np.nan, evaluations=0, parameters=()
        )
    cotangents = [array.astype(np.float64) for array in dout]

    def loss_function(values: Mapping[str, Array]) -> Any:
        # Copies: writing to the inputs breaks a law but must not stop the check.
        mine = {name: copied(value) for name, value in {**operation.inputs, **values}.items()}
        outputs, _, _ = run_forward(operation, mine)
        return sum(np.sum(cotangent * output) for cotangent, output in zip(cotangents, outputs, strict=True))

    params = {name: operation.inputs[name] for name in gradients}
    return check_gradients(loss_function, params, gradients, **options)
