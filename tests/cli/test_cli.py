import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import numpy_attention as na
from numpy_attention.cli import COMMANDS, main
from tests.conftest import hearing_interrupts


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_is_listed_and_explains_itself(command, capsys):
    for arguments, expected in ((["--help"], command), ([command, "--help"], f"numpy-attention {command}")):
        assert main(arguments) == 0
        output = capsys.readouterr().out
        assert expected in output
        assert max(map(len, output.splitlines())) <= 80


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["tain"], "there is no command 'tain'; did you mean train?"),
        (["x" * 500], f"there is no command '{'x' * 30}"),
        (["train"], "expected TASK: What to learn; see numpy-attention train --help"),
        (["train", "--length", "5"], "expected TASK: What to learn; see numpy-attention train --help"),
        (["train", "copy", "--colour"], "--colour: there is no such flag; see numpy-attention train --help"),
        (["train", "copy", "--lenght", "3"], "--lenght: there is no such flag; did you mean --length? See"),
        (["train", "copy", "--lr", "3"], "--lr: there is no such flag; did you mean --learning-rate? See"),
        (["train", "copy", "--epochs=3"], "--epochs: there is no such flag; did you mean --steps? See"),
        (["train", "copy", "--steps", "abc"], "--steps: expected a whole number, got 'abc'; see"),
        (["train", "copy", "--steps"], "--steps: expected a value, got none; see"),
        (["train", "copy", "--forget-bias", "abc"], "--forget-bias: expected a number, got 'abc'; see"),
        (["train", "copy", "--length", "three"], "--length: expected a number, such as 7, or a range, such as 3-10"),
        (["train", "copy", "--recompute", "maybe"], "maybe: there is no such argument here; see"),
        (["train", "copy", "--out"], "--out: expected a value, got none; see"),
        (["train", "revers"], "task: there is no task or file revers; did you mean reverse?"),
        (["train", "Reverse"], "task: there is no task or file Reverse; did you mean reverse?"),
        (
            ["train", "nofile.tsv"],
            "task: expected one of copy, reverse, scan, scan-length, scan-jump, or a file of pairs; there is no",
        ),
        (["train", "pairs.tsv", "--length", "5"], "length: expected only with copy or reverse, got it with pairs.tsv"),
        (["train", "reverse", "--dev", "pairs.tsv"], "dev: expected only with a file of pairs, got it with reverse"),
        (["train", "scan", "--symbols", "3"], "symbols: expected only with copy or reverse, got it with scan"),
        (["train", "reverse", "--max-length", "3"], "max_length: expected only with a file of pairs"),
        (["train", "reverse", "--steps", "9" * 10], "steps: expected at most 1,000,000,000, got"),
        (["train", "reverse", "--symbols", "9" * 399], "symbols: expected a whole number of at most"),
        (
            ["train", "--resume", "x", "--hidden-size", "3"],
            "--hidden-size: --resume goes with --steps, --workers and --quiet alone",
        ),
        (["train", "--resume"], "--resume: expected a value, got none; see"),
        (["evaluate", "x"], "expected PAIRS: one file of UTF-8 lines of source, tab, target, got none"),
        (["translate"], "expected RUN: Folder of a trained run; see"),
        (["superhighway", "--lengths", "10,x"], "--lengths: expected a whole number, got 'x'; see"),
        (["gradcheck", "--prove", "--full"], "prove: expected no --full or --mutants beside it"),
    ],
)
def test_wrong_use_is_one_line_that_says_what_to_do(arguments, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith(f"numpy-attention: {message}")
    assert captured.err.count("\n") == 1
    assert len(captured.err) < 300


def test_no_command_shows_them_all(capsys):
    assert main([]) == 2
    output = capsys.readouterr().out
    assert all(f"\n  {command} " in output for command in COMMANDS)


def test_the_version_is_that_of_the_package(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"numpy-attention {na.__version__}\n"
    assert f"version = {na.__version__}\n" in (Path(__file__).parents[2] / "setup.cfg").read_text()


@pytest.mark.parametrize(
    "arguments",
    [
        ["--length", "2-3", "--steps", "2", "copy"],
        ["copy", "--length", "2:3", "--steps=2"],
        ["--quiet", "copy", "--length", "2-3", "--steps", "2"],
    ],
)
def test_flags_stand_before_and_after_the_task(arguments, tmp_path, capsys):
    assert main(["train", *arguments, "--hidden-size", "8", "--out", str(tmp_path)]) == 0
    config = na.load_run(tmp_path).config
    assert (config.task, config.length, config.steps) == ("copy", (2, 3), 2)


def test_flags_stand_between_the_run_and_its_texts(tmp_path, capsys):
    na.train(na.TrainConfig("copy", length=(1, 3), steps=2, hidden_size=8, out=tmp_path), None)
    for arguments in (
        ["--beam", "2", str(tmp_path), "a b"],
        [str(tmp_path), "--beam", "2", "a b"],
        [str(tmp_path), "a b", "--beam", "2"],
    ):
        assert main(["translate", *arguments]) == 0
    assert len(set(capsys.readouterr().out.splitlines())) == 1


def test_a_folder_is_no_file_of_pairs(tmp_path, capsys):
    na.train(na.TrainConfig("copy", length=(1, 3), steps=2, hidden_size=8, out=tmp_path / "run"), None)
    assert main(["train", str(tmp_path)]) == 2
    assert capsys.readouterr().err.endswith(" is a folder\n")
    assert main(["train", str(tmp_path / "run")]) == 2
    assert capsys.readouterr().err.endswith(" is a folder; it holds a run, which --resume goes on with\n")


def test_a_finished_run_is_trained_on_from_the_command_line(tmp_path, capsys):
    na.train(na.TrainConfig("copy", length=(1, 3), steps=2, hidden_size=8, out=tmp_path), None)
    assert main(["train", "--resume", str(tmp_path), "--steps", "4", "--quiet"]) == 0
    assert na.load_run(tmp_path).step == 4
    assert main(["train", "--resume", str(tmp_path), "--steps", "4", "--quiet"]) == 2
    assert "steps: expected more than the 4 that were made, got 4" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize("delay", [0.02, 0.05, 0.08, 0.12, 0.2, 0.4])
def test_an_interrupt_while_it_starts_is_no_traceback(delay, tmp_path):
    program = [sys.executable, "-m", "numpy_attention", "train", "reverse", "--steps", "100000", "--length", "30"]
    with hearing_interrupts():
        process = subprocess.Popen(program, cwd=tmp_path, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
    try:
        time.sleep(delay)
        process.send_signal(signal.SIGINT)
        try:
            error = process.communicate(timeout=20)[1]
        except subprocess.TimeoutExpired:  # Python itself has lost it, before our first module: one presses again
            process.send_signal(signal.SIGINT)
            error = process.communicate(timeout=60)[1]
    finally:
        process.kill()
        process.communicate()
    assert "numpy_attention/cli" not in error
    assert "numpy_attention/training" not in error


@pytest.mark.parametrize(
    ("error", "status", "message"),
    [
        (ValueError("steps: expected more\nand more"), 2, "steps: expected more"),
        (OSError(28, "No space left on device"), 2, "No space left on device"),
        (MemoryError("Unable to allocate 30 GiB"), 2, "not enough memory for these sizes: Unable to allocate 30 GiB"),
        (FloatingPointError("step 2: the loss is no longer finite"), 1, "step 2: the loss is no longer finite"),
        (KeyboardInterrupt(), 130, "interrupted"),
    ],
)
def test_every_failure_is_one_line(error, status, message, capsys, monkeypatch):
    def fail(arguments):
        raise error

    monkeypatch.setattr("numpy_attention.cli._dispatch", fail)
    assert main(["train"]) == status
    output = capsys.readouterr().err
    assert output.startswith("numpy-attention: ")
    assert message in output
    assert output.count("\n") == 1


def run(*arguments, **options):
    command = [sys.executable, "-m", "numpy_attention", *arguments]
    return subprocess.run(command, capture_output=True, **({"text": True} | options))


def test_python_dash_m_is_the_same_program():
    done = run("--help")
    assert done.returncode == 0
    assert "numpy-attention" in done.stdout


def test_a_reader_that_has_seen_enough_ends_it_quietly(tmp_path):
    settings = "--length 3 --hidden-size 8 --steps 200"
    program = f"{sys.executable} -m numpy_attention train copy {settings} --out {tmp_path / 'run'} | head -1"
    done = subprocess.run(program, shell=True, capture_output=True, text=True)
    assert done.stdout.startswith("copy, length 3")
    assert done.stderr == ""


@pytest.mark.slow
@pytest.mark.parametrize("encoding", ["latin-1", "ascii"])
def test_a_terminal_that_knows_few_characters_gets_others(encoding, tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONIOENCODING", encoding)
    settings = ["--length", "3", "--hidden-size", "8", "--steps", "5", "--out", str(tmp_path / "run")]
    done = run("train", "copy", *settings, encoding=encoding)
    assert done.returncode == 0
    assert "\nx  source    " in done.stdout
    assert "(blank below 0.1, . from 0.1, : from 0.3, + from 0.5, # from 0.7)" in done.stdout
    assert "sequence accuracy" in done.stdout
