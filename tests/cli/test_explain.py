import subprocess
import sys

import pytest

import numpy_attention as na
from numpy_attention.cli import main


@pytest.mark.parametrize(
    ("arguments", "settings"),
    [
        ([], {}),
        (["a b c", "--step", "2"], {"text": "a b c", "step": 2}),
        (["a b c", "--target", "a b"], {"text": "a b c", "target": "a b"}),
    ],
)
def test_the_command_prints_the_walk(arguments, settings, capsys):
    assert main(["explain", *arguments]) == 0
    assert capsys.readouterr().out == f"{na.explain(**settings)}\n"


def test_a_run_and_a_text(tmp_path, capsys):
    config = na.TrainConfig("copy", length=(1, 3), symbols=4, hidden_size=8, steps=2, alignment="none", out=tmp_path)
    run = na.train(config, None)
    assert main(["explain", str(tmp_path), "a b"]) == 0
    assert capsys.readouterr().out == f"{na.explain(run, 'a b')}\n"
    assert main(["explain", str(tmp_path)]) == 0
    assert capsys.readouterr().out == f"{na.explain(run)}\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere"], "run: expected the folder of a run, there is no nowhere/checkpoint.npz"),
        (["a q"], "text: expected some of the vocabulary's 8 words, such as 'a', 'b', 'c', got 'q'"),
        ([""], "text: expected at least one word, got none"),
        (["a b", "--step", "9"], "step: expected a whole number of at most 3, got 9"),
        (["--out", "nowhere/page.html"], "out: expected a file that ends in .html, in a folder that exists, got "),
        (["nowhere", "a", "b"], "b: there is no such argument here; see numpy-attention explain --help"),
    ],
)
def test_wrong_use_is_one_line(arguments, message, capsys):
    assert main(["explain", *arguments]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith(f"numpy-attention: {message}")
    assert captured.err.count("\n") == 1


@pytest.mark.slow
def test_a_terminal_without_the_shades_shows_others():
    command = [sys.executable, "-m", "numpy_attention", "explain"]
    done = subprocess.run(command, capture_output=True, env={"PYTHONIOENCODING": "ascii"}, check=True)
    assert b"#+" in done.stdout
    assert b"?" not in done.stdout
