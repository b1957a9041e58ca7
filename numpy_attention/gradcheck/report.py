"""The result of a check: one row per parameter, one line per law, and one verdict."""

from __future__ import annotations

import dataclasses
import math
import textwrap
from dataclasses import dataclass
from html import escape
from typing import Any, Literal

from .._json import plain
from .exact import Proof

Verdict = Literal["ok", "wrong", "inconclusive", "not analytic", "empty", "PROVED", "REFUTED", "CANNOT PROVE"]

# A parameter whose largest entry is below this share of the whole gradient's is judged on the scale of the whole.
SMALL_SHARE = 1e-3

WIDTH = 110

COLUMNS = [
    "parameter",
    "shape",
    "verdict",
    "error",
    "relative",
    "at",
    "gradient",
    "expected",
    "ratio",
    "cosine",
    "share",
]


@dataclass(frozen=True)
class ParameterReport:
    """The result for one parameter. Fields that were not computed are None.

    Attributes
    ----------
    name : str
        Its name; ``params`` for a lone array.
    shape : tuple of int
        Its shape.
    verdict : str
        ``ok``, ``wrong``, ``inconclusive`` (the method cannot tell; not a pass) or ``not analytic`` (the complex step
        does not apply to the loss).
    largest : float
        Largest entry, in absolute value, of its expected gradient, or of the given one if no entry was computed.
    share : float
        ``largest`` divided by the largest entry of the whole gradient. Below 0.001 the parameter is judged only on the
        scale of the whole gradient, and errors as large as itself may pass.
    absolute_error, relative_error : float or None
        |gradient - expected| at the worst entry, and the same divided by the entry that it is judged by: the largest
        of the whole gradient or of the parameter. None if only directions were checked.
    index : tuple of int or None
        The entry with the largest error.
    gradient, expected : float or None
        The given and the computed value of that entry. ``expected`` and the errors are NaN, printed as ``unknown``, if
        finite differences found no value.
    ratio, cosine : float or None
        <gradient, expected> / <expected, expected>, which is c for a gradient of c times the true one; and the cosine
        of the angle between the two.
    diagnosis : str
        The pattern of the error, in words; empty if the parameter is right or there is no pattern.
    """

    name: str
    shape: tuple[int, ...]
    verdict: Verdict
    largest: float
    share: float
    absolute_error: float | None = None
    relative_error: float | None = None
    index: tuple[int, ...] | None = None
    gradient: float | None = None
    expected: float | None = None
    ratio: float | None = None
    cosine: float | None = None
    diagnosis: str = ""


@dataclass(frozen=True)
class LawReport:
    """One structural law of a backward: its name, ``ok`` if it holds, and a message if it does not."""

    name: str
    ok: bool
    message: str = ""


@dataclass(frozen=True, repr=False)
class GradientReport:
    """The result of a gradient check; ``print`` shows it as a table.

    Attributes
    ----------
    method, mode : str
        As given to the check.
    rtol : float
        The tolerance, relative to the largest entry of the whole gradient.
    own_scale : bool
        True if parameters were also judged by their own largest entry.
    largest : float
        The largest entry of the whole gradient, in absolute value.
    evaluations : int
        Number of evaluations of the loss.
    parameters : tuple of ParameterReport
        One per parameter, in the order given.
    laws : tuple of LawReport
        One per structural law; empty for :func:`check_gradients`.
    notes : tuple of str
        Remarks, such as the window of a Taylor test.
    nothing_to_test : bool
        True if the whole gradient, given and expected, is zero or no larger than the rounding of the loss.
    deviation : float or None
        In directional mode the largest difference between the two derivatives along a direction, relative to their
        typical size along a random one; NaN if one could not be computed. None in full mode.
    proof : Proof or None
        What exact arithmetic says, if it was tried; ``method`` and the rest are of the measurement beside it.
    proof_demanded : bool
        True if a proof was asked for: without one the verdict is ``CANNOT PROVE``.
    """

    method: str
    mode: str
    rtol: float
    own_scale: bool
    largest: float
    evaluations: int
    parameters: tuple[ParameterReport, ...]
    laws: tuple[LawReport, ...] = ()
    notes: tuple[str, ...] = ()
    nothing_to_test: bool = False
    deviation: float | None = None
    proof: Proof | None = None
    proof_demanded: bool = False

    @property
    def verdict(self) -> Verdict:
        """``PROVED`` or ``REFUTED`` where exact arithmetic and the measurement agree on it, else what was measured."""
        measured = self.measured
        if self.proof is None:
            return measured
        if self.proof.verdict == "REFUTED" or (self.proof.verdict == "PROVED" and measured != "wrong"):
            return self.proof.verdict
        return "CANNOT PROVE" if self.proof_demanded and measured != "wrong" else measured

    @property
    def measured(self) -> Verdict:
        """The worst verdict of all rows and laws; ``empty`` if no gradient was large enough to test."""
        verdicts = {row.verdict for row in self.parameters}
        if not all(law.ok for law in self.laws):
            verdicts.add("wrong")
        if self.nothing_to_test:
            verdicts.add("empty")
        order: tuple[Verdict, ...] = ("not analytic", "wrong", "inconclusive", "empty")
        return next((verdict for verdict in order if verdict in verdicts), "ok")

    @property
    def ok(self) -> bool:
        """True if every gradient was tested and is right, and every law holds."""
        return self.verdict in ("ok", "PROVED")

    def raise_if_failed(self) -> None:
        """Raise an AssertionError with the whole table unless the check passed."""
        if not self.ok:
            raise AssertionError(f"\n{self}")

    def to_dict(self) -> dict[str, Any]:
        """Lists, dicts, strings and finite numbers for ``json.dumps``: NaN becomes None, infinity ``"inf"``."""
        return {"ok": self.ok, "verdict": self.verdict, **plain(dataclasses.asdict(self))}

    def __repr__(self) -> str:
        rows = ", ".join(f"{row.name} {row.verdict}" for row in self.parameters[:8])
        more = f", ... ({len(self.parameters)} in all)" if len(self.parameters) > 8 else ""
        return f"GradientReport({self.verdict}: {rows}{more}; print it for the table)"

    def _repr_html_(self) -> str:
        """The table and the remarks, for a notebook."""
        head, *body = [[escape(cell) for cell in row] for row in _columns(self)]
        table = "".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>" for row in body)
        heads = "".join(f"<th>{cell}</th>" for cell in head)
        remarks = "".join(f"<p>{escape(line)}</p>" for line in _remark_lines(self))
        return f"<p><b>{escape(_title(self))}</b></p><table><tr>{heads}</tr>{table}</table>{remarks}"

    def __str__(self) -> str:
        return "\n".join([_title(self), "", *_table(self), *_remarks(self)])


def _title(report: GradientReport) -> str:
    title = f"gradient check: {report.verdict.upper()}"
    if not report.evaluations:  # every gradient has a wrong shape
        return title
    return (
        f"{title}    {report.method}, {report.mode}, {report.evaluations} evaluations, "
        f"tolerance {report.rtol:.0e} of the largest entry ({report.largest:.4g})"
    )


def _table(report: GradientReport) -> list[str]:
    """Left-aligned columns."""
    rows = _columns(report)
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def _columns(report: GradientReport) -> list[tuple[str, ...]]:
    """The rows, the headings first, without the columns in which nothing was computed."""
    rows = [COLUMNS, *(_cells(row) for row in report.parameters)]
    columns = [column for column in zip(*rows, strict=True) if any(column[1:])]
    return list(zip(*columns, strict=True))


def _cells(row: ParameterReport) -> tuple[str, ...]:
    shown = number(row.gradient, ".6g"), number(row.expected, ".6g")
    return (
        row.name,
        str(row.shape),
        row.verdict if row.verdict == "ok" else row.verdict.upper(),
        number(row.absolute_error, ".1e"),
        number(row.relative_error, ".1e"),
        "" if row.index is None else f"[{', '.join(map(str, row.index))}]",
        *(told_apart(row.gradient, row.expected) if row.verdict != "ok" else shown),
        number(row.ratio, ".6g"),
        number(row.cosine, ".6g"),
        number(row.share, ".1e"),
    )


def number(value: float | None, form: str) -> str:
    """``value`` in a cell: nothing for None, ``unknown`` for NaN."""
    if value is None or math.isnan(value):
        return "" if value is None else "unknown"
    return "0" if value == 0 else format(value, form)


def told_apart(first: float | None, second: float | None) -> tuple[str, str]:
    """Both numbers with the same number of digits: six, or as many as it takes to show that they differ."""
    for digits in range(6, 18):
        cells = number(first, f".{digits}g"), number(second, f".{digits}g")
        if first == second or cells[0] != cells[1]:
            break
    return cells


def _proof(report: GradientReport) -> list[str]:
    """Two statements: of the algebra, and of the arithmetic."""
    if report.proof is None:
        return []
    lines = [str(report.proof)]
    errors = [row.relative_error for row in report.parameters if row.relative_error is not None]
    accuracy = report.deviation if report.deviation is not None else max(errors, default=None)
    if report.measured == "ok" and accuracy is not None:
        lines.append(f"The arithmetic is accurate to {accuracy:.0e}: measured by the {report.method} method.")
    return lines


def _remarks(report: GradientReport) -> list[str]:
    lines = _remark_lines(report)
    return ["", *(textwrap.fill(line, WIDTH, subsequent_indent="  ") for line in lines)] if lines else []


def _remark_lines(report: GradientReport) -> list[str]:
    lines = _proof(report)
    lines += [f"{row.name}: {row.diagnosis}" for row in report.parameters if row.diagnosis]
    lines += [f"BROKEN LAW, {law.name}: {law.message}" for law in report.laws if not law.ok]
    holding = [law.name for law in report.laws if law.ok]
    if holding:
        lines.append(f"Laws that hold: {', '.join(holding)}.")
    if report.nothing_to_test:
        lines.append("Nothing was large enough to test: the whole gradient is zero or rounding noise.")
    else:
        zero = [row.name for row in report.parameters if row.verdict == "ok" and row.largest == 0]
        small = [row.name for row in report.parameters if row.verdict == "ok" and 0 < row.share < SMALL_SHARE]
        if zero:
            lines.append(f"All zero, as expected, which tests little: {', '.join(zero)}.")
        if small:
            lines.append(f"Below 0.1 % of the whole gradient, so judged only on its scale: {', '.join(small)}.")
    return [*lines, *report.notes]
