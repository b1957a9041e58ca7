import re
import shlex
import signal
import subprocess
import sys
import time

import pytest

from numpy_attention import load_run
from numpy_attention.cli import main
from numpy_attention.training.config import CHOICES
from numpy_attention.training.optimizers import OPTIMIZERS

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
    names = {path.name for path in run.folder.iterdir()}
    assert names == {"checkpoint.npz", "metrics.jsonl", "curves.png", "attention.png"}
    assert (run.folder / "curves.png").read_bytes().startswith(b"\x89PNG")


def test_the_line_that_it_suggests_works(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    main(["train", "copy", *FAST, "--out", "a folder"])
    (line,) = re.findall(r"^use it: (.*)$", capsys.readouterr().out, re.MULTILINE)
    arguments = shlex.split(line)
    command = arguments[arguments.index("translate") :]
    done = subprocess.run(
        [sys.executable, "-m", "numpy_attention", *command], capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[0] == str(load_run("a folder").translate(command[2]))


@pytest.mark.parametrize(
    "more",
    [["--length", "2-4"], ["--alignment", "none"], ["--cell", "lstm", "--forget-bias", "1"], ["--alignment", "dot", "--bidirectional"], ["--dtype", "float64"],
     ["--dropout", "0.1", "--label-smoothing", "0.1", "--weight-decay", "0.1", "--patience", "2"]],
)  # fmt: skip
def test_every_setting_is_a_flag(more, tmp_path, capsys):
    assert main(["train", "copy", *FAST, *more, "--seed", "3", "--out", str(tmp_path / "run")]) == 0
    output = capsys.readouterr().out
    assert "sequence accuracy " in output
    assert ("no attention to show" in output) == ("none" in more)
    config = load_run(tmp_path / "run").config
    assert config.seed == 3
    assert config.length == ((2, 4) if "2-4" in more else 3)
    assert config.bidirectional == ("--bidirectional" in more)
    assert config.dropout == (0.1 if "--dropout" in more else 0.0)


@pytest.mark.parametrize(
    ("setting", "choices"),
    [
        ("--optimizer", "adam,sgd,mine"),
        ("--alignment", ",".join(CHOICES["alignment"])),
        ("--tokens", "words,characters"),
        ("--cell", ",".join(CHOICES["cell"])),
        ("--dtype", "float32,float64"),
    ],
)
def test_settings_that_are_names_are_listed_and_others_refused(setting, choices, capsys, monkeypatch):
    monkeypatch.setitem(OPTIMIZERS, "mine", OPTIMIZERS["adam"])
    monkeypatch.delitem(sys.modules, "numpy_attention.cli.train")  # which reads the names when it is imported
    assert main(["train", "--help"]) == 0
    assert f"{setting} {{{choices}}}" in capsys.readouterr().out
    assert main(["train", "copy", setting, "other"]) == 2
    expected = ", ".join(choices.split(","))
    error = f"numpy-attention: {setting.strip('-')}: expected one of {expected}, got 'other'\n"
    assert capsys.readouterr() == ("", error)


def test_quiet_gives_the_figures_alone(tmp_path, capsys):
    assert main(["train", "copy", *FAST, "--quiet", "--out", str(tmp_path / "run")]) == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if line]
    assert [line.split()[0] for line in lines] == ["sequence", "on", "use"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["sort"], "task: expected one of copy, reverse, scan, scan-length, or a file of pairs; there is no file sort"),
        (["copy", "--length", "0"], "length: expected a whole number of at least 1, got 0"),
        (["copy", "--length", "5-3"], "length: expected the shortest length first, got 5 3"),
        (["copy", "--symbols", "1", "--length", "10"], "symbols: expected at least 2 at length 10"),
        (["copy", "--dropout", "1"], "dropout: expected a number of at least 0 and below 1, got 1.0"),
        (["copy", "--hidden-size", "7", "--bidirectional"], "hidden_size: expected an even number"),
        (["--resume", "nowhere"], "run: expected the folder of a run, there is no nowhere/checkpoint.npz"),
    ],
)
def test_bad_input_is_one_clear_line(arguments, message, capsys):
    assert main(["train", *arguments]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"numpy-attention: {message}")
    assert error.count("\n") == 1


def test_a_rate_that_is_much_too_high_is_one_clear_line(tmp_path, capsys):
    assert main(["train", "copy", *FAST, "--learning-rate", "1e30", "--out", str(tmp_path / "run")]) == 1
    error = capsys.readouterr().err
    assert re.fullmatch(r"numpy-attention: step \d+: .* is no longer finite; try a smaller learning rate\n", error)


def test_a_folder_that_is_taken_is_one_clear_line(tmp_path, capsys):
    (tmp_path / "notes.txt").write_text("mine")
    assert main(["train", "copy", *FAST, "--out", str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert error.startswith("numpy-attention: out: ")
    assert error.count("\n") == 1
    assert main(["train", "copy", *FAST, "--out", str(tmp_path), "--overwrite"]) == 0
    assert (tmp_path / "notes.txt").read_text() == "mine"


@pytest.mark.parametrize("number", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.slow)])
def test_a_signal_saves_and_says_how_to_go_on(number, tmp_path):
    folder = tmp_path / "run"
    command = [sys.executable, "-m", "numpy_attention", "train", "copy", "--steps", "100000", "--out", str(folder)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    while not (folder / "checkpoint.npz").exists():
        time.sleep(0.05)
    time.sleep(0.3)
    process.send_signal(number)
    output, error = process.communicate(timeout=60)
    assert (process.returncode, error) == (130, "")
    step = load_run(folder).step
    assert step > 0
    assert f"stopped after step {step} of 100000 and saved; continue with:" in output
    assert f"train --resume {folder}" in output


def test_resume_goes_on_from_the_command_line(tmp_path, capsys):
    assert main(["train", "copy", *FAST, "--out", str(tmp_path / "run")]) == 0
    first = capsys.readouterr().out
    assert main(["train", "--resume", str(tmp_path / "run")]) == 0
    again = capsys.readouterr().out
    assert "30 of 30 steps are done" in again
    assert first[first.index("held-out examples") :] == again[again.index("held-out examples") :]


@pytest.mark.parametrize("metrics", [None, ""])
def test_a_finished_run_without_metrics_is_shown_all_the_same(metrics, tmp_path, capsys):
    assert main(["train", "copy", *FAST, "--out", str(tmp_path / "run")]) == 0
    path = tmp_path / "run" / "metrics.jsonl"
    path.unlink() if metrics is None else path.write_text(metrics)
    assert main(["train", "--resume", str(tmp_path / "run")]) == 0
    assert "sequence accuracy" in capsys.readouterr().out
