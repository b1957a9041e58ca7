"""``numpy-attention gradcheck``: what it shows, what it writes, and how it exits."""

import json
import re
from pathlib import Path

import pytest

from numpy_attention.cli import gradcheck, main
from numpy_attention.ops.attention import ALIGNMENTS
from numpy_attention.ops.cells import CELLS
from numpy_attention.verification.mutants import MUTANTS, Mutant, in_force

FAST = ["gradcheck", "--alignment", "none", "--cell", "tanh"]


@pytest.fixture
def two_mutants(monkeypatch):
    monkeypatch.setattr(gradcheck, "MUTANTS", (MUTANTS[0], named("recurrent weights transposed")))


def named(name):
    return next(mutant for mutant in MUTANTS if mutant.name == name)


def words(text):
    return " ".join(text.split())


def test_a_row_for_every_operation_and_parameter(tmp_path, capsys):
    file = tmp_path / "found.json"
    assert main([*FAST, "--json", str(file)]) == 0
    output = capsys.readouterr().out
    rows = re.findall(r"^ +(\S.*?)  +(\d\.\de-\d\d|0) .*✓ (ok|zero) *$", output, re.MULTILINE)
    found = json.loads(file.read_text())
    assert found["ok"] is True
    assert found["alignment"] == "none"
    assert [row[0] for row in rows] == [row["name"] for row in found["rows"]]
    names = {row[0] for row in rows}
    assert {"cell, tanh", "decoder, none, tanh", "encoder.backward.U", "second derivatives"} <= names
    assert not any("gru" in name or "additive" in name for name in names)
    for shown, row in zip(rows, found["rows"], strict=True):
        assert float(shown[1]) == pytest.approx(row["errors"]["complex step"], rel=0.1)
        assert row["errors"]["complex step"] < 1e-12
    assert re.search(
        r"^✓ every derivative agrees with the complex step to \de-1\d \(\d+ checks, .* s\)$", output, re.MULTILINE
    )
    *lines, written = output.splitlines()
    assert max(map(len, lines)) <= 80
    assert written == f"written to {file}"


def test_a_file_name_is_shown_as_it_is(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    checks = gradcheck.every_check(["none"], ["tanh"])[:1]
    monkeypatch.setattr(gradcheck, "every_check", lambda *_, **__: checks)
    assert main([*FAST, "--json", "[bold] :smile:\x1b[31m.json"]) == 0
    assert capsys.readouterr().out.endswith("written to [bold] :smile:\\x1b[31m.json\n")
    (tmp_path / "[").mkdir()
    assert main([*FAST, "--json", "[/x].json"]) == 0
    assert json.loads((tmp_path / "[" / "x].json").read_text())["ok"] is True


@pytest.mark.parametrize("terminal", [True, False])
def test_ctrl_c_ends_the_progress_first(terminal, monkeypatch, capsys):
    def interrupt():
        raise KeyboardInterrupt

    monkeypatch.setattr(gradcheck, "every_check", lambda *_, **__: [list, interrupt, list])
    monkeypatch.setattr(gradcheck.Console, "is_terminal", terminal)
    assert main(FAST) == 130
    error = re.sub(r"\x1b\[[0-9;]*m", "", capsys.readouterr().err)
    *progress, last = re.split(r"[\n\r]|\x1b\[2K", error.rstrip("\n"))
    assert last == "numpy-attention: interrupted"
    assert any(re.match("checks [01]/3 ", line) for line in progress) == terminal


@pytest.mark.slow
def test_a_mistake_fails_it_and_is_explained(tmp_path, capsys):
    file = tmp_path / "found.json"
    with in_force(named("recurrent weights transposed")):
        assert main([*FAST, "--json", str(file)]) == 1
    output = words(capsys.readouterr().out)
    assert "✗ WRONG" in output
    assert "the transpose of the true gradient" in output
    assert "✗ failed: encoder, tanh; bidirectional encoder, tanh; encoder.U" in output
    found = json.loads(file.read_text())
    assert found["ok"] is False
    wrong = {row["name"] for row in found["rows"] if not row["ok"]}
    assert {"encoder, tanh", "encoder.U", "encoder.backward.U"} <= wrong
    assert "output.W" not in wrong


@pytest.mark.slow
@pytest.mark.usefixtures("two_mutants")
def test_mutants_are_shown_with_what_catches_them(tmp_path, capsys):
    file = tmp_path / "found.json"
    assert main(["gradcheck", "--mutants", "--json", str(file)]) == 0
    shown = capsys.readouterr().out
    assert max(map(len, shown.replace(str(file), "").splitlines())) <= 80
    output = words(shown)
    assert "✓ both factor 1.0005 softmax: e: 1.0005 times the true gradient" in output
    assert "✓ all 2 mutants caught in both modes" in output
    found = json.loads(file.read_text())
    assert [(each["mutant"]["name"], each["caught"]) for each in found["mutants"]] == [
        ("factor 1.0005", True), ("recurrent weights transposed", True)
    ]  # fmt: skip


@pytest.mark.slow
def test_a_mutant_that_is_missed_fails_it(monkeypatch, capsys):
    harmless = Mutant("harmless", "ops.attention", "de = alpha * dalpha", "de = 1 * alpha * dalpha")
    monkeypatch.setattr(gradcheck, "MUTANTS", (harmless,))
    assert main(["gradcheck", "--mutants"]) == 1
    output = words(capsys.readouterr().out)
    assert "✗ NO harmless" in output
    assert "✗ not caught: harmless" in output


@pytest.mark.slow
@pytest.mark.usefixtures("two_mutants")
def test_mutants_prove_nothing_where_the_checks_fail_anyway(capsys):
    with in_force(MUTANTS[3]):
        assert main(["gradcheck", "--mutants"]) == 1
    assert "the checks fail without a mutant" in words(capsys.readouterr().out)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--json", "no/such/folder/found.json"], "json: the folder no/such/folder does not exist"),
        (["--json", "."], "json: expected a file, . is a folder"),
        (["--mutants", "--full"], "mutants: expected no --full, --alignment or --cell beside it"),
        (["--mutants", "--alignment", "dot"], "mutants: expected no --full, --alignment or --cell beside it"),
        (["--mutants", "--cell", "gru"], "mutants: expected no --full, --alignment or --cell beside it"),
    ],
)
def test_bad_input_is_one_clear_line(arguments, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["gradcheck", *arguments]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith(f"numpy-attention: {message}")
    assert captured.err.count("\n") == 1


@pytest.mark.parametrize(("flag", "choices"), [("--alignment", ALIGNMENTS), ("--cell", CELLS)])
def test_an_unknown_choice_is_refused(flag, choices, capsys):
    assert main(["gradcheck", flag, "cosine"]) == 2
    expected = ", ".join(["all", *choices])
    error = f"numpy-attention: {flag.strip('-')}: expected one of {expected}, got 'cosine'\n"
    assert capsys.readouterr() == ("", error)


def test_the_page_shows_mutants_that_there_are():
    page = (Path(__file__).parents[2] / "docs" / "gradient_checking.md").read_text()
    shown = re.findall(r"^ ✓ both   (\S.*)$", page, re.MULTILINE)
    assert len(shown) > 8
    assert {*shown} <= {mutant.name for mutant in MUTANTS}
    assert f"✓ all {len(MUTANTS)} mutants caught in both modes" in page
