"""``numpy-attention gradcheck FILE.py::NAME``: check layers of somebody's own."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.text import Text

from .._text import printable
from ..gradcheck import GradientReport, check_vjp
from ..gradcheck.loading import Layer, load_layers, said, theirs

OWN = (ValueError, TypeError)  # errors of the checker, whose message names the argument


def check_files(targets: Sequence[str], method: str, mode: str | None, console: Console) -> tuple[int, dict[str, Any]]:
    """Check all layers, and print a line for one that is right and the report of one that is wrong.

    Parameters
    ----------
    targets : sequence of str
        As for :func:`~numpy_attention.gradcheck.loading.load_layers`.
    method, mode : str
        As for :func:`~numpy_attention.gradcheck.check_vjp`.
    console : Console

    Returns
    -------
    status : int
        0 if all are right, 1 if one is not, 2 if one could not be checked.
    found : dict
        Reports by name, for JSON.
    """
    layers = [layer for target in targets for layer in load_layers(target)]
    status, found = 0, dict[str, Any]()
    for layer in layers:
        name = printable(layer.name)
        try:
            report = check_layer(layer, method, mode)
        except (Exception, SystemExit) as error:
            told = (
                str(error).splitlines()[0]
                if isinstance(error, OWN) and str(error)
                else f"{theirs(error)} raises {said(error)}"
            )
            print(f"{name}: {printable(told)}", file=sys.stderr)
            status, found[layer.name] = 2, {"ok": False, "error": told}
            continue
        found[layer.name] = report.to_dict()
        status = status if report.ok else max(status, 1)
        if report.ok:
            console.print(Text.assemble((f"✓ {report.verdict.upper():8}", "green"), f" {name}"), soft_wrap=True)
            if report.proof is not None and report.verdict != "PROVED":
                console.print(Text(f"    {report.proof}"))
        else:
            console.print(Text.assemble((f"✗ {report.verdict.upper():8}", "bold red"), f" {name}"), soft_wrap=True)
            print(printable_lines(report))
    return status, {"layers": found}


def check_layer(layer: Layer, method: str, mode: str | None) -> GradientReport:
    """The report of one layer."""
    options = {"method": method, **({"mode": mode} if mode else {}), **layer.options}
    return check_vjp(layer.forward, layer.backward, layer.inputs, **options)


def printable_lines(report: GradientReport) -> str:
    """The report, line by line safe to print."""
    return "\n".join(f"    {printable(line)}" for line in str(report).splitlines())
