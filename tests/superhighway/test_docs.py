"""The page's program prints what the page says, and its tables are those of the numbers that stand beside its figures."""

import contextlib
import io
import json
import re
import runpy
from pathlib import Path

import pytest

from numpy_attention.cli.superhighway_report import gates_row, number
from numpy_attention.superhighway.figures import NAMES, gates_figures, study_figures

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "superhighway.md").read_text(encoding="utf-8")
FIGURES = DOCS / "figures" / "superhighway"
FOUND, GATES, SEEDS = (
    json.loads((FIGURES / f"{name}.json").read_text(encoding="utf-8"))
    for name in ("superhighway", "gates", "gates-seeds")
)
WITHOUT, WITH, RATIO = slice(0, 4), slice(4, 8), 8  # in a row of the table of gates
# What the page says of the gates. A row is named by its cell, its bias, t after training, a with attention.
SAID = """
{gru0[rate]} (GRU) and {lstm0[rate]} (LSTM) per step against {tanh[rate]}.
is {gru1[f]} (GRU) and {lstm1[f]} (LSTM) times that at the last, still less than the {tanh[f]} of the tanh cell.
where a gate keeps 0.95, it is {gru3[f]} and {lstm3[f]}: the LSTM's gradient now grows
c alone has carried {lstm1[by]} at initialisation and {lstm1t[by]} after training.
A GRU keeps more to its gate: {gru1[by]} with bias 1, {gru3[by]} with bias 3, and {gru1t[by]} after training.
first/last lies between {lo} and {hi} at initialisation, and between {lot} and {hit} after training.
Without attention it lies between {low} and {hiw}, and between {lowt} and {hiwt}.
The LSTM with bias 3 alone is far from level with attention, too: {lstm3a[f]}.
opens the gates, from {gru1[gate]} to {gru1t[gate]} (GRU) and {lstm1t[gate]} (LSTM), and the gradient at the first state is then {gru1t[f]} and {lstm1t[f]} times that at the last. In the tanh cell it is {tanht[f]}, less than before training.
training closes them**, to {gru1ta[gate]} and {lstm1ta[gate]}: a decoder
(with/without {gru1t[ratio]} and {lstm1t[ratio]}): their loss is still {gru1t[loss]} and {lstm1t[loss]} nats, and with attention below {most}.
{gru1t[right]} and {lstm1t[right]} of the held-out tokens are right, and {tanht[right]} with the tanh cell
With attention all three get {least} or more.
These are single runs of {steps} updates
first/last without attention is {s_tanh} (tanh), {s_gru} (GRU) and {s_lstm} (LSTM) after training, and the mean gates {s_grug} and {s_lstmg} without attention and {s_gruga} and {s_lstmga} with it.
"""


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
    assert [row[1:] for row in rows(f"{when} | t = 1")] == expected


def test_the_table_of_training():
    expected = [
        [when, NAMES.get(name, name), number(profile["norms"][1][-1]), *(median(profile[key]) for key in ("rate", "half_life", "first_to_last"))]
        for when, models in FOUND["profiles"].items()
        for name, profile in models.items()
        if name != "first_ratio"
    ]  # fmt: skip
    assert rows("when") == expected


def test_every_figure_of_the_page_is_there():
    figures = re.findall(r"\]\((figures/[^)]+)\)", PAGE)
    assert len(figures) >= 9
    assert all((DOCS / figure).is_file() for figure in figures)


@pytest.mark.slow
def test_the_figures_are_drawn_from_the_numbers_beside_them():
    read = runpy.run_path(str(DOCS / "figures" / "superhighway.py"))["read"]
    figures = study_figures(read("superhighway.json")) | gates_figures(read("gates.json"))
    assert set(figures) == {file.stem for file in FIGURES.glob("*.png")}


@pytest.mark.parametrize("when", ["at initialisation", "after training"])
def test_the_tables_of_the_gates(when):
    expected = []
    for name, row in GATES["gates"][when].items():
        cell, _, bias = name.partition(", bias ")
        expected.append([cell, bias or "-", *map(number, gates_row(row))])
    assert rows(f"{when} | bias") == expected


def facts():
    """Numbers of the page's text on gates, by name."""

    def percent(share):
        return f"{100 * share:.2g} %"

    found, ends = {}, {}
    for when, after in (("at initialisation", ""), ("after training", "t")):
        for name, row in GATES["gates"][when].items():
            values, short = gates_row(row), name.replace(", bias ", "") + after
            for columns, suffix in ((WITHOUT, ""), (WITH, "a")):
                gate, rate, first_to_last, by_gates = values[columns]
                found[short + suffix] = {
                    "gate": number(gate), "rate": number(rate), "f": number(first_to_last), "by": percent(by_gates),
                    "ratio": number(values[RATIO]),
                }  # fmt: skip
                if not name.endswith("3"):
                    ends.setdefault(("w" if columns == WITHOUT else "") + after, []).append(first_to_last)
    for which, values in ends.items():
        found |= {f"lo{which}": number(min(values)), f"hi{which}": number(max(values))}
    for name, both in GATES["evaluation"].items():
        found[name.replace(", bias ", "") + "t"] |= {
            "right": f"{100 * both['vanilla']['token_accuracy']:.1f} %", "loss": f"{both['vanilla']['loss']:.2f}"
        }  # fmt: skip
    found["most"] = f"{max(both['attention']['loss'] for both in GATES['evaluation'].values()) + 0.005:.2f}"
    right = [both["attention"]["token_accuracy"] for both in GATES["evaluation"].values()]
    found["least"] = f"{100 * min(right):.1f} %"
    found["steps"] = 150 + 35 * GATES["length"]  # the default
    for name in ("tanh", "gru", "lstm"):
        medians = [seed[name if name == "tanh" else f"{name}, bias 1"] for seed in SEEDS.values()]
        for suffix, model, key in (
            ("", "vanilla", "first_to_last"),
            ("g", "vanilla", "keep"),
            ("ga", "attention", "keep"),
        ):
            values = [each[model][key] for each in medians]
            if None not in values:
                found[f"s_{name}{suffix}"] = f"{number(min(values))} to {number(max(values))}"
    return found


@pytest.mark.parametrize("sentence", SAID.format(**facts()).strip().splitlines())
def test_the_text_on_gates_says_what_was_measured(sentence):
    assert sentence in " ".join(PAGE.split())


def test_the_seeds_of_the_gates_begin_with_the_run_of_the_tables():
    trained = {name: gates_row({**row}) for name, row in GATES["gates"]["after training"].items()}
    assert list(SEEDS) == ["0", "1", "2"]
    for name, values in trained.items():
        medians = [
            SEEDS["0"][name][model][key]
            for model in ("vanilla", "attention")
            for key in ("keep", "rate", "first_to_last", "gates_share")
        ]
        assert list(map(number, values[:8])) == [number(float("nan") if value is None else value) for value in medians]


def test_the_gates_keep_what_the_page_says_they_do_with_bias_3():
    for cell in ("gru", "lstm"):
        assert f"{gates_row(GATES['gates']['at initialisation'][f'{cell}, bias 3'])[0]:.2f}" == "0.95"
