"""Functions of other libraries, and functions that NumPy cannot look into, as something that can be checked.

No library is imported here: who has a function of one has imported it.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from .._typing import Array
from .parameters import as_dict, private_stream

Pair = tuple[Callable[..., Any], Callable[..., Any]]

NOISE_POINTS = 7  # values of a function from whose differences its noise is estimated
EPSILON = float(np.finfo(float).eps)


def as_pair(function: Any) -> Pair | None:
    """The forward and the backward of a ``torch.autograd.Function`` or a ``jax.custom_vjp``; None if it is neither.

    Both take and return NumPy arrays, as :func:`check_vjp` expects. The library differentiates by the function's own
    backward.

    Parameters
    ----------
    function : class or callable

    Returns
    -------
    (forward, backward) or None

    Examples
    --------
    >>> as_pair(np.tanh) is None
    True
    """
    torch, jax = sys.modules.get("torch"), sys.modules.get("jax")
    if torch is not None and isinstance(function, type) and issubclass(function, torch.autograd.Function):
        return _of_torch(function, torch)
    if jax is not None and isinstance(function, jax.custom_vjp):
        return _of_jax(function, jax)
    return None


def _of_torch(function: Any, torch: Any) -> Pair:
    def tensor(value: Any) -> Any:
        return torch.tensor(value, requires_grad=value.dtype.kind in "fc") if isinstance(value, np.ndarray) else value

    def forward(*inputs: Any) -> tuple[Any, Any]:
        tensors = [tensor(value) for value in inputs]
        output = function.apply(*tensors)
        several = isinstance(output, tuple)
        arrays = tuple(each.detach().numpy() for each in (output if several else (output,)))
        return arrays if several else arrays[0], (tensors, output)

    def backward(dout: Any, cache: Any) -> tuple[Array, ...]:
        tensors, output = cache
        several = isinstance(output, tuple)
        outputs = list(output) if several else [output]
        cotangents = [torch.tensor(each) for each in (dout if several else [dout])]
        wanted = [each for each in tensors if getattr(each, "requires_grad", False)]
        found = torch.autograd.grad(outputs, wanted, cotangents, retain_graph=True, allow_unused=True)
        return tuple(
            np.zeros(each.shape) if gradient is None else gradient.numpy()
            for each, gradient in zip(wanted, found, strict=True)
        )

    return forward, backward


def _of_jax(function: Any, jax: Any) -> Pair:
    def forward(*inputs: Any) -> tuple[Any, Any]:
        output, pull_back = jax.vjp(function, *inputs)
        several = isinstance(output, (tuple, list))
        found = tuple(np.asarray(each) for each in output) if several else np.asarray(output)
        return found, (pull_back, [getattr(each, "dtype", None) for each in inputs])

    def backward(dout: Any, cache: Any) -> tuple[Array, ...]:
        pull_back, dtypes = cache
        found = pull_back(dout)
        floating = [getattr(dtype, "kind", "") == "f" for dtype in dtypes]
        return tuple(np.asarray(each) for each, wanted in zip(found, floating, strict=True) if wanted)

    return forward, backward


class Slope(NamedTuple):
    """One input of a function that cannot be looked into: two derivatives along a random direction."""

    name: str
    verdict: str  # ok, wrong or inconclusive
    slope: float  # <backward(w), v>
    expected: float  # <w, J v>
    error: float  # what the second may be off by


@dataclass(frozen=True)
class OpaqueReport:
    """The result of :func:`check_opaque`.

    Attributes
    ----------
    rows : tuple of Slope
    noise : float
        Estimated noise of <w, output>; 0 where a ``jvp`` was given.
    """

    rows: tuple[Slope, ...]
    noise: float

    @property
    def verdict(self) -> str:
        """The worst verdict of all inputs."""
        verdicts = {row.verdict for row in self.rows}
        return next((each for each in ("wrong", "inconclusive") if each in verdicts), "ok")

    @property
    def ok(self) -> bool:
        """True if every gradient is right to within the error of what it is compared with."""
        return self.verdict == "ok"

    def raise_if_failed(self) -> None:
        """Raise an AssertionError with the report unless the check passed."""
        if not self.ok:
            raise AssertionError(f"\n{self}")

    def __str__(self) -> str:
        lines = [f"gradient check: {self.verdict.upper()}    noise of the function {self.noise:.1e}"]
        lines += [
            f"{row.name}: {row.verdict}, {row.slope:.9g} along a direction, "
            f"expected {row.expected:.9g} +- {row.error:.1e}"
            for row in self.rows
        ]
        return "\n".join(lines)


def check_opaque(
    forward: Callable[..., Any],
    backward: Callable[..., Any],
    inputs: Mapping[str, Array] | tuple[Array, ...],
    *,
    jvp: Callable[..., Any] | None = None,
    rtol: float = 1e-4,
    seed: int = 0,
) -> OpaqueReport:
    """Check a backward of code that NumPy cannot look into: C through ctypes, another process, single precision.

    With a ``jvp`` it is the adjoint identity <w, J v> = <J^T w, v>, to 1e-9. Without one, J v is a central difference.
    Its step is chosen for each input from the noise of the function, which is estimated first, and its error is stated.

    Parameters
    ----------
    forward : callable
        ``forward(*inputs)``, or ``forward(**inputs)`` for a dict, returns an array.
    backward : callable
        ``backward(dout, *inputs)`` returns the gradients: one array, a tuple, or a dict by name.
    inputs : dict or tuple of arrays
        Those of whole numbers, such as tokens, are held fixed.
    jvp : callable, optional
        ``jvp(tangents, *inputs)``, ``tangents`` like ``inputs``, returns J v.
    rtol : float
        If the error of the difference exceeds this, relative to the derivative, the verdict is ``inconclusive``.
    seed : int

    Returns
    -------
    OpaqueReport

    Raises
    ------
    ValueError, TypeError
        If names or shapes do not fit.

    References
    ----------
    Moré and Wild (2011), "Estimating computational noise"; (2012), "Estimating derivatives of noisy simulations".

    Examples
    --------
    >>> x = np.array([0.5, -1.0], np.float32)
    >>> check_opaque(np.tanh, lambda dout, x: dout * (1 - np.tanh(x) ** 2), (x,), rtol=1e-3).verdict
    'ok'
    >>> check_opaque(np.tanh, lambda dout, x: dout * (1 - np.tanh(x)), (x,)).verdict
    'wrong'
    """
    by_name = isinstance(inputs, Mapping)
    named = inputs if by_name else {f"input {place}": value for place, value in enumerate(inputs)}
    given = as_dict(named, "inputs")
    names = [name for name, array in given.items() if array.dtype.kind == "f"]

    def call(function: Callable[..., Any], values: Mapping[str, Array], *first: Any) -> Any:
        return function(*first, **values) if by_name else function(*first, *values.values())

    rng = private_stream(seed, "opaque")
    output = np.asarray(call(forward, given))
    w = rng.standard_normal(output.shape).astype(output.dtype)
    result = call(backward, given, w.copy())
    listed = list(result) if isinstance(result, (tuple, list)) else [result]
    if len(listed) == len(given):  # what it says of whole numbers is not looked at
        listed = [part for name, part in zip(given, listed, strict=True) if name in names]
    gradients = as_dict(result if isinstance(result, Mapping) else listed, "gradients")
    if len(gradients) != len(names):
        raise ValueError(f"backward: expected {len(names)} gradients ({', '.join(names)}), got {len(gradients)}")
    gradients = dict(zip(names, gradients.values(), strict=True)) if not isinstance(result, Mapping) else gradients

    def along(direction: Mapping[str, Array], step: float) -> float:
        moved = {name: array.copy() for name, array in given.items()}
        for name, part in direction.items():
            moved[name] += (step * part).astype(moved[name].dtype)
        return float(np.sum(w * np.asarray(call(forward, moved), np.float64)))

    rows, noise = [], 0.0
    for name in names:
        if gradients[name].shape != given[name].shape:
            shapes = f"shape {given[name].shape}, got {gradients[name].shape}"
            raise ValueError(f"backward: expected the gradient of {name} of {shapes}")
        v = {name: rng.standard_normal(given[name].shape)}
        slope = float(np.sum(gradients[name].astype(np.float64) * v[name]))
        if jvp is not None:
            tangents = {each: v[name] if each == name else np.zeros(given[each].shape) for each in given}
            expected = float(
                np.sum(w * np.asarray(call(jvp, given, tangents if by_name else tuple(tangents.values()))))
            )
            error, enough = 1e-9 * max(abs(expected), abs(slope), EPSILON), np.isfinite(expected)
        else:
            level = noise_of(lambda step, v=v: along(v, step), given[name].dtype)  # type: ignore[misc]
            expected, error = _difference(lambda step, v=v: along(v, step), level)  # type: ignore[misc]
            noise, enough = max(noise, level), error <= rtol * max(abs(expected), abs(slope))
        off = abs(slope - expected) > error or not np.isfinite(gradients[name]).all()
        rows.append(Slope(name, "wrong" if off else "ok" if enough else "inconclusive", slope, expected, error))
    return OpaqueReport(tuple(rows), noise)


def noise_of(function: Callable[[float], float], dtype: Any = np.float64) -> float:
    """The noise of a function of one number near 0, from a table of differences (ECNoise, Moré and Wild 2011).

    Differences of a smooth part fall from order to order; those of noise of size s are s times sqrt((2k)!) / k!.
    """
    spacing = 100 * float(np.finfo(dtype).eps)
    values = np.array([function(spacing * (place - NOISE_POINTS // 2)) for place in range(NOISE_POINTS)])
    table, gamma, levels = values, 1.0, []
    for order in range(1, NOISE_POINTS - 1):
        table = np.diff(table)
        gamma *= 0.5 * order / (2 * order - 1)
        levels.append(float(np.sqrt(gamma * np.mean(table**2))))
    rounding = float(np.finfo(dtype).eps) * float(np.abs(values).max(initial=0.0))
    return max(min(levels[2:]), rounding)


def _difference(function: Callable[[float], float], noise: float) -> tuple[float, float]:
    """A central difference and its error, at the step at which noise and truncation are about as large."""
    best = np.nan, np.inf
    for step in 10.0 ** -np.arange(0.5, 7.5, 0.5):
        wide, narrow = ((function(h) - function(-h)) / (2 * h) for h in (step, step / 2))
        found = (4 * narrow - wide) / 3  # Richardson: what is left is of order 4
        error = abs(found - narrow) + 8 * noise / step
        if error < best[1]:
            best = found, error
    return best
