"""The page's program prints what the page says, and its tables are those of the numbers that stand beside its figures."""

import contextlib
import io
import json
import re
from pathlib import Path

import pytest

from numpy_attention.cli.superhighway_report import number

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "superhighway.md").read_text(encoding="utf-8")
FOUND = json.loads((DOCS / "figures" / "superhighway" / "superhighway.json").read_text(encoding="utf-8"))


def rows(heading):
    """Rows of the table whose first column, or first few, are headed so, as lists of cells."""
    (table,) = re.findall(rf"^\| {re.escape(heading)} \|.*\n\|[-:|]+\|\n((?:\|.*\n)+)", PAGE, re.MULTILINE)
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()]


def median(quartiles):
    return number(float(quartiles[1]))


def test_the_program_prints_what_the_page_says():
    (program,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    expected = re.findall(r"```text\n(.*?)```", PAGE, re.DOTALL)[-1]
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(program, "superhighway.md", "exec"), {})
    assert printed.getvalue() == expected


@pytest.mark.parametrize(("heading", "key"), [("T", "lengths"), ("radius", "radii")])
def test_the_tables_over_length_and_radius(heading, key):
    expected = [
        [value, *(median(row["vanilla"][name]) for name in ("rate", "half_life", "first_to_last")),
         median(row["attention"]["first_to_last"]), median(row["first_ratio"])]
        for value, row in FOUND[key].items()
    ]  # fmt: skip
    assert rows(f"{heading} | without attention: per step") == expected


def test_the_table_of_what_enters_at_a_position():
    expected = [
        [length, median(row["context"]), number(int(length) * row["context"][1]), median(row["bridge"])]
        for length, row in FOUND["lengths"].items()
    ]
    assert rows("T | context, at a position") == expected


@pytest.mark.parametrize("when", ["at initialisation", "after training"])
def test_the_tables_of_the_paths(when):
    study = FOUND["paths"][when]
    parts = list(study["paths"].values()) + list(study["origins"].values())
    expected = [[number(part[1][t - 1]) for t in (1, 6, 11, 16, 20)] for part in parts]
    assert [row[1:] for row in rows(when)] == expected


def test_the_table_of_training():
    expected = [
        [when, name, number(profile["norms"][1][-1]), *(median(profile[key]) for key in ("rate", "half_life", "first_to_last"))]
        for when, models in FOUND["profiles"].items()
        for name, profile in models.items()
        if name != "first_ratio"
    ]  # fmt: skip
    assert rows("when") == expected


def test_every_figure_of_the_page_is_there():
    figures = re.findall(r"\]\((figures/[^)]+)\)", PAGE)
    assert len(figures) >= 9
    assert all((DOCS / figure).is_file() for figure in figures)
