import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from numpy_attention import Seq2Seq, load_run
from numpy_attention.cli import main, train
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
    assert f"\nsequence accuracy {100 * run.test.sequence_accuracy:.1f} %\n" in output
    assert (run.config.length, run.config.symbols, run.config.steps) == (3, 5, 30)
    names = {path.name for path in run.folder.iterdir()}
    assert names == {"checkpoint.npz", "metrics.jsonl", "curves.png", "attention.png"}
    assert (run.folder / "curves.png").read_bytes().startswith(b"\x89PNG")


def test_the_line_that_it_suggests_works(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    main(["train", "copy", *FAST, "--out", "a folder"])
    command = suggested(capsys.readouterr().out)
    assert command[:3] == ["translate", "a folder", "--attention"]
    done = subprocess.run(
        [sys.executable, "-m", "numpy_attention", *command], capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[0] == str(load_run("a folder").translate(command[3]))


def suggested(output):
    """Arguments of the command that training suggests, split as bash splits them."""
    (line,) = re.findall(r"^use it:\n    (.*)$", output, re.MULTILINE)
    script = f"printf '%s\\0' {line}"
    found = subprocess.run(["bash", "-c", script], capture_output=True, check=True).stdout
    arguments = found.decode("utf-8", "surrogateescape").split("\0")[:-1]
    return arguments[arguments.index("translate") :]


HOSTILE = ["\x1b[2J\x1b]0;x\x07", "it's", "\x9b1m\\", "[red]:smile:[/x]", "$$", "\u202e"]


def train_on_pairs(tmp_path, monkeypatch, lines, *more):
    """Train for a moment on pairs that are held out as well."""
    monkeypatch.chdir(tmp_path)
    name = "[red]\x1b[31m:smile:.tsv"
    Path(name).write_text("".join(lines))
    small = ["--steps", "2", "--hidden-size", "4", "--embedding-size", "4", "--alignment-size", "4"]
    return main(["train", name, "--dev", name, *small, "--out", "[/x]\x1b[31m :smile:", *more])


@pytest.mark.parametrize("terminal", [True, False])
def test_what_comes_from_outside_is_shown_as_it_is_and_steers_no_terminal(terminal, tmp_path, monkeypatch, capsys):
    if terminal:
        monkeypatch.setattr(train.Console, "is_terminal", True)
    assert train_on_pairs(tmp_path, monkeypatch, [f"{' '.join(HOSTILE)}\t{word}\n" for word in HOSTILE]) == 0
    output = capsys.readouterr().out
    shown = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", output) if terminal else output  # the colours are rich's own
    assert re.fullmatch(r"[^\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]*", shown.replace("\r", ""))
    assert "\x1b]" not in output
    assert "\x1b[2J" not in output
    assert r"[red]\x1b[31m:smile:.tsv: 6 training pairs" in shown
    assert r"saved in [/x]\x1b[31m :smile:" in shown
    assert r"\x1b[2J\x1b]0;x\x07 it's \x9b1m\ [red]:smile:[/x] $$ \u202e" in " ".join(shown.split())
    assert suggested(output) == ["translate", "[/x]\x1b[31m :smile:", "--attention", " ".join(HOSTILE)]


def test_a_text_that_begins_with_a_dash_is_no_option(tmp_path, monkeypatch, capsys):
    assert train_on_pairs(tmp_path, monkeypatch, ["-3\ta\n", "-a\tb\n"]) == 0
    command = suggested(capsys.readouterr().out)
    assert command[2:] == ["--attention", "--", "-3"]
    assert main(command) == 0


def test_without_attention_the_line_does_not_ask_for_it(tmp_path, capsys):
    assert main(["train", "copy", *FAST, "--alignment", "none", "--out", str(tmp_path / "run")]) == 0
    command = suggested(capsys.readouterr().out)
    assert command[:2] == ["translate", str(tmp_path / "run")]
    assert len(command) == 3
    assert "--attention" not in command


@pytest.mark.parametrize(
    ("word", "shown"),
    [
        ("", "''"),
        ("a b", "'a b'"),
        ("it's", "'it'\"'\"'s'"),
        ("日本", "'日本'"),
        ("\n'\\é", r"$'\x0a\x27\x5cé'"),
        ("\x85", r"$'\xc2\x85'"),
        ("\udcff", r"$'\xff'"),
        ("\ud800", r"$'\xed\xa0\x80'"),
    ],
)
def test_words_for_a_shell(word, shown):
    assert train._quoted(word) == shown
    done = subprocess.run(["bash", "-c", f"printf %s {shown}"], capture_output=True, check=True)
    assert done.stdout == word.encode("utf-8", "surrogatepass" if word == "\ud800" else "surrogateescape")


def test_long_texts_are_cut_and_long_outputs_not_waited_for(tmp_path, monkeypatch, capsys):
    limits = []
    original = Seq2Seq.translate

    def translate(*arguments, **options):
        limits.append(options["max_length"])
        return original(*arguments, **options)

    monkeypatch.setattr(Seq2Seq, "translate", translate)
    assert train_on_pairs(tmp_path, monkeypatch, [f"{'a ' * 2000}\tb c\n", f"a\t{'b ' * 90}\n"]) == 0
    assert 91 in limits  # of the examples; an evaluation has one for each target
    assert {limit for each in limits for limit in np.ravel(each).tolist()} <= {3, 91}
    output = capsys.readouterr().out
    assert len(output) < 6000
    assert "a…" in output
    assert "source positions, named by the first" in output
    assert suggested(output)[2:] == ["--attention", "a"]


@pytest.mark.parametrize(
    ("error", "said"), [(ValueError("\nParse \x1b[2J\nof it"), r"Parse \x1b[2J of it"), (MemoryError(), "MemoryError")]
)
def test_a_picture_that_cannot_be_drawn_is_a_line_after_everything_else(error, said, tmp_path, monkeypatch, capsys):
    def fail(*_, **__):
        print("now it draws")
        raise error

    monkeypatch.setattr(train, "plot_attention", fail)
    assert main(["train", "copy", *FAST, "--out", str(tmp_path / "run")]) == 0
    output, shown = capsys.readouterr()
    assert output.index("sequence accuracy") < output.index("saved in") < output.index("use it:")
    assert output.index("use it:") < output.index("now it draws") < output.index("pictures:")
    assert output.endswith(f"pictures: {tmp_path / 'run' / 'curves.png'}\n")
    assert shown == f"numpy-attention: attention.png: not drawn: {said}\n"
    assert not (tmp_path / "run" / "attention.png").exists()


def test_pictures_that_cannot_be_written_are_a_line_each(tmp_path, capsys):
    for name in ("curves.png", "attention.png"):
        (tmp_path / name).mkdir()
    assert main(["train", "copy", *FAST, "--out", str(tmp_path), "--overwrite"]) == 0
    output, error = capsys.readouterr()
    assert "pictures:" not in output
    assert [line.split()[1] for line in error.splitlines()] == ["curves.png:", "attention.png:"]


@pytest.mark.slow
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
    assert [line.split()[0] for line in lines[:-1]] == ["sequence", "on", "use"]
    assert lines[-1].startswith("    ")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["sort"],
            "task: expected one of copy, reverse, scan, scan-length, scan-jump, or a file of pairs; there is no file sort",
        ),
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


@pytest.mark.slow
@pytest.mark.parametrize("metrics", [None, ""])
def test_a_finished_run_without_metrics_is_shown_all_the_same(metrics, tmp_path, capsys):
    assert main(["train", "copy", *FAST, "--out", str(tmp_path / "run")]) == 0
    path = tmp_path / "run" / "metrics.jsonl"
    path.unlink() if metrics is None else path.write_text(metrics)
    assert main(["train", "--resume", str(tmp_path / "run")]) == 0
    assert "sequence accuracy" in capsys.readouterr().out


def test_pictures_replace_links_and_follow_none(tmp_path, capsys):
    victim = tmp_path / "victim"
    victim.write_text("mine")
    folder = tmp_path / "run"
    folder.mkdir()
    for name in ("curves.png", "attention.png", "curves.png.part", "attention.png.part"):
        (folder / name).symlink_to(victim)
    assert main(["train", "copy", *FAST, "--out", str(folder), "--overwrite"]) == 0
    assert victim.read_text() == "mine"
    assert not (folder / "curves.png").is_symlink()
    assert (folder / "attention.png").read_bytes().startswith(b"\x89PNG")
    assert f"pictures: {folder / 'curves.png'}, {folder / 'attention.png'}" in capsys.readouterr().out


def test_damaged_metrics_do_not_fail_a_finished_run(tmp_path, capsys):
    assert main(["train", "copy", *FAST, "--out", str(tmp_path / "run")]) == 0
    with open(tmp_path / "run" / "metrics.jsonl", "a") as file:
        file.write('{"number": 1}\n{"number":1,"loss":1,"held_out":5}\n' + "[" * 100_000 + "\n")
    assert main(["train", "--resume", str(tmp_path / "run")]) == 0
    assert "curves.png" in capsys.readouterr().out
