"""Output of ``numpy-attention superhighway``: tables and pictures for the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from ..superhighway.figures import NAMES, by_row, named
from ..superhighway.study import PathStudy
from ..views.terminal import LEGEND, attention_map, curves_chart

LEGEND_OF_GATES = """
without, with: without attention and with it; with/without: at the first state
gate: mean activation of the gate that keeps the state
by gates: share of the norm at the first state that the gates alone carried
there; the rest went through the recurrent matrix (vectors: shares need not make up 1)"""
PICTURE = 100  # the longest length that is drawn in the terminal


def show(found: dict[str, Any], console: Console) -> None:
    """Print the tables, a chart of the profiles, and a map of the gradient."""
    for when, study in found["paths"].items():
        show_paths(study, when, console)
    if "lengths" in found:
        show_sweep(found["lengths"], "length", "At initialisation, by the length of the source", console)
        title = f"At initialisation, by the spectral radius of U, length {found['radius_length']}"
        show_sweep(found["radii"], "radius", title, console)
        length = max((length for length in found["lengths"] if length <= PICTURE), default=min(found["lengths"]))
        title = f"At initialisation, length {length}: ||dL/dh_t|| by the distance to the end"
        show_chart(found["lengths"][length], title, console)
        if len(found["lengths"]) > 1:
            console.print("(profiles.png and profiles.svg have every length)")
    if "profiles" in found:
        show_profiles(found, console)
    if found["bidirectional"]:
        console.print(
            "\nboth directions: the gradient of each fades towards where it began to read, so the whole is weakest in "
            "the middle; the figures of the first and the last token do not show that"
        )
    when, study = list(found["paths"].items())[-1]
    show_map(study, when, found["source"], found["output"], console)


def show_paths(study: PathStudy, when: str, console: Console) -> None:
    """Print the norm of every part at five positions, and the numbers of steps."""
    length = study.paths["total"].shape[1]
    positions = sorted({0, length // 4, length // 2, 3 * length // 4, length - 1})
    names = [name for name in ("context", "key", "bridge", "recurrent", "total", "cell") if name in study.paths]
    parts = {"dL/dc_t" if name == "cell" else name: study.paths[name] for name in names}
    parts |= named(study.origins)
    show_table(
        f"||dL/dh_t|| by path, {when} (medians)",
        ["", *(f"t = {position + 1}" for position in positions)],
        [[name, *(part[1, t] for t in positions)] for name, part in parts.items()],
        console,
    )
    bottleneck, superhighway = (study.encoder_steps[name][1, 0] for name in ("bottleneck", "superhighway"))
    console.print(f"mean encoder steps to h_1: {number(bottleneck)} from the bridge", end="")
    if np.isnan(superhighway):
        console.print(" (there is no attention)")
        return
    own, later = (study.context_shares[name][1] for name in ("own loss", "later losses"))
    console.print(f", {number(superhighway)} from contexts and keys")
    console.print(
        f"context path: {number(study.mean_decoder_steps[1])} decoder steps before it in the mean; a step's own loss "
        f"makes {own:.2f} of its norm, later losses {later:.2f} (vectors: they need not add up to 1)"
    )
    console.print(f"attention spreads over {study.breadth[1]:.2f} of the source (1: uniform; exp(entropy) / T)")


def show_sweep(rows: dict[Any, dict[str, Any]], label: str, title: str, console: Console) -> None:
    """Print the decay of both models, a row per setting."""
    without = (f"without\n{column}" for column in ("per step", "half-life", "first/last"))
    table = []
    for value, row in rows.items():
        vanilla, attention = row["vanilla"], row["attention"]
        values = (vanilla["rate"], vanilla["half_life"], vanilla["first_to_last"], attention["first_to_last"])
        table.append([str(value), *(part[1] for part in (*values, row["first_ratio"]))])
    columns = [f"\n{label}", *without, "with\nfirst/last", "with/without\nat h_1"]
    show_table(f"{title} (medians)", columns, table, console)


def show_chart(row: dict[str, Any], title: str, console: Console) -> None:
    """Draw both profiles."""
    heading(title, console)
    curves = {NAMES[name]: row[name]["norms"][1] for name in ("attention", "vanilla")}
    console.print(curves_chart(curves, "distance", min(console.width, 100)), markup=False)


def show_profiles(found: dict[str, Any], console: Console) -> None:
    """Print the profiles before and after training, and how good the models are."""
    rows = []
    for when, models in found["profiles"].items():
        profiles = named({name: profile for name, profile in models.items() if name != "first_ratio"})
        for name, profile in profiles.items():
            values = (profile["norms"][:, -1], profile["rate"], profile["half_life"], profile["first_to_last"])
            rows.append([when if name == next(iter(profiles)) else "", name, *(part[1] for part in values)])
    columns = ["", "", "at h_1", "per step", "half-life", "first/last"]
    show_table("Before and after training (medians)", columns, rows, console)
    for name, evaluation in named(found["evaluation"]).items():
        console.print(
            f"{name}: loss {evaluation['loss']:.3f}, {100 * evaluation['token_accuracy']:.1f} % of the tokens and "
            f"{100 * evaluation['sequence_accuracy']:.1f} % of the held-out sequences right"
        )


def gates_row(row: dict[str, Any]) -> list[float]:
    """Medians in a row of the table of gates: four without attention, four with it, and the ratio."""
    names = ("keep", "rate", "first_to_last", "gates_share")
    values = [row[model][name][1] for model in ("vanilla", "attention") for name in names]
    return [np.nan if value is None else float(value) for value in (*values, row["first_ratio"][1])]


def show_gates(found: dict[str, Any], console: Console) -> None:
    """Print how the gradient fades with every cell and bias, and how much of it the gates carried."""
    models = ("without\ngate", "with\ngate")
    group = ("per\nstep", "first/\nlast", "by\ngates")
    columns = ["", *(column for gate in models for column in (gate, *group)), "with/\nwithout"]
    for when, cells in found["gates"].items():
        title = f"||dL/ds_t|| of the encoder states, {when}, length {found['length']} (medians)"
        show_table(title, columns, [[name, *gates_row(row)] for name, row in cells.items()], console, padding=1)
    console.print(LEGEND_OF_GATES)
    for name, models in found["evaluation"].items():
        right = {key: 100 * evaluation["token_accuracy"] for key, evaluation in models.items()}
        console.print(
            f"{name}: {right['vanilla']:.1f} % of held-out tokens right without, {right['attention']:.1f} % with"
        )


def show_map(study: PathStudy, when: str, source: Sequence[str], output: Sequence[str], console: Console) -> None:
    """Draw ||dL_u/dh_t||, the target steps down and the source across."""
    heading(f"||dL_u/dh_t||, {when}: source across, output down", console)
    console.print(attention_map(by_row(study.map), source, output, console.width), markup=False, emoji=False)
    console.print(f"(of one sequence, as shares of the row's largest; {LEGEND})")


def show_table(title: str, columns: list[str], rows: list[list[Any]], console: Console, padding: int = 2) -> None:
    """Print a table under a bold title; numbers of the rows are written by :func:`number`, texts are as they are."""
    heading(title, console)
    table = Table(box=None, padding=(0, padding, 0, 0))
    for column in columns:
        table.add_column(column, justify="right" if column else "left")
    for row in rows:
        table.add_row(*(cell if isinstance(cell, str) else number(cell) for cell in row))
    console.print(table)


def heading(text: str, console: Console) -> None:
    """A bold line with an empty one before it."""
    console.print(f"\n{text}", style="bold", markup=False, emoji=False)


def number(value: float) -> str:
    """Three digits; "-" for NaN."""
    if np.isnan(value):
        return "-"
    if value == 0:
        return "0"
    return f"{value:#.3g}".rstrip(".") if 1e-3 <= abs(value) < 1e3 or np.isinf(value) else f"{value:.1e}"
