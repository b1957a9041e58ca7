"""The evidence that every derivative is right: each operation alone, then the whole model over the matrix of cases.

A check is a function without arguments that gives findings; a row sums up all findings of one operation or parameter.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, Literal, NamedTuple

import numpy as np

from .._typing import Array
from ..gradcheck import GradientReport, check_gradients, check_hessian
from ..gradcheck.report import SMALL_SHARE
from .cases import ALIGNMENTS, CELLS, SCALES, Case, every_case, make_batch, make_model, make_params
from .operations import Operation, check_operation, every_operation

Mode = Literal["full", "directional"]
Group = Literal["operation", "parameter", "model"]

# Gradients that are zero by structure may reach this share of the whole gradient, by rounding.
ROUNDING_SHARE = 1e-15

# From the gravest to the best.
VERDICTS = ("not analytic", "wrong", "not zero", "inconclusive", "empty", "not tested", "zero", "ok")

# Parameters' first names, in the order of the forward pass.
ROOMS = ("source_embedding", "encoder", "bridge", "alignment", "target_embedding", "decoder", "output")


class Finding(NamedTuple):
    """The result of one check for one operation or parameter."""

    group: Group
    name: str
    method: str  # complex step, finite differences, structural zero
    error: float  # relative; NaN where none was computed
    verdict: str
    where: str = ""  # the case, in words
    share: float = math.nan  # of a parameter: its largest entry over that of the whole gradient
    model: str = ""  # of a parameter: the cell, alignment and direction
    diagnosis: str = ""


class Row(NamedTuple):
    """All findings of one operation or parameter together."""

    group: Group
    name: str
    checks: int
    errors: dict[str, float]  # the worst, by method
    share: float  # the smallest over the models of the largest over their cases
    verdict: str
    remark: str  # place and diagnosis of a failure

    @property
    def ok(self) -> bool:
        """True if it was tested and every check passed."""
        return self.verdict in ("ok", "zero")


Check = Callable[[], list[Finding]]


def every_check(
    alignments: Iterable[str] = ALIGNMENTS, cells: Iterable[str] = CELLS, *, full: bool = False
) -> list[Check]:
    """All checks of the operations and of the models with these alignments and cells, to be called one by one.

    Parameters
    ----------
    alignments, cells : iterables of str
    full : bool
        Every entry in every case and by both methods. Otherwise small and large weights, and finite differences, are
        checked along random directions. So are gated cells on batches that are not ragged, at ordinary weights alone.

    Returns
    -------
    list of callables
        Each returns a list of :class:`Finding`.

    Examples
    --------
    >>> [finding.verdict for finding in every_check(["none"])[0]()]
    ['ok', 'ok']
    """
    mode: Mode = "full" if full else "directional"
    alignments, cells = list(alignments), list(cells)
    others = {*ALIGNMENTS, *CELLS} - {*alignments, *cells}
    operations = [each for each in every_operation() if others.isdisjoint(each.name.split(", "))]
    checks: list[Check] = [partial(operation_findings, operation, mode) for operation in operations]
    for case in every_case(alignments, cells):
        every_entry = case.scale == "ordinary" and (case.cell == "tanh" or case.lengths == "ragged")
        if full or case.cell == "tanh" or case.lengths == "ragged" or case.scale == "ordinary":
            checks.append(partial(complex_step_findings, case, "full" if every_entry else mode))
    base = [case for case in every_case(alignments, cells) if (case.lengths, case.scale) == ("ragged", "ordinary")]
    checks += [partial(finite_difference_findings, case, mode) for case in base]
    checks += [partial(hessian_findings, case) for case in base]
    return checks


def operation_findings(operation: Operation, mode: Mode) -> list[Finding]:
    """One operation: every entry by the complex step with the laws, and finite differences."""
    by_complex_step = check_operation(operation)
    by_difference = check_operation(operation, method="finite-difference", mode=mode)
    return [
        Finding(
            group="operation",
            name=operation.name,
            method=method,
            error=worst_error(report),
            verdict=report.verdict,
            diagnosis=diagnoses(report),
        )
        for method, report in (("complex step", by_complex_step), ("finite differences", by_difference))
    ]


class Loaded(NamedTuple):
    """A case made ready: the loss, the point, and the hand-written gradient there."""

    loss: Callable[[dict[str, Array]], Any]
    gradients: Callable[[dict[str, Array]], dict[str, Array]]
    params: dict[str, Array]
    factors: dict[str, float]


def load(case: Case, seed: int = 0) -> Loaded:
    """The model, parameters and batch of ``case``."""
    model = make_model(case.alignment, case.bidirectional, case.cell)
    batch = make_batch(model, case.lengths, seed)
    (B, T), U = batch.source.shape, batch.target_input.shape[1]
    return Loaded(
        lambda params: model.loss(params, batch),
        lambda params: model.loss_and_gradients(params, batch)[1],
        make_params(model, SCALES[case.scale], seed),
        {"B": B, "T": T, "U": U},
    )


def check_case(case: Case, mode: Mode, seed: int = 0) -> GradientReport:
    """The model's gradient against the complex step, every entry or along random directions."""
    loss, gradients, params, factors = load(case, seed)
    return check_gradients(
        loss,
        params,
        gradients(params),
        method="complex-step",
        mode=mode,
        factors=factors,
        own_scale=case.scale == "ordinary",  # at other weights terms of one parameter's gradient may cancel
        seed=seed,
        show_progress=False,
    )


def complex_step_findings(case: Case, mode: Mode) -> list[Finding]:
    """One case by the complex step: a finding per parameter, and one for all along random directions."""
    report = check_case(case, mode)
    zero = structural_zeros(case)
    found = [
        Finding(
            group="parameter",
            name=row.name,
            method="complex step",
            error=math.nan if row.relative_error is None else row.relative_error,
            verdict=row.verdict,
            where=str(case),
            share=row.share,
            model=case.model,
            diagnosis="" if row.verdict == "ok" else described(row.diagnosis),
        )
        for row in report.parameters
        if zero.get(row.name) != slice(None)
    ]
    if mode == "directional":
        found.append(
            Finding(
                group="model",
                name=f"{case.scale} weights, directions",
                method="complex step",
                error=worst_error(report),
                verdict=report.verdict,
                where=str(case),
            )
        )
    return found + zero_findings(case, zero)


def structural_zeros(case: Case) -> dict[str, slice]:
    """Parts of parameters whose gradient is zero whatever the values.

    The stacked form's v1 . tanh(s W) is the same for all source positions, and softmax ignores a common shift.
    """
    if case.alignment != "stacked":
        return {}
    A = make_model(case.alignment, case.bidirectional, case.cell).parameter_shapes["alignment.U"][1]
    return {"alignment.W": slice(None), "alignment.v": slice(0, A)}


def zero_findings(case: Case, zero: dict[str, slice]) -> list[Finding]:
    """The structural zeros of one case: rounding of the whole gradient, and no more."""
    if not zero:
        return []
    _, gradients_at, params, _ = load(case)
    gradients = gradients_at(params)
    whole = max(float(np.abs(gradient).max()) for gradient in gradients.values())
    found = []
    for name, part in zero.items():
        share = float(np.abs(gradients[name][part]).max()) / whole
        label = f"{name}, stacked" if part == slice(None) else f"{name}[:A], stacked"
        verdict = "zero" if share < ROUNDING_SHARE else "not zero"
        found.append(Finding("parameter", label, "complex step", share, verdict, str(case)))
    return found


def finite_difference_findings(case: Case, mode: Mode) -> list[Finding]:
    """One case by finite differences, each parameter on its own; a gated cell's at once if along random directions.

    A gradient that is small in the whole is checked together with the largest: a difference of the loss is only as
    accurate as the whole, and a gradient that is lost must not be left out.
    """
    loss, gradients_at, params, factors = load(case)
    gradients = gradients_at(params)
    largest = {name: float(np.abs(gradient).max()) for name, gradient in gradients.items()}
    top = max(largest, key=lambda name: largest[name])
    names = [name for name in params if structural_zeros(case).get(name) != slice(None)]
    small = {name for name in names if largest[name] < SMALL_SHARE * largest[top]}
    at_once = case.cell != "tanh" and mode == "directional"
    group: Group = "model" if at_once else "parameter"
    found = []
    for chosen in [names] if at_once else [[name, top] if name in small else [name] for name in names]:
        report = check_gradients(
            lambda moved: loss({**params, **moved}),
            {name: params[name] for name in chosen},
            {name: gradients[name] for name in chosen},
            method="finite-difference",
            mode=mode,
            factors=factors,
            show_progress=False,
        )
        found.append(
            Finding(
                group=group,
                name=f"{case.scale} weights, directions" if at_once else chosen[0],
                method="finite differences",
                error=worst_error(report),
                verdict=report.verdict,
                where=str(case),
                diagnosis=diagnoses(report),
            )
        )
    return found


def hessian_findings(case: Case) -> list[Finding]:
    """Second derivatives by the complex step through the backward: they are symmetric, or it is no gradient."""
    _, gradients_at, params, _ = load(case)
    report = check_hessian(gradients_at, params)
    verdict = "ok" if report.ok else "empty" if report.nothing_to_test else "wrong"
    return [Finding("model", "second derivatives", "complex step", report.asymmetry, verdict, str(case))]


def worst_error(report: GradientReport) -> float:
    """The largest relative error of an entry or, where only directions were checked, along one."""
    errors = [row.relative_error for row in report.parameters if row.relative_error is not None]
    known = [error for error in errors if not math.isnan(error)]
    return max(known, default=math.nan if report.deviation is None else report.deviation)


def diagnoses(report: GradientReport) -> str:
    """All gradients that are wrong, with the diagnosis of each, and all broken laws."""
    parts = [f"{row.name}: {described(row.diagnosis)}" for row in report.parameters if row.verdict != "ok"]
    parts += [f"law broken: {law.name}" for law in report.laws if not law.ok]
    return "; ".join(parts)


def described(diagnosis: str) -> str:
    """The diagnosis, or a remark that the error has no pattern."""
    return diagnosis or "no simple pattern"


def summarise(findings: Iterable[Finding]) -> list[Row]:
    """One row per operation or parameter; parameters in the order of the forward pass."""
    by_name: dict[tuple[Group, str], list[Finding]] = {}
    for finding in findings:
        by_name.setdefault((finding.group, finding.name), []).append(finding)
    rows = [_row(group, name, found) for (group, name), found in by_name.items()]
    places = {"operation": -1, "model": len(ROOMS)}
    return sorted(rows, key=lambda row: places.get(row.group) or ROOMS.index(row.name.split(".")[0]))


def _row(group: Group, name: str, found: list[Finding]) -> Row:
    errors: dict[str, float] = {}
    shares: dict[str, float] = {}
    for finding in found:
        errors[finding.method] = _larger(errors.get(finding.method, math.nan), finding.error)
        if finding.model:
            shares[finding.model] = _larger(shares.get(finding.model, math.nan), finding.share)
    worst = min(found, key=lambda finding: VERDICTS.index(finding.verdict))
    share = min(shares.values(), default=math.nan)
    verdict, remark = worst.verdict, ""
    if verdict not in ("ok", "zero"):
        failed = sum(finding.verdict == worst.verdict for finding in found)
        place = f"{worst.where}: " if worst.where else ""
        remark = f"{place}{worst.diagnosis or worst.verdict} ({failed} of {len(found)} checks)"
    elif share <= SMALL_SHARE:
        verdict, remark = "not tested", "in no case large enough for an error to be seen"
    return Row(group=group, name=name, checks=len(found), errors=errors, share=share, verdict=verdict, remark=remark)


def _larger(a: float, b: float) -> float:
    """The larger of two numbers, either of which may be missing (NaN); infinity outweighs all."""
    return float(np.fmax(a, b))
