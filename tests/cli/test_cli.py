import subprocess
import sys

import pytest

from numpy_attention.cli import main


@pytest.mark.parametrize("command", ["train", "translate", "evaluate"])
def test_every_command_is_listed_and_explains_itself(command, capsys):
    for arguments, expected in ((["--help"], command), ([command, "--help"], f"numpy-attention {command}")):
        with pytest.raises(SystemExit) as exit_info:
            main(arguments)
        assert exit_info.value.code == 0
        assert expected in capsys.readouterr().out


@pytest.mark.parametrize("arguments", [[], ["tain"], ["train"], ["train", "copy", "--colour"], ["evaluate", "x"]])
def test_wrong_use_exits_with_2_and_no_traceback(arguments, capsys):
    with pytest.raises(SystemExit) as exit_info:
        main(arguments)
    assert exit_info.value.code == 2
    assert "Traceback" not in capsys.readouterr().err


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


def test_a_terminal_that_knows_few_characters_gets_others(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONIOENCODING", "latin-1")
    done = run(
        "train",
        "copy",
        "--length",
        "3",
        "--hidden-size",
        "8",
        "--steps",
        "5",
        "--out",
        str(tmp_path / "run"),
        encoding="latin-1",
    )
    assert done.returncode == 0
    assert "sequence accuracy" in done.stdout
