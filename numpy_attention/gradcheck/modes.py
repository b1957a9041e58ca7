"""How much is checked: every entry, a few directions, or orders of convergence; and the rows of the report."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from .analytic import one_entry
from .derivatives import finite_difference_along
from .diagnosis import Comparison, compare
from .oracle import (
    UNSETTLED,
    Check,
    Expected,
    along,
    every_entry,
    largest_entry,
    random_direction,
    taylor_verdict,
    yardsticks,
)
from .parameters import at
from .report import GradientReport, ParameterReport, Verdict
from .taylor import TaylorTest, taylor_along, unit_direction


class Found(NamedTuple):
    """The expected gradients that were computed, what else there is to say, and how far off the directions were."""

    expected: dict[str, Expected]
    notes: list[str]
    deviation: float | None = None


def run(check: Check, value: float) -> GradientReport:
    """The report of ``check``, given the loss at the parameters."""
    modes = {"full": full, "directional": directional}
    return to_report(check, (taylor if check.method == "taylor" else modes[check.mode])(check), value)


def full(check: Check) -> Found:
    """Every entry of every parameter."""
    return Found(every_entry(check, check.params), [])


def directional(check: Check) -> Found:
    """Random directions over all parameters; where one fails, every entry of what fails along it on its own."""
    yardstick = yardsticks(
        {name: largest_entry(array) for name, array in check.gradients.items()}, own_scale=check.own_scale
    )
    directions = [random_direction(check, yardstick) for _ in range(check.directions)]
    judged = [along(check, direction) for direction in directions]
    failed = [direction for direction, one in zip(directions, judged, strict=True) if one.verdict != "ok"]
    deviation = max(one.deviation for one in judged)
    if not failed:
        note = f"{check.directions} random directions over all parameters; no entry was checked on its own."
        unsettled = [f"Along a direction, {UNSETTLED}."] if any(one.unsettled for one in judged) else []
        return Found({}, [note, *unsettled], deviation)
    suspects = [
        name
        for name in check.params
        if any(along(check, {name: direction[name]}).verdict != "ok" for direction in failed)
    ]
    found = check_suspects(check, suspects, f"{len(failed)} of {check.directions} random directions failed")
    return overlooked(check, found, yardstick)._replace(deviation=deviation)


def overlooked(check: Check, found: Found, yardstick: Mapping[str, float]) -> Found:
    """``found``, and what passed only because another parameter's wrong gradient made the yardstick too long.

    Once the true gradients of the others are known and shorter, the rest is judged again along directions of its own.
    """
    expected, notes = dict(found.expected), list(found.notes)
    while rest := [name for name in check.params if name not in expected]:
        true = yardsticks(largest_of(check, expected), own_scale=check.own_scale)
        if all(true[name] > 0.9 * yardstick[name] for name in rest):
            break
        yardstick = true
        drawn = [random_direction(check, yardstick) for _ in range(check.directions)]
        suspects = [
            name for name in rest if any(along(check, {name: direction[name]}).verdict != "ok" for direction in drawn)
        ]
        if not suspects:
            break
        expected |= every_entry(check, suspects)
        notes.append(f"By the true size of those, every entry of {', '.join(suspects)} too.")
    return Found(expected, notes)


def check_suspects(check: Check, suspects: list[str], cause: str) -> Found:
    """Every entry of ``suspects``; of the other parameters too, if that does not explain what failed."""
    expected = every_entry(check, suspects)
    notes = [f"{cause}: checked every entry of {', '.join(suspects) or 'no parameter alone'}."]
    if all(row.verdict == "ok" for row in rows(check, expected, largest_of(check, expected))):
        expected |= every_entry(check, [name for name in check.params if name not in expected])
        notes.append("That did not explain it: checked every entry of every parameter.")
    return Found(expected, notes)


def taylor(check: Check) -> Found:
    """Orders of convergence, of each parameter (full) or of all at once (directional); entries only of what fails."""
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
    for name, (verdict, test) in failed.items():
        # Finite differences know entries only to 1e-6: where they find nothing, the order still stands.
        expected[name] = expected[name]._replace(verdict=verdict, problem=f"Taylor remainder: {test}")
    return Found(expected, notes)


def worst_taylor(check: Check, names: list[str], whole: float) -> tuple[Verdict, TaylorTest]:
    """The lowest verdict among the random unit directions over ``names``."""
    params = {name: check.params[name] for name in names}
    tests = [
        taylor_along(check.loss, check.params, check.gradients, unit_direction(check.rng, params))
        for _ in range(check.directions)
    ]
    judged = [(taylor_verdict(check, test, whole), test) for test in tests]
    return min(judged, key=lambda each: ("wrong", "inconclusive", "ok").index(each[0]))


def largest_of(check: Check, expected: Mapping[str, Expected]) -> dict[str, float]:
    """The largest entry of each parameter's gradient: of the expected one where there is one, else of the given one."""
    found = {name: expected[name].gradient if name in expected else None for name in check.params}
    return {name: largest_entry(check.gradients[name] if array is None else array) for name, array in found.items()}


def rows(check: Check, expected: Mapping[str, Expected], largest: Mapping[str, float]) -> list[ParameterReport]:
    """One row per parameter; those that are not in ``expected`` have passed without a look at their entries."""
    # Where the true gradient is all zero, what was given for it is its own yardstick: all of it is wrong.
    given = {name: largest_entry(array) for name, array in check.gradients.items()}
    yardstick = yardsticks(largest if any(largest.values()) else given, own_scale=check.own_scale)
    whole = max(largest.values()) or 1.0
    found = []
    for name, gradient in check.gradients.items():
        share = largest[name] / whole
        wanted = expected.get(name, Expected(None))
        row = ParameterReport(name, gradient.shape, "ok", largest[name], share)
        if wanted.gradient is not None:
            row = compare(
                Comparison(
                    name,
                    gradient,
                    wanted.gradient,
                    wanted.uncertainty,
                    yardstick[name],
                    share,
                    check.rtol,
                    check.factors,
                    check.masks.get(name),
                )
            )
        if row.verdict == "wrong" and check.method == "complex-step":
            row = second_opinion(check, row)
        # What is wrong entry by entry says more than what is doubtful as a whole.
        if wanted.verdict != "ok" and row.verdict != "wrong":
            row = dataclasses.replace(row, verdict=wanted.verdict, diagnosis=wanted.problem)
        found.append(row)
    return found


def second_opinion(check: Check, row: ParameterReport) -> ParameterReport:
    """The row of a wrong gradient, unless a real difference at its worst entry sides with it against the complex step.

    A part of the loss that is not analytic and too small for the comparison along directions shows here.
    """
    if row.index is None or row.gradient is None or row.expected is None or not np.isfinite(row.gradient):
        return row
    value, uncertainty = finite_difference_along(
        check.loss, check.params, {row.name: one_entry(check.params[row.name], row.index)}
    )
    if abs(value - row.gradient) + uncertainty > 0.1 * abs(row.gradient - row.expected):
        return row
    problem = (
        f"the loss is not complex-analytic in {at(row.name, row.index)}: the complex step says "
        f"{row.expected:.9g} there, and a finite difference, {value:.9g}, agrees with the given gradient"
    )
    return dataclasses.replace(row, verdict="not analytic", diagnosis=problem)


def to_report(check: Check, found: Found, value: float) -> GradientReport:
    """The report, with a word on whether there was anything to test."""
    expected = found.expected
    largest = largest_of(check, expected)
    whole = max(max(largest.values()), *map(largest_entry, check.gradients.values()))
    # Rounding of the loss alone makes gradients of this size.
    size = max(1.0, *map(largest_entry, check.params.values()))
    nothing = whole * size <= 1e-15 * abs(value)
    table = rows(check, expected, largest)
    if nothing and all(row.verdict in ("ok", "wrong") for row in table):
        table = [dataclasses.replace(row, verdict="ok", diagnosis="") for row in table]
    else:
        nothing = False
    return GradientReport(
        check.method,
        check.mode,
        check.rtol,
        check.own_scale,
        max(largest.values()),
        check.loss.evaluations,
        tuple(table),
        notes=(*found.notes, *(one.note for one in expected.values() if one.note)),
        nothing_to_test=nothing,
        deviation=found.deviation,
    )
