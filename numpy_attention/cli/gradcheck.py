"""``numpy-attention gradcheck``: check that every derivative is right, and that a wrong one would be noticed."""

from __future__ import annotations

import json as json_format
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any, TypeVar, get_args

from rich import box
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from .._checks import check_choice
from .._json import plain
from .._text import printable
from ..gradcheck.check import CheckMethod, CheckMode
from ..gradcheck.progress import progress
from ..ops.attention import ALIGNMENTS
from ..ops.cells import CELLS
from ..superhighway.proof import prove_paths
from ..verification.cases import make_batch, make_model, make_params
from ..verification.matrix import Row, every_check, summarise
from ..verification.mutants import MUTANTS, Catch, first_case, first_operation, hunt
from ..verification.proofs import TOKENS, Proved, every_proof, proof_cases, timed
from .flags import Positional
from .gradcheck_files import check_files

CHOICES: dict[str, tuple[str, ...]] = {
    "alignment": ("all", *ALIGNMENTS),
    "cell": ("all", *CELLS),
    "method": get_args(CheckMethod),
    "mode": get_args(CheckMode),
}

Result = TypeVar("Result")

GROUP_HEADINGS = {
    "operation": "operations, each on its own",
    "parameter": "parameters of the model",
    "model": "all parameters at once",
}

TABLE_LEGEND = """\
error    relative to the largest entry of the parameter or of the whole
         gradient; at most 1e-12 by the complex step, 1e-6 by finite differences
share    largest entry, relative to that of the whole gradient, in the case in
         which it is largest; below 0.1 % the parameter counts as not tested
zero     zero by structure: rounding only, below 1e-15 of the whole gradient"""

MUTANT_LEGEND = """\
caught    both: by the check of every entry of the model, and by that of random
          directions
below     the smallest operation whose own check fails, and its diagnosis"""


@dataclass(frozen=True)
class GradcheckConfig:
    """Options of the command.

    Parameters
    ----------
    full : bool
        Check every entry in every case, by both methods.
    alignment : str
        Check only the models with this alignment.
    cell : str
        Check only the models with this cell.
    mutants : bool
        Test the checks instead: put known mistakes into the backward, one at a time; each must be caught.
    prove : bool
        Prove every derivative in exact arithmetic instead: operations, models, second derivatives, gradient paths.
    files : tuple of str
        Check layers of your own instead, such as layers.py::dense, or all in a file. docs/check_your_own_layer.md says
        how they are written.
    method : str
        With files: how to check; auto tries a proof first.
    mode : str, optional
        With files: every entry, or a few random directions; by default what suits the method and the size.
    json : Path, optional
        Also write the results to this file.
    """

    files: Annotated[tuple[str, ...], Positional("FILE.py::NAME")] = ()
    full: bool = False
    alignment: str = "all"
    cell: str = "all"
    mutants: bool = False
    prove: bool = False
    method: str = "auto"
    mode: str | None = None
    json: Path | None = None


def gradcheck_command(config: GradcheckConfig) -> int:
    """Check every derivative of this package, or layers of your own, and say what is wrong."""
    _require_usable(config)
    console = Console(highlight=False)
    start = time.perf_counter()
    found: dict[str, Any]
    if config.files:
        status, found = check_files(config.files, config.method, config.mode, console)
        ok = not status
    elif config.mutants:
        found = {"unchanged_ok": _unchanged_is_ok()}
        catches = _each(MUTANTS, hunt, "mutants")
        ok = found["unchanged_ok"] and all(catch.caught for catch in catches)
        found["mutants"] = [catch._asdict() | {"caught": catch.caught} for catch in catches]
        _show_mutants(catches, console)
        console.print(_mutant_summary(catches, found["unchanged_ok"], time.perf_counter() - start))
    elif config.prove:
        proofs = _each(_proofs(*_models(config)), lambda prove: prove(), "proofs")
        ok = all(each.proof.verdict == "PROVED" for each in proofs)
        found = {"proofs": [each._asdict() | {"proof": each.proof._asdict()} for each in proofs]}
        _show_proofs(proofs, console)
        console.print(_proof_summary(proofs, time.perf_counter() - start))
    else:
        alignments, cells = _models(config)
        checks = every_check(alignments, cells, full=config.full)
        rows = summarise(finding for findings in _each(checks, lambda check: check(), "checks") for finding in findings)
        ok = all(row.ok for row in rows)
        found = {
            "full": config.full,
            "alignment": config.alignment,
            "cell": config.cell,
            "rows": [row._asdict() | {"ok": row.ok} for row in rows],
        }
        _show_rows(rows, console)
        console.print(_summary(rows, len(checks), time.perf_counter() - start))
    if config.json is not None:
        config.json.write_text(json_format.dumps(plain({"ok": ok, **found}), indent=2, allow_nan=False) + "\n")
        print(f"written to {printable(str(config.json))}")
    return status if config.files else 0 if ok else 1


def _models(config: GradcheckConfig) -> tuple[list[str], list[str]]:
    """The alignments and the cells that were chosen."""
    alignments = list(ALIGNMENTS) if config.alignment == "all" else [config.alignment]
    return alignments, list(CELLS) if config.cell == "all" else [config.cell]


def _proofs(alignments: list[str], cells: list[str]) -> list[Callable[[], Proved]]:
    """All proofs of the package's own backward, and of the paths of the gradient."""
    found = every_proof(alignments, cells)
    for case in proof_cases(alignments, cells):
        if case.lengths == "ragged":
            model = make_model(case.alignment, case.bidirectional, case.cell)
            run = partial(prove_paths, model, make_params(model), make_batch(model), TOKENS)
            found.append(partial(timed, "paths", case.model, case.lengths, run))
    return found


def _require_usable(config: GradcheckConfig) -> None:
    """Raise ValueError if a choice is unknown, the options do not go together or the file cannot be written."""
    check_choice("alignment", config.alignment, CHOICES["alignment"])
    check_choice("cell", config.cell, CHOICES["cell"])
    check_choice("method", config.method, CHOICES["method"])
    if config.mode is not None:
        check_choice("mode", config.mode, CHOICES["mode"])
    ours = config.full or config.mutants or config.prove or config.alignment != "all" or config.cell != "all"
    if config.files and ours:
        raise ValueError(
            "files: expected no --full, --alignment, --cell, --mutants or --prove beside layers of your own"
        )
    if not config.files and (config.method != "auto" or config.mode is not None):
        raise ValueError("method and mode: expected only with layers of your own, such as layers.py::dense")
    if config.prove and (config.full or config.mutants):
        raise ValueError("prove: expected no --full or --mutants beside it")
    if config.mutants and (config.full or config.alignment != "all" or config.cell != "all"):
        raise ValueError("mutants: expected no --full, --alignment or --cell beside it; all checks try every mutant")
    if config.json is not None:
        if config.json.is_dir():
            raise ValueError(f"json: expected a file, {config.json} is a folder")
        if not config.json.parent.is_dir():
            raise ValueError(f"json: the folder {config.json.parent} does not exist")


def _each(things: Sequence[Any], do: Callable[[Any], Result], unit: str) -> list[Result]:
    """The results of ``do``, with progress on stderr: a bar on a terminal, lines elsewhere."""
    console = Console(stderr=True)
    if console.is_terminal:
        columns = (TextColumn(unit), MofNCompleteColumn(), BarColumn(), TimeRemainingColumn(), TextColumn("left"))
        with Progress(*columns, console=console, transient=True) as bar:
            return [do(thing) for thing in bar.track(things)]
    results = []
    with progress(len(things), unit=unit) as step:
        for thing in things:
            results.append(do(thing))
            step()
    return results


def _show_rows(rows: Sequence[Row], console: Console) -> None:
    table = _table("worst error by the", "complex step", "finite diff.", "share", "verdict")
    for column in table.columns[1:4]:
        column.justify = "right"
    for column in table.columns[:4]:
        column.no_wrap = True
    for group, heading in GROUP_HEADINGS.items():
        members = [row for row in rows if row.group == group]
        table.add_row(Text(heading, "bold"))
        for row in members:
            errors = [_error(row.errors.get(method)) for method in ("complex step", "finite differences")]
            share = "" if math.isnan(row.share) else f"{row.share:.0%}" if row.share >= 0.01 else f"{row.share:.1%}"
            table.add_row(f"  {row.name}", *errors, share, _verdict(row))
        table.add_section()
    console.print(table)
    console.print(TABLE_LEGEND, style="dim")
    for row in rows:
        if row.remark:
            console.print(Text.assemble((f"\n{row.name}: ", "bold red"), row.remark))


def _table(*headings: str) -> Table:
    return Table(*headings, box=box.SIMPLE_HEAD, pad_edge=False, header_style="dim")


def _error(error: float | None) -> str:
    if error is None or math.isnan(error):
        return ""
    return "0" if error == 0 else f"{error:.1e}"


def _verdict(row: Row) -> Text:
    return Text(f"✓ {row.verdict}", "green") if row.ok else Text(f"✗ {row.verdict.upper()}", "bold red")


def _show_proofs(proofs: Sequence[Proved], console: Console) -> None:
    """A row per cell and alignment, both directions together."""
    table = _table("proved, of how many", "gradient", "second derivatives", "paths")
    operations = [each for each in proofs if each.group == "operation"]
    table.add_row(Text("operations, each on its own", "bold"), _counted(operations), "", "")
    table.add_section()
    for name in dict.fromkeys(each.name.rpartition(", ")[0] for each in proofs if each.group == "model"):
        here = [each for each in proofs if each.group != "operation" and each.name.rpartition(", ")[0] == name]
        groups = ([each for each in here if each.group == group] for group in ("model", "second", "paths"))
        table.add_row(name, *map(_counted, groups))
    console.print(table)
    for each in proofs:
        if each.proof.verdict != "PROVED":
            what = f"{each.name}, {each.where}" if each.where else each.name
            console.print(Text.assemble((f"\n{what}: ", "bold red"), str(each.proof)))


def _counted(proofs: Sequence[Proved]) -> Text:
    proved = sum(each.proof.verdict == "PROVED" for each in proofs)
    right = proved == len(proofs)
    return Text(f"{'✓' if right else '✗'} {proved} of {len(proofs)}", "green" if right else "bold red")


def _proof_summary(proofs: Sequence[Proved], seconds: float) -> Text:
    failed = [each for each in proofs if each.proof.verdict != "PROVED"]
    if failed:
        return Text(f"\n✗ not proved: {len(failed)} of {len(proofs)} ({seconds:.1f} s)", "bold red")
    bound = max(each.proof.bound for each in proofs)
    return Text(
        f"\n✓ every derivative is proved ({len(proofs)} proofs, {seconds:.1f} s); a wrong one would pass with a\n"
        f"  probability below {bound:.0e}",
        "bold green",
    )


def _summary(rows: Sequence[Row], checks: int, seconds: float) -> Text:
    failed = [row.name for row in rows if not row.ok]
    if failed:
        return Text(f"\n✗ failed: {'; '.join(failed)} ({checks} checks, {seconds:.1f} s)", "bold red")
    worst = max(row.errors.get("complex step", 0.0) for row in rows)
    return Text(
        f"\n✓ every derivative agrees with the complex step to {worst:.0e} ({checks} checks, {seconds:.1f} s)",
        "bold green",
    )


def _show_mutants(catches: Sequence[Catch], console: Console) -> None:
    table = _table("caught", "mistake in the backward, and below it what the checks say")
    table.columns[0].no_wrap = True
    for catch in catches:
        place = f"\n{catch.operation or 'the model'}: {catch.diagnosis}"
        table.add_row(_caught(catch), Text.assemble((catch.mutant.name, "bold"), place))
    console.print(table)
    console.print(MUTANT_LEGEND, style="dim")


def _caught(catch: Catch) -> Text:
    if catch.caught:
        return Text("✓ both", "green")
    return Text(f"✗ {'FULL ONLY' if catch.full else 'DIRECTIONS ONLY' if catch.directional else 'NO'}", "bold red")


def _mutant_summary(catches: Sequence[Catch], unchanged_ok: bool, seconds: float) -> Text:
    missed = [catch.mutant.name for catch in catches if not catch.caught]
    if not unchanged_ok:
        return Text("\n✗ the checks fail without a mutant: run numpy-attention gradcheck", "bold red")
    if missed:
        return Text(f"\n✗ not caught: {', '.join(missed)} ({seconds:.1f} s)", "bold red")
    return Text(f"\n✓ all {len(catches)} mutants caught in both modes; without one, no check fails ({seconds:.1f} s)",
                "bold green")  # fmt: skip


def _unchanged_is_ok() -> bool:
    """True if the checks pass without a mutant: one that always fails would catch them all."""
    return first_operation()[1] is None and first_case("full")[1] is None and first_case("directional")[1] is None
