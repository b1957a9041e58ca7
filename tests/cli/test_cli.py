import re
import subprocess
import sys

import pytest

from numpy_attention import load_run
from numpy_attention.cli import main

FAST = ["--length", "3", "--symbols", "5", "--hidden-size", "16", "--steps", "30", "--batch-size", "16"]


def test_training_shows_examples_attention_and_accuracy_and_saves_the_run(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["train", "reverse", *FAST]) == 0
    output = capsys.readouterr().out
    assert len(re.findall(r"^[✓✗]  source    [a-e] [a-e] [a-e] *$", output, re.MULTILINE)) == 3
    assert len(re.findall(r"^   produced  ", output, re.MULTILINE)) == 3
    assert "source across, output down" in output
    run = load_run(tmp_path / "runs" / "reverse")
    assert f"\nsequence accuracy {100 * run.evaluation.sequence_accuracy:.1f} %\n" in output
    assert (run.config.length, run.config.symbols, run.config.steps) == (3, 5, 30)


def test_the_line_that_it_suggests_works(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    main(["train", "copy", *FAST])
    program = re.search(r'^use it: .*python\S* -c "(.*)"$', capsys.readouterr().out, re.MULTILINE).group(1)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    source = re.search(r"translate\('(.*)'\)", program).group(1)
    assert done.stdout.strip() == str(load_run("runs/copy").translate(source))


@pytest.mark.parametrize(
    "more", [["--length", "2", "4"], ["--alignment", "none"], ["--alignment", "dot", "--bidirectional"], ["--dtype", "float64"]]
)  # fmt: skip
def test_every_setting_is_a_flag(more, tmp_path, capsys):
    assert main(["train", "copy", *FAST, *more, "--seed", "3", "--out", str(tmp_path / "run")]) == 0
    output = capsys.readouterr().out
    assert "sequence accuracy " in output
    assert ("no attention to show" in output) == ("none" in more)
    config = load_run(tmp_path / "run").config
    assert config.seed == 3
    assert config.length == ((2, 4) if "4" in more else 3)
    assert config.bidirectional == ("--bidirectional" in more)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train", "sort"], "invalid choice 'sort'"),
        (["train", "copy", "--length", "0"], "length: expected whole numbers of at least 1, got 0 0"),
        (["train", "copy", "--length", "5", "3"], "length: expected the shortest length first, got 5 3"),
        (["train", "copy", "--symbols", "1"], "symbols: expected at least 2"),
        (["train", "copy", "--alignment", "cosine"], "cosine"),
        (["train", "copy", "--colour"], "--colour"),
        ([], "train"),
    ],
)
def test_wrong_use_exits_with_2_and_says_why(arguments, message, capsys):
    with pytest.raises(SystemExit) as exit_info:
        main(arguments)
    assert exit_info.value.code == 2
    captured = capsys.readouterr()
    assert message in " ".join((captured.out + captured.err).replace("│", " ").split())
    assert "Traceback" not in captured.err


def test_a_folder_that_is_taken_is_one_clear_line(tmp_path, capsys):
    (tmp_path / "notes.txt").write_text("mine")
    assert main(["train", "copy", *FAST, "--out", str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert error.startswith("numpy-attention: out: ")
    assert error.count("\n") == 1
    assert main(["train", "copy", *FAST, "--out", str(tmp_path), "--overwrite"]) == 0
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_python_dash_m_is_the_same_program():
    done = subprocess.run(
        [sys.executable, "-m", "numpy_attention", "--help"], capture_output=True, text=True, check=True
    )
    assert "numpy-attention" in done.stdout
    assert "train" in done.stdout
