"""A gradient check that is a proof: the backward is run unchanged in exact arithmetic, and tested by equality.

For a forward with Jacobian J, inputs moved along v and a cotangent w,

    <w, J v> = <J^T w, v>

The left side comes from the forward alone, which carries derivatives along v. The right side comes from the backward.
Both are quotients of polynomials in the inputs, in v, in w, and in the values of functions such as exp. If the two
differ, they differ at a random point of GF(p) with a probability of at least 1 - degree / p (Schwartz 1980, Zippel
1979). A random prime of 191 bits leaves no room for luck.

A square root has two signs, and a finite field cannot tell which one is positive. If it is the root of a known square,
the float decides. Any other is a variable of its own at first, of which s^2 = x is not known: what is equal then is
equal for either sign. If the two sides differ so, s^2 = x is used. That needs roots which are independent, so that an
identity holds for all of their signs or for none; this is shown first.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from ..._text import brief
from ..._typing import Array
from .arrays import exact_run, lifted, number
from .field import BITS, CannotProveError, Field, UnluckyError, random_prime

BUDGET = 40_000_000  # operations of one proof
CHECKER = str(Path(__file__).parent.parent)
ENOUGH = 1e-12  # a bound above this proves nothing
TRIES = 50  # points to draw where something is not defined at the first
SPARE = 20  # fields beyond the number of square roots, in which to see that they are independent

ProofVerdict = Literal["PROVED", "REFUTED", "CANNOT PROVE"]


class Proof(NamedTuple):
    """What exact arithmetic says of a backward.

    Attributes
    ----------
    verdict : str
        ``PROVED``: the backward is the transposed derivative of the forward, for these shapes and the path that was
        taken, as an identity. ``REFUTED``: it is not. ``CANNOT PROVE``: see ``reason``.
    reason : str
        Why it cannot be proved.
    wrong : tuple of str
        The inputs whose gradients are not identical.
    constants : str
        Constants that may be rounded ones, and where they stand.
    bound : float
        A wrong backward passes with at most this probability.
    points : int
        Points that were tried.
    paths : tuple of int
        The path that comparisons took at each point, as a number.
    shapes : int
        Sets of shapes that were tried.
    """

    verdict: ProofVerdict
    reason: str = ""
    wrong: tuple[str, ...] = ()
    constants: str = ""
    bound: float = 0.0
    points: int = 1
    paths: tuple[int, ...] = ()
    shapes: int = 1

    def __str__(self) -> str:
        if self.verdict == "CANNOT PROVE":
            return f"Cannot prove: {self.reason}."
        if self.verdict == "REFUTED":
            what = ", ".join(self.wrong) or "everything together"
            return f"The algebra is wrong: {self.reason or f'the gradient of {what} is not the derivative'}."
        where = "for these shapes" if self.shapes == 1 else f"for each of {self.shapes} sets of shapes"
        count = len(set(self.paths))
        paths = "the path taken" if count == 1 else f"{count} different paths, taken at {self.points} points"
        return (
            f"The algebra is right: proved {where} and {paths}. A wrong backward would pass with a probability below "
            f"{self.bound:.0e}."
        )


class Sides(NamedTuple):
    """One run in one field: <w, J v>, and <J^T w, v> by input, with what the bound and the path need."""

    field: Field
    left: Any
    right: dict[str, Any]
    degree: int

    @property
    def identical(self) -> bool:
        """True if the two sides are equal."""
        return bool((self.left - sum(self.right.values())) % self.field.prime == 0)


# A run in a field, with slopes on the inputs of these names alone.
Run = Callable[[Field, Sequence[str]], Sides]


def prove(run: Run, names: Sequence[str], seed: int, budget: int = BUDGET, bits: int = BITS) -> Proof:
    """The proof at one point, in one field, from which ``run`` draws what it needs.

    Parameters
    ----------
    run : callable
        ``run(field, names)`` gives the two sides with slopes on ``names`` alone.
    names : sequence of str
        All inputs.
    seed : int
    budget : int
        Operations after which to give up.
    bits : int
        Of the prime.
    """
    prime = random_prime(seed, bits)
    try:
        sides = _lucky(run, names, prime, seed, budget)
        radicands = sides.field.radicands
        if radicands and not sides.identical:
            sides = _lucky(run, names, prime, seed, budget, free=False)
            if sides.field.radicands != radicands:
                raise CannotProveError("it needs s^2 = x for square roots inside of square roots")
            _require_independent(run, names, sides.field, seed, bits)
        if sides.identical:
            bound, path = _bound(sides), hash(tuple(sides.field.path))
            if bound > ENOUGH:
                return Proof(
                    "CANNOT PROVE", f"a wrong one may pass with a probability of {bound:.0e}: try smaller shapes"
                )
            return Proof("PROVED", bound=bound, paths=(path,))
        free = sides.field.free
        wrong = tuple(name for name in names if not _lucky(run, [name], prime, seed, budget, free=free).identical)
        return Proof("REFUTED", wrong=wrong, constants=_suspects(sides.field))
    except CannotProveError as error:
        return Proof("CANNOT PROVE", str(error))


def _bound(sides: Sides) -> float:
    """The chance that two different sides agree, or that a function is asked for one value at two arguments.

    A square root s with s^2 = x is no variable of its own: a polynomial in it is zero only if its norm is, the product
    over both signs, whose degree is twice as large. The norm is not zero, as the roots are independent.
    """
    field = sides.field
    signs = 1.0 if field.free else 2.0 ** len(field.radicands)
    return min(1.0, signs * (sides.degree + field.coincidences()) / field.prime)


def _require_independent(run: Run, names: Sequence[str], field: Field, seed: int, bits: int) -> None:
    """Raise CannotProveError unless it is certain that no square root is a function of the others and of the inputs.

    If it were, a product of some radicands would be a square, and so in every field and at every point. The radicands
    without a root in GF(p) are a row of bits for each field. Rows of full rank leave no such product (Kummer's theory).
    """
    count = len(field.radicands)
    if count * field.operations > field.budget:
        raise CannotProveError(
            f"it takes more than {field.budget:,} operations to show that its {count} square roots are independent; "
            "smaller sizes prove as much"
        )
    rows: dict[int, int] = {}  # by their highest bit, in echelon form
    for again in range(1, count + SPARE):
        prime = random_prime(seed + again, bits)
        other = _lucky(run, names, prime, seed + 104729 * again, field.budget).field
        if len(other.radicands) != count:
            break
        row = sum((not other.is_square(value)) << place for place, value in enumerate(other.radicands))
        while row and row.bit_length() in rows:
            row ^= rows[row.bit_length()]
        if row:
            rows[row.bit_length()] = row
        if len(rows) == count:
            return
    raise CannotProveError("its square roots may depend on one another, which leaves their signs open")


def _suspects(field: Field) -> str:
    """Constants that may be rounded ones, for the case that the gradient is right in floats."""
    listed = [f"{value!r} ({place})" if place else repr(value) for value, place in list(field.rounded.items())[:3]]
    return ", ".join(listed)


def _lucky(run: Run, names: Sequence[str], prime: int, seed: int, budget: int, *, free: bool = True) -> Sides:
    """The first run at a point where everything is defined."""
    for again in range(TRIES):
        field = Field(prime, seed + 7919 * again, budget, free=free)
        try:
            sides = run(field, names)
            if field.refusal is None:  # else the code has caught the error, and gone another way
                return sides
        except UnluckyError:
            continue
        except CannotProveError:
            raise
        except Exception as error:
            # NumPy replaces some errors by its own: the first refusal tells the truth.
            raise CannotProveError(field.refusal or _told(error)) from error
        raise CannotProveError(field.refusal)
    raise CannotProveError(f"it is not defined at any of {TRIES} random points: a division by what is always 0?")


def _told(error: Exception) -> str:
    """An error of the code that was run, with the place in it."""
    place, trace = "", error.__traceback__
    while trace is not None:
        name = trace.tb_frame.f_code.co_filename
        if not name.startswith((CHECKER, "<")) and "site-packages" not in name:
            place = f" ({name.rpartition('/')[2]}, line {trace.tb_lineno})"
        trace = trace.tb_next
    return f"given exact numbers, the code raises {type(error).__name__}: {brief(str(error))[1:-1]}{place}"


def adjoint_run(
    forward: Callable[[Mapping[str, Any]], Sequence[Array]],
    backward: Callable[[Sequence[Array]], Mapping[str, Any]],
    inputs: Mapping[str, Array],
    cotangents: Sequence[Array],
    code: Iterable[Any],
) -> Run:
    """The run of a forward and its backward.

    Parameters
    ----------
    forward : callable
        From inputs by name to outputs.
    backward : callable
        From cotangents to gradients by name, called after ``forward``.
    inputs : dict of arrays
        The floats that decisions follow.
    cotangents : sequence of arrays
        One for each output.
    code : functions
        That are run; their modules make exact arrays meanwhile.
    """
    globals_ = list(namespaces(code))

    def run(field: Field, names: Sequence[str]) -> Sides:
        with exact_run(field, globals_):
            values = {name: lifted(field, array, slope=name in names) for name, array in inputs.items()}
            before = {name: array.copy() for name, array in values.items()}
            outputs = forward(values)
            w = [lifted(field, array, slope=False) for array in cotangents]
            weights = [array.copy() for array in w]
            gradients = backward(w)
            return _sides(field, before, weights, outputs, gradients)

    return run


def _sides(
    field: Field,
    inputs: Mapping[str, Any],
    cotangents: Sequence[Any],
    outputs: Sequence[Any],
    gradients: Mapping[str, Any],
) -> Sides:
    """Both sides of the identity, from everything that a run has computed."""
    left, degree = 0, 0
    for cotangent, output in zip(cotangents, outputs, strict=True):
        if np.shape(output) != cotangent.shape:
            raise CannotProveError(f"an output has shape {np.shape(output)}, in floats {cotangent.shape}")
        for each, entry in zip(cotangent.flat, _entries(output), strict=True):
            entry = number(field, entry)
            left, degree = left + each.value * entry.slope, degree + entry.rise + 1
    right: dict[str, Any] = {}
    for name, gradient in gradients.items():
        if np.shape(gradient) != inputs[name].shape:
            raise CannotProveError(f"the gradient of {name} has shape {np.shape(gradient)}")
        if getattr(gradient, "dtype", None) == np.float64 and gradient.any():
            raise CannotProveError(f"given exact numbers, the backward returns floats as the gradient of {name}")
        total: Any = 0
        for each, entry in zip(inputs[name].flat, _entries(gradient), strict=True):
            entry = number(field, entry)
            total, degree = total + each.slope * entry.value, degree + entry.degree + 1
        right[name] = total % field.prime
    return Sides(field, left % field.prime, right, degree)


def _entries(array: Any) -> Iterator[Any]:
    """The entries of an array, or of what stands for one of no axes."""
    return iter(array.reshape(-1).tolist()) if isinstance(array, np.ndarray) else iter([array])


def namespaces(code: Iterable[Any]) -> Iterator[dict[str, Any]]:
    """The globals of functions, through partials, methods, wrappers and objects that are called."""
    for function in code:
        while isinstance(function, functools.partial):
            function = function.func
        function = getattr(function, "__func__", function)
        call = function if hasattr(function, "__globals__") else type(function).__call__
        while call is not None:
            if hasattr(call, "__globals__"):
                yield call.__globals__
            call = getattr(call, "__wrapped__", None)
