"""Proofs of a user's functions: what :mod:`.exact` needs of them, and what its answer does to a report."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from .._code import argument_names
from .._typing import Array
from .exact import Proof, adjoint_run, prove
from .exact.arrays import exact_run, lifted, number, with_slopes
from .exact.field import MORE_BITS, Field
from .exact.proof import Sides, namespaces
from .laws import ForwardBackward, copied, random_like, run_backward, run_forward
from .parameters import Arrays, as_dict, private_stream, unwrap
from .report import GradientReport

# Operations on exact numbers, about as many microseconds each.
BUDGET = {"exact": 5_000_000}
AUTOMATIC = 400_000
LARGEST_SIZE = 3  # of every_shape
MOST_SHAPES = 100


def prove_operation(operation: ForwardBackward, outputs: list[Array], seed: int, points: int, method: str) -> Proof:
    """The proof of a backward. Points after the first draw inputs of the same mean and spread."""
    single = [name for name in operation.differentiable if operation.inputs[name].dtype == np.float32]
    if single:
        return Proof("CANNOT PROVE", f"{single[0]} is float32, and exact numbers take the place of float64: pass that")
    cache: list[Any] = [None]
    fixed = {name: value for name, value in operation.inputs.items() if name not in operation.differentiable}
    given = {name: operation.inputs[name] for name in operation.differentiable}

    def forward(values: Mapping[str, Any]) -> list[Array]:
        everything = {name: values[name] if name in values else copied(fixed[name]) for name in operation.inputs}
        found, _, cache[0] = run_forward(operation, everything, kinds="fcO")
        return found

    def backward(cotangents: Any) -> dict[str, Array]:
        return run_backward(operation, list(cotangents), cache[0], kinds="fO")

    rng = private_stream(seed, "points")
    proofs = []
    for point in range(points):
        inputs = given if point == 0 else {name: _like(array, rng) for name, array in given.items()}
        run = adjoint_run(forward, backward, inputs, random_like(outputs, rng), (operation.forward, operation.backward))
        proofs.append(prove(run, operation.differentiable, seed + point, BUDGET.get(method, AUTOMATIC)))
    return together(proofs)


def _like(array: Array, rng: np.random.Generator) -> Array:
    """Normal numbers of the mean and the spread of ``array``."""
    return rng.normal(array.mean(), array.std() or 1.0, array.shape) if array.size else array


def prove_gradients(
    loss_function: Callable[..., Any], params: Arrays, gradient_function: Callable[..., Any], like: Any, method: str
) -> Proof:
    """The proof that a function is the gradient of a loss; both take their parameters in the form of ``like``."""
    given: list[Any] = [None]

    def forward(values: Mapping[str, Any]) -> list[Any]:
        given[0] = values
        return [loss_function(unwrap(values, like))]

    def backward(cotangents: Any) -> dict[str, Any]:
        found = gradient_function(unwrap(given[0], like))
        gradients = as_dict(found, "gradients")
        # d(w L) / dx = w dL / dx
        return {name: cotangents[0] * gradients[name] for name in params}

    run = adjoint_run(forward, backward, params, [np.ones(())], (loss_function, gradient_function))
    return prove(run, list(params), 0, BUDGET.get(method, AUTOMATIC))


def prove_hessian(
    gradient_function: Callable[..., Any], params: Arrays, like: Any, seed: int = 0, method: str = "auto"
) -> Proof:
    """The proof that the derivative H of a gradient is symmetric, <u, H v> = <v, H u>: it is the gradient of a loss."""

    def run(field: Field, names: Any) -> Sides:
        with exact_run(field, namespaces([gradient_function])):
            values = {name: lifted(field, array, slope=False) for name, array in params.items()}
            drawn = [{name: [field.draw() for _ in array.flat] for name, array in params.items()} for _ in range(2)]
            along = []
            for slopes in drawn:
                moved = {name: with_slopes(array, slopes[name]) for name, array in values.items()}
                found = as_dict(gradient_function(unwrap(moved, like)), "gradients")
                along.append({name: [number(field, entry) for entry in found[name].flat] for name in params})
        sides = [
            sum(u * entry.slope for name in params for u, entry in zip(slopes[name], other[name], strict=True))
            for slopes, other in zip(drawn, reversed(along), strict=True)
        ]
        degree = sum(entry.rise + 1 for found in along for entries in found.values() for entry in entries)
        return Sides(field, sides[0] % field.prime, {"H": sides[1] % field.prime}, degree)

    return prove(run, ["H"], seed, BUDGET.get(method, AUTOMATIC), MORE_BITS)


def together(proofs: list[Proof]) -> Proof:
    """One proof from several: the first that failed, or all of them."""
    for proof in proofs:
        if proof.verdict != "PROVED":
            return proof
    return proofs[0]._replace(
        bound=max(proof.bound for proof in proofs),
        points=sum(proof.points for proof in proofs),
        paths=tuple(path for proof in proofs for path in proof.paths),
    )


def size_names(inputs: Callable[..., Any]) -> list[str]:
    """The sizes that a function of inputs asks for: all of its arguments but ``rng``."""
    return [name for name in argument_names(inputs) if name != "rng"]


def made_inputs(inputs: Callable[..., Any], sizes: Mapping[str, int], rng: np.random.Generator) -> Any:
    """The inputs of these sizes."""
    random = {"rng": rng} if "rng" in argument_names(inputs) else {}
    return inputs(**random, **sizes)


def all_sizes(names: list[str]) -> Iterator[dict[str, int]]:
    """Every combination of sizes from 1 to 3; of many sizes, from 1 to 2."""
    for largest in range(LARGEST_SIZE, 1, -1):
        if largest ** len(names) <= MOST_SHAPES:
            break
    else:
        raise ValueError(f"every_shape: expected at most {MOST_SHAPES.bit_length() - 1} sizes, got {len(names)}")
    for each in itertools.product(range(1, largest + 1), repeat=len(names)):
        yield dict(zip(names, each, strict=True))


def judged(report: GradientReport, proof: Proof, *, demanded: bool) -> GradientReport:
    """A measured report with the proof's answer.

    A refusal alone accuses nobody: where the gradient is right to within rounding, what is not identical in exact
    arithmetic is only not proved.
    """
    if proof.verdict == "REFUTED" and report.verdict != "wrong":
        constants = f", perhaps as constants are rounded: {proof.constants}" if proof.constants else ""
        what = ", ".join(proof.wrong) or "all of them together"
        proof = proof._replace(
            verdict="CANNOT PROVE",
            reason=f"the gradient of {what} agrees to within rounding, but is not identical{constants}",
        )
    return dataclasses.replace(report, proof=proof, proof_demanded=demanded)
