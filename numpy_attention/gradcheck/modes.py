"""One gradient check: the entries or directions that are computed, and the verdict on the gradient."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from typing import NamedTuple

import numpy as np

from .._typing import Array
from .analytic import agreement, fault
from .derivatives import (
    WIDE,
    NotAnalyticError,
    Stencil,
    complex_step_along,
    complex_step_parameter,
    finite_difference_along,
    finite_difference_parameter,
)
from .diagnosis import Evidence, compare, listed
from .locate import MOST_ENTRIES, Region, find_region
from .parameters import Arrays, Loss, at, largest_entry, one_entry
from .progress import progress
from .report import SMALL_SHARE, GradientReport, ParameterReport, Verdict
from .taylor import LOWEST_ORDER, TaylorTest, taylor_along, unit_direction

UNSETTLED = "the real difference does not settle, so it was not confirmed that the loss is complex-analytic"
NOWHERE_FINITE = "the loss is not finite at any step of the real difference that shows whether it is complex-analytic"


class GradientCheck(NamedTuple):
    """The gradient to check, and the options."""

    loss: Loss
    params: Arrays
    gradients: Arrays
    method: str
    mode: str
    directions: int
    rtol: float
    single: Mapping[str, float]  # rtol of the parameters in single precision
    own_scale: bool
    factors: Mapping[str, float]
    masks: Mapping[str, Array]
    rng: np.random.Generator  # for the directions along which the gradient is judged
    witness: np.random.Generator  # for those along which the loss is seen to be analytic
    show_progress: bool

    def rtol_of(self, name: str) -> float:
        """The tolerance of a parameter."""
        return self.single.get(name, self.rtol)

    def yardsticks(self, largest: Mapping[str, float]) -> dict[str, float]:
        """The entry that each parameter's errors are relative to, given the largest entry of each.

        The whole gradient's largest entry; a parameter's own if it exceeds 1e-3 of the whole and ``own_scale`` is set.
        """
        whole = max(largest.values())
        if whole == 0:
            return dict.fromkeys(largest, 1.0)
        own = self.own_scale
        return {
            name: each if own and name not in self.single and each > SMALL_SHARE * whole else whole
            for name, each in largest.items()
        }


class Expected(NamedTuple):
    """One parameter's gradient by the chosen method; ``problem`` explains a verdict other than ok."""

    gradient: Array | None
    uncertainty: Array | float = 0.0
    verdict: Verdict = "ok"
    problem: str = ""
    confirmed: bool = True  # False: what the complex step says may be wrong, so it accuses nobody
    region: Region | None = None  # ``gradient`` is that of a sample of these slices alone


class Along(NamedTuple):
    """The verdict along one direction, and |g.d - expected| divided by the norm of g * d."""

    verdict: Verdict
    deviation: float = np.nan


class Found(NamedTuple):
    """The expected gradients that were computed, notes for the report, and the largest deviation of a direction."""

    expected: dict[str, Expected]
    notes: list[str]
    deviation: float | None = None


def run(check: GradientCheck, value: float) -> GradientReport:
    """The report of ``check``, given the loss at the parameters."""
    if check.method == "taylor":
        return to_report(check, taylor(check), value)
    if check.mode == "full":
        return to_report(check, Found(every_entry(check, check.params), []), value)
    return to_report(check, directional(check), value)


def every_entry(check: GradientCheck, names: Iterable[str]) -> dict[str, Expected]:
    """The expected gradient of each of ``names``, entry by entry."""
    names = list(names)
    with progress(sum(check.params[name].size for name in names), enabled=check.show_progress) as count:
        if check.method != "complex-step":  # a Taylor remainder belongs to a direction and shows no entries
            return {
                name: Expected(*finite_difference_parameter(check.loss, check.params, name, count=count))
                for name in names
            }
        expected = {}
        for name in names:
            try:
                expected[name] = Expected(complex_step_parameter(check.loss, check.params, name, count=count))
            except NotAnalyticError as error:
                expected[name] = not_analytic(f"{error}. Use method='finite-difference'")
        return seen_to_be_analytic(check, expected)


def not_analytic(problem: str) -> Expected:
    """No gradient, and the reason."""
    return Expected(None, verdict="not analytic", problem=problem)


def seen_to_be_analytic(check: GradientCheck, expected: Mapping[str, Expected]) -> dict[str, Expected]:
    """``expected``, with the verdict of real differences on the complex step.

    One difference, along a direction in which all parameters weigh the same, clears most of them at once. Parameters
    whose gradient is small or zero are left out, as the reason may be a lost imaginary part. They get a difference of
    their own, and so do all if the common one does not agree.
    """
    gradients = {name: found.gradient for name, found in expected.items() if found.gradient is not None}
    largest = {name: largest_entry(gradient) for name, gradient in gradients.items()}
    whole = max(largest.values(), default=0.0)
    together = {
        name: check.witness.standard_normal(gradient.shape) / largest[name]
        for name, gradient in gradients.items()
        if largest[name] > SMALL_SHARE * whole
    }
    if together:
        slope = sum(float(np.sum(gradients[name] * part)) for name, part in together.items())
        if agreement(check.loss, check.params, together, slope).verdict != "yes":
            together = {}
    found = dict(expected)
    for name, gradient in gradients.items():
        if name in together:
            continue
        direction = {name: check.witness.standard_normal(gradient.shape)}
        slope = float(np.sum(gradient * direction[name]))
        verdict, step = agreement(check.loss, check.params, direction, slope)
        if verdict == "no":
            found[name] = not_analytic(fault(check.loss, check.params, direction, step))
        elif verdict == "not finite":
            found[name] = expected[name]._replace(verdict="inconclusive", problem=NOWHERE_FINITE)
        elif verdict == "unsure":
            found[name] = expected[name]._replace(verdict="inconclusive", problem=UNSETTLED, confirmed=False)
    return found


def directional(check: GradientCheck) -> Found:
    """Random directions over all parameters; where one fails, every entry of the parameters that it fails for."""
    yardstick = check.yardsticks(largest_of(check, {}))
    # Apart, as what is right in single precision would hide what is wrong in double precision.
    groups = [[name for name in check.params if (name in check.single) is single] for single in (False, True)]
    directions = [
        {name: part for name, part in random_direction(check, yardstick).items() if name in group}
        for group in groups
        if group
        for _ in range(check.directions)
    ]
    judged: list[Along] = []
    failed: list[Arrays] = []
    for direction in directions:
        judged.append(along(check, direction))
        if judged[-1].verdict != "ok":
            failed.append(direction)
            break  # one is enough to look for the entries
    deviation = max(one.deviation for one in judged)
    if not failed:
        note = f"{check.directions} random directions over all parameters; no entry was checked on its own."
        return Found({}, [note], deviation)
    suspects = failing_alone(check, check.params, failed) if len(failed[0]) > 1 else list(failed[0])
    expected = entries(check, suspects)
    notes = [
        f"A random direction failed: looked for the wrong entries of {', '.join(suspects) or 'no parameter alone'}."
    ]
    # A parameter may have passed only because a wrong gradient made the yardstick too long.
    while suspects and (rest := [name for name in check.params if name not in expected]):
        true = check.yardsticks(largest_of(check, expected))
        if all(true[name] > 0.9 * yardstick[name] for name in rest):
            break
        yardstick = true
        suspects = failing_alone(check, rest, [random_direction(check, yardstick) for _ in range(check.directions)])
        expected |= entries(check, suspects)
        if suspects:
            notes.append(f"By the true size of those, entries of {', '.join(suspects)} too.")
    if all(row.verdict == "ok" for row in rows(check, expected)):
        expected |= every_entry(check, [name for name in check.params if name not in expected])
        notes.append("That did not explain it: checked every entry of every parameter.")
    return Found(expected, notes, deviation)


def failing_alone(check: GradientCheck, names: Iterable[str], directions: list[Arrays]) -> list[str]:
    """The parameters whose own part of any of ``directions`` fails."""
    return [
        name
        for name in names
        if any(name in direction and along(check, {name: direction[name]}).verdict != "ok" for direction in directions)
    ]


def entries(check: GradientCheck, names: Iterable[str]) -> dict[str, Expected]:
    """The expected gradient of each of ``names``: every entry of small ones, the wrong entries of large ones."""
    names = list(names)
    large = [name for name in names if check.params[name].size > MOST_ENTRIES]
    found = every_entry(check, [name for name in names if name not in large])
    return {name: found[name] if name in found else wrong_entries(check, name) for name in names}


def wrong_entries(check: GradientCheck, name: str) -> Expected:
    """The expected gradient of a large parameter, where it is wrong; or a sample of it, if too much is wrong."""
    gradient = check.gradients[name]
    if not np.isfinite(gradient).all():
        return Expected(np.full(gradient.shape, np.nan), np.inf)
    scale = check.yardsticks(largest_of(check, {}))[name]

    def derivative(part: Array) -> tuple[float, float]:
        if check.method == "complex-step":
            return complex_step_along(check.loss, check.params, {name: part}), 0.0
        found = finite_difference_along(check.loss, check.params, {name: part})
        return float(found.gradient), float(found.error)

    def miss(part: Array) -> float:
        value, uncertainty = derivative(part)
        error = float(np.sum(gradient * part)) - value
        allowed = check.rtol_of(name) * max(1.0, float(np.sqrt(np.sum((gradient * part) ** 2)))) + uncertainty
        return error if abs(error) > allowed else 0.0

    try:
        direction = check.rng.standard_normal(gradient.shape) / scale
        region = find_region(miss, direction)
        slices = region.slices if region.small else region.sample()
        block = np.ix_(*slices)
        values, errors = np.empty(gradient[block].shape), np.empty(gradient[block].shape)
        with progress(values.size, enabled=check.show_progress) as count:
            for place in np.ndindex(values.shape):
                index = tuple(int(each[i]) for each, i in zip(slices, place, strict=True))
                values[place], errors[place] = derivative(one_entry(check.params[name], index))
                count()
    except NotAnalyticError as error:
        return not_analytic(f"{error}. Use method='finite-difference'")
    if not region.small:
        return Expected(values, errors, region=region)
    expected, uncertainty = gradient.astype(float), np.zeros(gradient.shape)
    expected[block], uncertainty[block] = values, errors
    return Expected(expected, uncertainty)


def along(check: GradientCheck, direction: Mapping[str, Array]) -> Along:
    """Judge the gradient along ``direction``, whose unit is one entry of yardstick size.

    The tolerance is rtol |g * d|, with |g * d| the size of g.d for a random d: the sum of errors of rtol per entry, if
    these are as random as the direction.
    """
    with np.errstate(invalid="ignore"):  # infinite gradients are wrong, see below
        products = {name: check.gradients[name] * part for name, part in direction.items()}
        slope = sum(float(np.sum(part)) for part in products.values())
        sizes = {name: float(np.sqrt(np.sum(part**2))) for name, part in products.items()}
        size = float(np.sqrt(sum(each**2 for each in sizes.values())))
    if not np.isfinite(size):
        return Along("wrong")
    unit = max(1.0, size)
    tolerance = max(check.rtol, float(np.sqrt(sum((check.rtol_of(name) * each) ** 2 for name, each in sizes.items()))))
    if check.method == "finite-difference":
        value, uncertainty = finite_difference_along(check.loss, check.params, direction)
        if not uncertainty <= tolerance:
            return Along("inconclusive")
        return Along("wrong" if abs(slope - value) > tolerance + uncertainty else "ok", abs(slope - value) / unit)
    try:
        value = complex_step_along(check.loss, check.params, direction)
    except NotAnalyticError:
        return Along("not analytic")
    analytic = agreement(check.loss, check.params, direction, value).verdict
    if analytic == "no":
        return Along("not analytic")
    if analytic == "unsure":
        return Along("inconclusive", abs(slope - value) / unit)
    wrong = abs(slope - value) > tolerance
    verdict: Verdict = "wrong" if wrong else "inconclusive" if analytic == "not finite" else "ok"
    return Along(verdict, abs(slope - value) / unit)


def random_direction(check: GradientCheck, yardstick: Mapping[str, float]) -> Arrays:
    """A normal direction in which every parameter counts in units of its own yardstick.

    So an error of one tolerance weighs the same in every parameter. A factor of 1.0005 on a parameter whose gradient is
    1e-3 of the whole then changes g.d by 5e-4 of it, and still by 5e-7 where parameters share one yardstick: the
    tolerance is 1e-12. Normal numbers and not signs, as errors of equal size (a transpose) can cancel against signs.
    """
    return {name: check.rng.standard_normal(array.shape) / yardstick[name] for name, array in check.params.items()}


def taylor(check: GradientCheck) -> Found:
    """Taylor's test of each parameter (full) or of all at once (directional); entries only of those that fail."""
    whole = max(map(largest_entry, check.gradients.values()))
    groups = [[name] for name in check.params] if check.mode == "full" else [list(check.params)]
    notes: list[str] = []
    failed: dict[str, tuple[Verdict, TaylorTest]] = {}
    for names in groups:
        verdict, test = worst_taylor(check, names, whole)
        label = names[0] if check.mode == "full" else "all parameters"
        notes.append(f"Taylor, {label}: {test}.")
        if verdict != "ok":
            failed.update(dict.fromkeys(names, (verdict, test)))
    if check.mode == "directional" and failed:
        alone = {name: worst_taylor(check, [name], whole) for name in check.params}
        failed = {name: found for name, found in alone.items() if found[0] != "ok"} or failed
    expected = every_entry(check, failed)
    for name, (_, test) in failed.items():
        # The order falls at a kink too: without an entry that finite differences call wrong, nobody is accused.
        expected[name] = expected[name]._replace(verdict="inconclusive", problem=f"Taylor remainder: {test}")
    return Found(expected, notes)


def worst_taylor(check: GradientCheck, names: list[str], whole: float) -> tuple[Verdict, TaylorTest]:
    """The worst verdict along random unit directions over ``names``.

    Right is order 3, with a remainder too small to hide an error of rtol of the whole gradient.
    """
    params = {name: check.params[name] for name in names}
    order: tuple[Verdict, ...] = ("wrong", "inconclusive", "ok")
    judged: list[tuple[Verdict, TaylorTest]] = []
    for _ in range(check.directions):
        test = taylor_along(check.loss, check.params, check.gradients, unit_direction(check.rng, params))
        enough = test.bound <= check.rtol * whole
        judged.append(("wrong" if test.order < LOWEST_ORDER else "ok" if enough else "inconclusive", test))
    return min(judged, key=lambda each: order.index(each[0]))


def largest_of(check: GradientCheck, expected: Mapping[str, Expected]) -> dict[str, float]:
    """The largest entry of each parameter's gradient: the expected one if it was computed, else the given one."""
    found = {name: expected[name].gradient if name in expected else None for name in check.params}
    return {name: largest_entry(check.gradients[name] if array is None else array) for name, array in found.items()}


def rows(check: GradientCheck, expected: Mapping[str, Expected]) -> list[ParameterReport]:
    """One row per parameter; those that are not in ``expected`` have passed without a look at their entries."""
    largest = largest_of(check, expected)
    # If the true gradient is all zero the given one is its own yardstick: all of it is wrong.
    yardstick = check.yardsticks(largest if any(largest.values()) else largest_of(check, {}))
    whole = max(largest.values()) or 1.0
    found = []
    for name, gradient in check.gradients.items():
        share = largest[name] / whole
        wanted = expected.get(name, Expected(None))
        row = ParameterReport(name, gradient.shape, "ok", largest[name], share)
        if wanted.gradient is not None:
            block = None if wanted.region is None else np.ix_(*wanted.region.sample())
            evidence = Evidence(
                name=name,
                gradient=gradient if block is None else gradient[block],
                expected=wanted.gradient,
                uncertainty=wanted.uncertainty,
                yardstick=yardstick[name],
                share=share,
                rtol=check.rtol_of(name),
                factors=check.factors,
                inputs=check.params if block is None else {},
                mask=check.masks.get(name) if block is None else None,
            )
            row = compare(evidence)
            if wanted.region is not None:
                row = of_sample(row, gradient.shape, wanted.region)
        if row.verdict == "wrong" and check.method == "complex-step" and wanted.confirmed:
            row = second_opinion(check, row)
        # A wrong entry says more than doubts about the whole parameter.
        if wanted.verdict != "ok" and (row.verdict != "wrong" or not wanted.confirmed):
            row = dataclasses.replace(row, verdict=wanted.verdict, diagnosis=wanted.problem)
        found.append(row)
    return found


def of_sample(row: ParameterReport, shape: tuple[int, ...], region: Region) -> ParameterReport:
    """The row of a sample as that of the whole parameter."""
    assert row.index is not None
    index = tuple(int(slices[i]) for slices, i in zip(region.sample(), row.index, strict=True))
    known = [
        f"only {listed(axis, slices, len(shape))} wrong; "
        for axis, (slices, complete) in enumerate(zip(region.slices, region.complete, strict=True))
        if complete and len(slices) < shape[axis]
    ]
    looked = f"in the {int(np.prod(row.shape))} of {int(np.prod(shape)):,} entries that were looked at"
    told = f"{''.join(known)}{looked}: {row.diagnosis}"
    return dataclasses.replace(row, shape=shape, index=index, verdict="wrong", diagnosis=told)


def second_opinion(check: GradientCheck, row: ParameterReport) -> ParameterReport:
    """The row of a wrong gradient, unless a real difference at its worst entry confirms the gradient.

    Then the loss is not analytic, in a part too small to be seen along a direction.
    """
    if row.index is None or row.gradient is None or row.expected is None or not np.isfinite(row.gradient):
        return row
    here = {row.name: one_entry(check.params[row.name], row.index)}
    # A large error needs no accurate difference.
    large = abs(row.gradient - row.expected) > 1e-6 * max(abs(row.gradient), abs(row.expected))
    stencil = Stencil(step=1e-3, order=4, iterations=2) if large else WIDE
    value, uncertainty = finite_difference_along(check.loss, check.params, here, stencil)
    if not abs(value - row.gradient) + uncertainty <= 0.1 * abs(row.gradient - row.expected):
        return row
    problem = (
        f"the loss is not complex-analytic in {at(row.name, row.index)}: the complex step gives "
        f"{row.expected:.9g} there, and a finite difference, {value:.9g}, agrees with the given gradient"
    )
    return dataclasses.replace(row, verdict="not analytic", diagnosis=problem)


def to_report(check: GradientCheck, found: Found, value: float) -> GradientReport:
    """The report; ``nothing_to_test`` if the whole gradient is no larger than the rounding of the loss makes it."""
    largest = max(largest_of(check, found.expected).values())
    whole = max(largest, *map(largest_entry, check.gradients.values()))
    size = max(1.0, *map(largest_entry, check.params.values()))
    table = rows(check, found.expected)
    nothing = whole * size <= 1e-15 * abs(value) and all(row.verdict in ("ok", "wrong") for row in table)
    if nothing:
        table = [dataclasses.replace(row, verdict="empty", diagnosis="") for row in table]
    return GradientReport(
        method=check.method,
        mode=check.mode,
        rtol=check.rtol,
        own_scale=check.own_scale,
        largest=largest,
        evaluations=check.loss.evaluations,
        parameters=tuple(table),
        notes=tuple(found.notes),
        nothing_to_test=nothing,
        deviation=found.deviation,
    )
