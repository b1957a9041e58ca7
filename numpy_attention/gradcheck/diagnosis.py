"""Compare one parameter's gradient with the expected one, and name the pattern of the error."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np

from .._typing import Array
from .report import ParameterReport, Verdict

# A pattern explains the error if what remains is at most this part of it.
EXPLAINED = 1e-6
NO_PATTERN = "no simple pattern"
MOST_REORDERED = 64  # slices of an axis whose order is looked at
MOST_COMPARED = 4_000_000  # entries of all pairs of such slices


class Evidence(NamedTuple):
    """One parameter's gradient, the expected one, and the scale on which they are compared."""

    name: str
    gradient: Array
    expected: Array  # NaN where it is unknown
    uncertainty: Array | float  # of each expected entry; 0 for the complex step
    yardstick: float  # the entry that errors are relative to
    share: float  # largest expected entry over that of the whole gradient
    rtol: float
    factors: Mapping[str, float]
    mask: Array | None  # bool, True where a gradient may be; broadcasts to the parameter
    inputs: Mapping[str, Array]  # all parameters, in which a pattern may show

    def known(self) -> Array:
        """True where the expected value is certain to within the tolerance."""
        return np.broadcast_to(np.asarray(self.uncertainty) <= self.rtol * self.yardstick, self.expected.shape)


def compare(case: Evidence) -> ParameterReport:
    """The row of one parameter.

    An entry whose uncertainty exceeds the tolerance, rtol * yardstick, is neither right nor wrong. Any other entry is
    wrong if |gradient - expected| exceeds the sum of tolerance and uncertainty.
    """
    gradient = case.gradient.astype(np.float64)
    largest = float(np.abs(case.expected[np.isfinite(case.expected)]).max(initial=0.0))
    if gradient.size == 0:
        return ParameterReport(case.name, gradient.shape, "ok", largest, case.share)
    tolerance = case.rtol * case.yardstick
    known = case.known()
    error = np.where(np.isfinite(gradient), np.abs(gradient - case.expected), np.inf)
    wrong = ~np.isfinite(gradient) | (known & (error > tolerance + case.uncertainty))
    verdict: Verdict = "ok"
    diagnosis = ""
    # Report the worst error among the entries that could be judged.
    worst = np.argmax(np.where(wrong | known, error, -1.0))
    if wrong.any():
        verdict, diagnosis = "wrong", diagnose(case._replace(gradient=gradient), wrong)
    elif not known.all():
        verdict, worst = "inconclusive", np.argmax(case.uncertainty)
        diagnosis = (
            f"the finite difference's own error estimate, {np.max(case.uncertainty):.1e}, exceeds the "
            f"tolerance, {tolerance:.1e}: neither right nor wrong"
        )
    index = tuple(int(i) for i in np.unravel_index(worst, gradient.shape))
    ratio, cosine = _ratio_and_cosine(gradient, case.expected)
    return ParameterReport(
        name=case.name,
        shape=gradient.shape,
        verdict=verdict,
        largest=largest,
        share=case.share,
        absolute_error=float(error[index]),
        relative_error=float(error[index] / case.yardstick),
        index=index,
        gradient=float(gradient[index]),
        expected=float(case.expected[index]),
        ratio=ratio,
        cosine=cosine,
        diagnosis=diagnosis,
    )


def _ratio_and_cosine(gradient: Array, expected: Array) -> tuple[float | None, float | None]:
    """<g, e> / <e, e> and <g, e> / |g| |e| over the known entries, scaled so that no square underflows."""
    known = np.isfinite(expected)
    gradient, expected = gradient[known], expected[known]
    size_g, size_e = float(np.abs(gradient).max(initial=0.0)), float(np.abs(expected).max(initial=0.0))
    if not (0 < size_g < np.inf and 0 < size_e < np.inf):
        return None, None
    g, e = (gradient / size_g).ravel(), (expected / size_e).ravel()
    product, square_g, square_e = float(g @ e), float(g @ g), float(e @ e)
    return product / square_e * size_g / size_e, product / np.sqrt(square_g * square_e)


def diagnose(case: Evidence, wrong: Array) -> str:
    """The first pattern that explains the error; without one, which entries are wrong."""
    if not np.isfinite(case.gradient).all():
        return f"{np.count_nonzero(~np.isfinite(case.gradient))} of {case.gradient.size} entries are not finite"
    found = next(filter(None, _patterns(case, wrong)))
    return found + _factor_there(case, wrong) if found.startswith("only ") else found


def _patterns(case: Evidence, wrong: Array) -> Iterator[str]:
    """For each pattern, the most telling first, its sentence or an empty string; the last one is never empty."""
    if not case.gradient.any():
        yield "the whole gradient is zero: a missing term"
    yield _only_where_masked(case, wrong)
    if not np.nan_to_num(case.expected, nan=1.0).any():
        yield "the true gradient is zero"
    yield _constant_factor(case)
    yield _transpose(case)
    yield _reordered(case)
    if np.count_nonzero(wrong) == 1 < wrong.size:
        yield f"only the entry {[int(i) for i in np.argwhere(wrong)[0]]} is wrong"
    yield _zero_slices(case, wrong)
    yield _extra_term(case)
    yield _sign_of_input(case, wrong)
    yield _wrong_slices(wrong)
    yield _which(wrong)


def _only_where_masked(case: Evidence, wrong: Array) -> str:
    if case.mask is None:
        return ""
    mask = np.broadcast_to(case.mask, wrong.shape)
    if not mask.all() and not (wrong & mask).any():
        return "wrong only where the mask is False"
    return ""


def _explains(case: Evidence, pattern: Array) -> bool:
    """True if ``gradient`` equals ``pattern`` up to EXPLAINED of its error and the uncertainty of ``expected``."""
    known = case.known()
    error = np.abs(case.gradient - case.expected)[known].max()
    unsure = 2 * float(np.broadcast_to(case.uncertainty, known.shape)[known].max())
    return bool(np.abs(case.gradient - pattern)[known].max() <= EXPLAINED * error + unsure)


def _constant_factor(case: Evidence) -> str:
    """Gradient = c expected, with the least-squares c, named if it is one of the known factors."""
    ratio, _ = _ratio_and_cosine(case.gradient, case.expected)
    if ratio is None or not _explains(case, ratio * case.expected):
        return ""
    # Rounding of the ratio; more for finite differences and single precision, whose tolerance is larger.
    rounding = max(1e-9, 0.1 * case.rtol)
    known = [name for name, value in _known_factors(case.factors) if abs(ratio / value - 1) <= rounding]
    # Any number is a multiple of any other: with one entry only a known factor is a pattern.
    if not known and np.count_nonzero(np.nan_to_num(case.expected)) < 2:
        return ""
    names = f" = {' = '.join(known)}" if known else ""
    return f"{_multiple(ratio)} times the true gradient: a constant factor{names}"


def _multiple(ratio: float) -> str:
    """``2`` or ``0.142857``, but ``1 + 1.0e-06`` where six digits would show 1."""
    beyond = ratio - 1
    if abs(beyond) >= 1e-4:
        return f"{ratio:.6g}"
    return f"1 {'+' if beyond > 0 else '-'} {abs(beyond):.1e}"


def _known_factors(factors: Mapping[str, float]) -> Iterator[tuple[str, float]]:
    """-1; 2 and the caller's factors, their inverses, and all of these negated. Factors of 1 or -1 are left out."""
    yield "-1", -1.0
    for name, value in {"2": 2.0, **factors}.items():
        if abs(value) == 1:
            continue
        for sign in (1, -1):
            prefix = "-" if sign < 0 else ""
            yield f"{prefix}{name}", sign * value
            yield f"{prefix}1/{name}", sign / value


def _transpose(case: Evidence) -> str:
    if case.gradient.ndim < 2 or min(case.gradient.shape[-2:]) < 2:
        return ""
    swapped = np.swapaxes(case.expected, -1, -2).reshape(case.expected.shape)
    return "the transpose of the true gradient" if _explains(case, swapped) else ""


def _reordered(case: Evidence) -> str:
    """The true gradient with an axis reversed or its slices in another order, or with its axes in another order."""
    true, shape = case.expected, case.gradient.shape
    if not np.isfinite(true).all():
        return ""
    for axis, length in enumerate(shape):
        if length > 1 and _explains(case, np.flip(true, axis)):
            return f"the true gradient reversed along axis {axis}"
    for order in itertools.permutations(range(len(shape))):
        turned = true.transpose(order)
        if order != tuple(range(len(shape))) and turned.shape == shape and _explains(case, turned):
            return f"the true gradient with its axes in the order {order}"
    for axis, length in enumerate(shape):
        if 1 < length <= MOST_REORDERED and length * true.size <= MOST_COMPARED:
            given, wanted = (np.moveaxis(each, axis, 0).reshape(length, -1) for each in (case.gradient, true))
            order = np.abs(given[:, None] - wanted[None]).max(axis=2).argmin(axis=1)
            if len(set(order)) == length and _explains(case, np.take(true, order, axis=axis)):
                return f"the true gradient with axis {axis} in the order {', '.join(map(str, order[:12]))}"
    return ""


def _extra_term(case: Evidence) -> str:
    """The error is constant, or a multiple of an input, or linear in one along an axis."""
    error = case.gradient - case.expected
    if not np.isfinite(error).all() or error.size < 3:
        return ""
    if _explains(case, case.expected + error.mean()):
        return f"off by {error.mean():.6g} in every entry: a term too many or too few"
    for name, value in case.inputs.items():
        if value.shape == error.shape and value.any():
            factor = float(np.sum(error * value) / np.sum(value * value))
            if _explains(case, case.expected + factor * value):
                return f"off by {factor:.6g} times {name}: a term too many or too few, such as a penalty"
    for axis, length in enumerate(error.shape):
        if length >= 2 and error.ndim > 1 and _explains(case, case.expected + error.mean(axis=axis, keepdims=True)):
            return f"the error is the same all along axis {axis}: a mean or a sum over it is missing or superfluous"
        for name, value in case.inputs.items():
            if length >= 4 and value.shape == error.shape:
                centred = value - value.mean(axis=axis, keepdims=True)
                spread = (centred * centred).sum(axis=axis, keepdims=True)
                slope = (error * centred).sum(axis=axis, keepdims=True) / np.where(spread > 0, spread, 1)
                if _explains(case, case.expected + error.mean(axis=axis, keepdims=True) + slope * centred):
                    return (
                        f"along axis {axis} the error is linear in {name}: the path through its mean or its variance "
                        "over that axis is missing, or wrong"
                    )
    return ""


def _sign_of_input(case: Evidence, wrong: Array) -> str:
    """Wrong exactly where an input is negative, or where it is positive: a mask that was left out or turned around."""
    for name, value in case.inputs.items():
        if value.shape == wrong.shape and np.count_nonzero(wrong) > 1:
            for sign, here in (("negative", value < 0), ("positive", value > 0)):
                if (wrong == here).all() and not here.all():
                    return f"wrong exactly where {name} is {sign}: a mask that is missing"
    return ""


def _factor_there(case: Evidence, wrong: Array) -> str:
    """The factor by which the wrong entries are off, if it is one and the others are right."""
    there = wrong & np.isfinite(case.expected)
    if there.sum() < 2 or there.all():
        return ""
    given, true = case.gradient[there], case.expected[there]
    if not given.any() or not true.any():
        return ""
    ratio = float(given @ true / (true @ true))
    off = np.abs(given - ratio * true).max() <= EXPLAINED * np.abs(given - true).max()
    return f": {_multiple(ratio)} times the true gradient there" if off else ""


def _which(wrong: Array) -> str:
    """How many entries are wrong, and the smallest block that they are in."""
    count, size = int(np.count_nonzero(wrong)), wrong.size
    if size == 1:
        return "the only entry is wrong"
    told = f"all {size} entries are wrong" if count == size else f"{count} of {size} entries are wrong"
    ends = []
    for axis, length in enumerate(wrong.shape):
        slices = np.flatnonzero(wrong.any(axis=tuple(other for other in range(wrong.ndim) if other != axis)))
        ends.append((int(slices[0]), int(slices[-1]) + 1, length))
    if any(high - low < length for low, high, length in ends):
        block = ", ".join(":" if high - low == length else f"{low}:{high}" for low, high, length in ends)
        told += f", all in [{block}]"
        if any(low > 0 and high < length for low, high, length in ends):
            return f"{told}, which leaves out both ends: = in place of += where windows overlap?"
    return f"{told}; {NO_PATTERN}: a missing or wrong term"


def _zero_slices(case: Evidence, wrong: Array) -> str:
    """All errors lie in some rows (columns, ...), which are zero."""
    for axis, slices in _slices_with_errors(wrong):
        if not np.take(case.gradient, slices, axis=axis).any():
            return f"{listed(axis, slices, wrong.ndim)} zero, the rest is right: a missing term"
    return ""


def _wrong_slices(wrong: Array) -> str:
    """All errors lie in at most half of the rows (columns, ...)."""
    found = [(len(slices) / wrong.shape[axis], axis, slices) for axis, slices in _slices_with_errors(wrong)]
    if not found:
        return ""
    part, axis, slices = min(found, key=lambda each: each[0])
    return f"only {listed(axis, slices, wrong.ndim)} wrong" if part <= 0.5 else ""


def _slices_with_errors(wrong: Array) -> Iterator[tuple[int, Array]]:
    """For each axis, the slices with errors, unless every slice has some."""
    for axis in range(wrong.ndim):
        others = tuple(other for other in range(wrong.ndim) if other != axis)
        slices = np.flatnonzero(wrong.any(axis=others))
        if len(slices) < wrong.shape[axis]:
            yield axis, slices


def listed(axis: int, slices: Array, ndim: int) -> str:
    """``rows 0, 3 are``, ``column 2 is``; at most six numbers."""
    word = "entry" if ndim == 1 else ("row", "column")[axis] if ndim == 2 else "index"
    plural = {"entry": "entries", "row": "rows", "column": "columns", "index": "indices"}[word]
    numbers = ", ".join(map(str, slices[:6])) + (f", ... ({len(slices)} in all)" if len(slices) > 6 else "")
    where = f" of axis {axis}" if ndim > 2 else ""
    return f"{word} {numbers}{where} is" if len(slices) == 1 else f"{plural} {numbers}{where} are"
