import json
import re
import sys
import warnings
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from numpy_attention import TrainConfig, load_run, train
from numpy_attention._json import plain
from numpy_attention._text import printable
from numpy_attention.cli import main, superhighway
from numpy_attention.cli.superhighway import SuperhighwayConfig, make_training
from numpy_attention.data.tasks import TASKS
from numpy_attention.superhighway.gates import study_gates
from numpy_attention.superhighway.profile import compare, fit_decay, gradient_profile, quartiles, without_attention
from numpy_attention.superhighway.study import double, held_out_batch
from numpy_attention.training.checkpoint import FILE
from numpy_attention.views.plots import NEEDS

SMALL = ["--hidden-size", "8", "--embedding-size", "4", "--symbols", "5", "--sequences", "2", "--seeds", "2"]
SHORT = [*SMALL, "--length", "4", "--lengths", "3", "6", "--radii", "0.5", "1"]
INITIAL = {
    "paths-initialisation",
    "steps-initialisation",
    "map-initialisation",
    "profiles",
    "ends",
    "entering",
    "radii",
}
LATER = {"paths-training", "steps-training", "map-training", "training"}


def written(folder):
    return {file.stem for file in folder.glob("*.png")}


def numbers(folder):
    return json.loads((folder / "superhighway.json").read_text(encoding="utf-8"))


@pytest.fixture
def without_drawing(monkeypatch):
    """Figures are made but not drawn, which takes most of the time of a small comparison."""

    def leave_empty(figure, stem):
        assert figure.axes
        for ending in (".png", ".svg"):
            stem.with_name(stem.name + ending).touch()

    monkeypatch.setattr(superhighway, "save_figure", leave_empty)


@pytest.fixture(scope="module", params=["additive", "none"])
def run(request, tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / request.param
    settings = {"length": (2, 4), "symbols": 5, "hidden_size": 8, "embedding_size": 4, "alignment_size": 8, "steps": 3}
    return train(TrainConfig("reverse", **settings, alignment=request.param, out=out), None)


def test_the_comparison_prints_draws_and_keeps_every_number(tmp_path, monkeypatch, capsys, without_drawing):
    monkeypatch.chdir(tmp_path)
    assert main(["superhighway", *SHORT]) == 0
    output = capsys.readouterr().out
    assert "measuring lengths: 6" in output
    assert re.search(r"^context +\d", output, re.MULTILINE)
    assert re.search(r"^entered by the bridge +\d", output, re.MULTILINE)
    assert re.search(r"^entered by contexts and keys +\d", output, re.MULTILINE)
    assert "● with attention  ○ without attention" in output
    assert "At initialisation, length 6: " in output
    assert "(profiles.png and profiles.svg have every length)" in output
    folder = tmp_path / "runs" / "superhighway"
    assert f"every number in {folder.relative_to(tmp_path) / 'superhighway.json'}" in output
    assert written(folder) == {file.stem for file in folder.glob("*.svg")} == INITIAL
    found = numbers(folder)
    training = make_training(SuperhighwayConfig(length=4, hidden_size=8, embedding_size=4, symbols=5))
    expected = compare(training.model(8, 8), held_out_batch(training.data(), 6, 2), seeds=[0, 1])
    for name in ("attention", "vanilla"):
        np.testing.assert_allclose(found["lengths"]["6"][name]["norms"], quartiles(getattr(expected, name)))
    np.testing.assert_allclose(found["lengths"]["6"]["vanilla"]["rate"], quartiles(fit_decay(expected.vanilla).rate))
    assert f"\n{6:>6}" in output
    assert found["settings"]["lengths"] == [3, 6]
    assert found["radius_length"] == 6
    batch = held_out_batch(training.data(), 4, 1)
    assert found["source"] == training.data().source_vocabulary.decode(batch.source[0])
    assert found["output"] == [*found["source"], "<eos>"]
    assert f"\n{' ' * 6}{' '.join(found['source'])}\n" in output  # above the map
    narrow = compare(training.model(8, 8), held_out_batch(training.data(), 6, 2), seeds=[0, 1], radius=0.5)
    np.testing.assert_allclose(found["radii"]["0.5"]["vanilla"]["norms"], quartiles(narrow.vanilla))


def test_without_a_folder_named_every_comparison_has_a_new_one(tmp_path, monkeypatch, without_drawing):
    monkeypatch.chdir(tmp_path)
    for name in ("superhighway", "superhighway-2"):
        assert main(["superhighway", *SHORT]) == 0
        assert written(tmp_path / "runs" / name) == INITIAL
    first, second = (numbers(tmp_path / "runs" / name) for name in ("superhighway", "superhighway-2"))
    assert first["lengths"] == second["lengths"]
    assert first["paths"] == second["paths"]


@pytest.mark.slow
def test_training_shows_before_and_after_and_keeps_the_runs(tmp_path, capsys, without_drawing):
    assert main(["superhighway", *SHORT, "--train", "--out", str(tmp_path)]) == 0
    output = capsys.readouterr().out
    assert "training with attention" in output
    assert "training without attention" in output
    for when in ("at initialisation", "after training"):
        assert re.search(rf"^{when} +with attention +\d.*\n +without attention +\d", output, re.MULTILINE)
    assert "\nwith attention: loss " in output
    assert "\nwithout attention: loss " in output
    assert written(tmp_path) == INITIAL | LATER
    runs = {name: load_run(tmp_path / name) for name in ("attention", "vanilla")}
    assert [run.config.alignment for run in runs.values()] == ["additive", "none"]
    found = numbers(tmp_path)
    batch = held_out_batch(runs["vanilla"].config.data(), 4, 4)  # of 2 sequences for each of 2 seeds
    for name, run in runs.items():
        expected = quartiles(gradient_profile(run.model, double(run.params), batch))
        np.testing.assert_allclose(found["profiles"]["after training"][name]["norms"], expected)
        before = quartiles(gradient_profile(run.model, run.model.init(run.config.seed), batch))
        np.testing.assert_allclose(found["profiles"]["at initialisation"][name]["norms"], before)
        assert found["evaluation"][name]["loss"] == run.evaluation.loss


def test_a_trained_run_is_analysed_with_its_own_model(run, tmp_path, capsys, without_drawing):
    options = ["--sequences", "2", "--seeds", "2", "--out", str(tmp_path / "out")]
    assert main(["superhighway", "--run", str(run.folder), *options]) == 0
    output = capsys.readouterr().out
    found = numbers(tmp_path / "out")
    assert found["length"] == 4
    name = "vanilla" if run.config.alignment == "none" else "attention"
    assert ("there is no attention" in output) == (name == "vanilla")
    assert written(tmp_path / "out") == {stem for stem in INITIAL | LATER if "-" in stem} | {"training"}
    profile = gradient_profile(run.model, double(run.params), held_out_batch(run.config.data(), 4, 4))
    np.testing.assert_allclose(found["profiles"]["after training"][name]["norms"], quartiles(profile))
    assert ("attention cut out" in found["profiles"]["after training"]) == (name == "attention")


SMALLEST = ["--length", "1", "--lengths", "1", "--radii", "2", "--sequences", "1", "--seeds", "1"]


def test_one_position_and_one_sequence_work(tmp_path, capsys, without_drawing):
    assert main(["superhighway", *SMALL, *SMALLEST, "--out", str(tmp_path)]) == 0
    assert written(tmp_path) == INITIAL
    assert "nan" not in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.parametrize("sizes", [SHORT, [*SMALL, *SMALLEST]])
def test_every_figure_is_drawn(sizes, tmp_path):
    assert main(["superhighway", *sizes, "--out", str(tmp_path)]) == 0
    for name in INITIAL:
        assert (tmp_path / f"{name}.png").read_bytes().startswith(b"\x89PNG")
        assert b"<svg" in (tmp_path / f"{name}.svg").read_bytes()


@pytest.mark.slow
def test_the_figure_of_the_gates_is_drawn(tmp_path):
    assert main(["superhighway", "--gates", *SMALL, "--length", "3", "--out", str(tmp_path)]) == 0
    assert (tmp_path / "gates.png").read_bytes().startswith(b"\x89PNG")
    svg = (tmp_path / "gates.svg").read_text(encoding="utf-8")
    assert all(name in svg for name in ("tanh", "bias 0", "bias 3", "lstm at initialisation", "dashed"))


@pytest.mark.parametrize(
    ("alignment", "cell"),
    [("dot", "lstm"), *(pytest.param(*each, marks=pytest.mark.slow) for each in [("dot", "tanh"), ("general", "gru")])],
)
def test_every_model_works(alignment, cell, tmp_path, capsys, without_drawing):
    more = ["--bidirectional", "--alignment", alignment, "--cell", cell, "--task", "reverse"]
    assert main(["superhighway", *SHORT, *more, "--out", str(tmp_path)]) == 0
    assert written(tmp_path) == INITIAL
    output = capsys.readouterr().out
    assert "nan" not in output
    assert "both directions: the gradient of each" in output
    assert ("\ndL/dc_t " in output) == (cell == "lstm")


def test_gates_are_compared_with_attention_and_without(tmp_path, capsys, monkeypatch, without_drawing):
    monkeypatch.setenv("COLUMNS", "80")
    options = ["--length", "5", "--forget-biases", "-1", "2.5", "--out", str(tmp_path)]
    assert main(["superhighway", "--gates", *SMALL, *options]) == 0
    output = capsys.readouterr().out
    assert all(len(line) <= 80 for line in output.splitlines() if not line.startswith("written"))
    assert "measuring at initialisation: lstm, bias -1" in output
    assert "nan" not in output
    assert written(tmp_path) == {"gates"}
    found = json.loads((tmp_path / "gates.json").read_text(encoding="utf-8"))
    rows = found["gates"]["at initialisation"]
    assert list(rows) == ["tanh", "gru, bias -1", "gru, bias 2.5", "lstm, bias -1", "lstm, bias 2.5"]
    for name in rows:
        assert re.search(rf"^{name} +[-\d]", output, re.MULTILINE)
    config = make_training(SuperhighwayConfig(length=5, hidden_size=8, embedding_size=4, symbols=5))
    model = replace(config, cell="gru", forget_bias=2.5).model(8, 8)
    draws = [model.init(0), model.init(1)]
    vanilla = without_attention(model, draws[0])[0], [without_attention(model, params)[1] for params in draws]
    expected = study_gates((model, draws), vanilla, held_out_batch(config.data(), 5, 2))
    for name in ("attention", "vanilla"):
        assert rows["gru, bias 2.5"][name] == plain(expected[name])
    assert rows["tanh"]["vanilla"]["keep"] == [None] * 3


@pytest.mark.parametrize("option", [[], ["--gates"]])
def test_an_interrupted_training_ends_the_command(option, tmp_path, monkeypatch, capsys, without_drawing):
    trained = []

    def interrupted(settings, listener):
        trained.append(settings.alignment)
        return SimpleNamespace(over=False)

    monkeypatch.setattr(superhighway, "train", interrupted)
    sizes = [*SMALL, "--length", "3"] if option else SHORT
    assert main(["superhighway", *option, "--train", *sizes, "--out", str(tmp_path)]) == 130
    assert trained == ["additive"]
    assert capsys.readouterr().err == "numpy-attention: interrupted\n"


@pytest.mark.slow
def test_gates_are_compared_after_training_too(tmp_path, capsys, without_drawing):
    assert main(["superhighway", "--gates", "--train", *SMALL, "--length", "3", "--out", str(tmp_path)]) == 0
    output = capsys.readouterr().out
    found = json.loads((tmp_path / "gates.json").read_text(encoding="utf-8"))
    assert (
        list(found["gates"]["after training"]) == list(found["evaluation"]) == ["tanh", "gru, bias 1", "lstm, bias 1"]
    )
    batch = held_out_batch(load_run(tmp_path / "tanh" / "vanilla").config.data(), 3, 4)
    for name, row in found["gates"]["after training"].items():
        cell = name.split(",")[0]
        runs = {key: load_run(tmp_path / cell / key) for key in ("attention", "vanilla")}
        for key, run in runs.items():
            assert run.config.cell == cell
            assert run.config.forget_bias == (None if cell == "tanh" else 1)
            expected = quartiles(gradient_profile(run.model, double(run.params), batch))
            np.testing.assert_allclose(row[key]["h"], expected)
        right = [f"{100 * runs[key].evaluation.token_accuracy:.1f} %" for key in ("vanilla", "attention")]
        assert f"{name}: {right[0]} of held-out tokens right without, {right[1]} with" in output


def test_a_folder_with_something_in_it_is_not_written_into_unless_asked(tmp_path, capsys, without_drawing):
    (tmp_path / "notes.txt").write_text("mine")
    assert main(["superhighway", *SHORT, "--out", str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert (
        error == f"numpy-attention: out: {tmp_path} has something in it; name another folder, or ask to overwrite it\n"
    )
    assert [file.name for file in tmp_path.iterdir()] == ["notes.txt"]
    assert main(["superhighway", *SHORT, "--out", str(tmp_path), "--overwrite"]) == 0
    assert (tmp_path / "notes.txt").read_text() == "mine"
    assert written(tmp_path) == INITIAL


@pytest.mark.parametrize("folder", ["q[/s]", ":smile:", "\x1b[2J"])
def test_a_folder_is_named_as_it_is(folder, tmp_path, monkeypatch, capsys, without_drawing):
    monkeypatch.chdir(tmp_path)
    assert main(["superhighway", *SMALL, *SMALLEST, "--out", folder]) == 0
    assert f"every number in {printable(folder)}/superhighway.json\n" in capsys.readouterr().out
    assert written(tmp_path / folder) == INITIAL


@pytest.mark.parametrize("out", [[], ["--out", "a/b"], ["--out", "mine"]])
def test_when_it_is_interrupted_nothing_is_left_behind(out, tmp_path, monkeypatch, capsys):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine").mkdir()
    monkeypatch.setattr(superhighway, "study_initial", interrupted)
    assert main(["superhighway", *SHORT, *out]) == 130
    assert capsys.readouterr().err == "numpy-attention: interrupted\n"
    assert [file.name for file in tmp_path.iterdir()] == ["mine"]


def test_without_matplotlib_it_says_so_before_it_measures(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert main(["superhighway", *SHORT]) == 2
    assert capsys.readouterr() == ("", f"numpy-attention: {NEEDS}\n")
    assert not list(tmp_path.iterdir())


@pytest.mark.filterwarnings("default")
def test_a_warning_is_one_line(tmp_path, monkeypatch, capsys, without_drawing):
    def warned(*_):
        warnings.warn("boxes \x1b[2J", stacklevel=1)
        return {}

    monkeypatch.setattr(superhighway, "study_figures", warned)
    assert main(["superhighway", *SMALL, *SMALLEST, "--out", str(tmp_path)]) == 0
    assert capsys.readouterr().err == "numpy-attention: boxes \\x1b[2J\n"


def damage(run, folder, content):
    """The run with other contents: bytes, or weights that are not all finite."""
    folder.mkdir()
    if content is None:
        return
    if isinstance(content, bytes):
        (folder / FILE).write_bytes(content)
        return
    with np.load(run.folder / FILE) as arrays:
        changed = {name: arrays[name] for name in arrays.files}
    changed["encoder.U"][0, 0] = content
    np.savez(folder / FILE, **changed)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "expected the folder of a run, there is no "),
        (b"not an archive", "cannot read "),
        (b"", "cannot read "),
        (np.nan, "expected finite values, encoder.U[0, 0] is nan"),
        (np.inf, "expected finite values, encoder.U[0, 0] is inf"),
    ],
)
def test_a_run_that_cannot_be_used_is_one_clear_line_and_nothing_is_written(run, content, message, tmp_path, capsys):
    damage(run, tmp_path / "run", content)
    assert main(["superhighway", "--run", str(tmp_path / "run"), "--out", str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err
    assert error.startswith("numpy-attention: run: ")
    assert message in error
    assert error.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_a_run_of_a_task_that_was_added_in_python_is_one_clear_line(tmp_path, monkeypatch, capsys):
    with monkeypatch.context() as patch:
        patch.setitem(TASKS, "sort", sorted)
        train(TrainConfig("sort", length=3, hidden_size=4, steps=1, out=tmp_path / "run"), None)
    assert main(["superhighway", "--run", str(tmp_path / "run"), "--out", str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err
    assert error.startswith(
        "numpy-attention: run: its data are not known here; in Python, use na.gradient_paths (task: "
    )
    assert "there is no file sort" in error
    assert error.count("\n") == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--length", "0"], "length: expected a whole number of at least 1, got 0"),
        (["--lengths", "10", "0"], "length: expected a whole number of at least 1, got 0"),
        (["--sequences", "0"], "sequences: expected a whole number of at least 1, got 0"),
        (["--seeds", "0"], "seeds: expected a whole number of at least 1, got 0"),
        (["--radii", "-1"], "radii: expected numbers above 0, got -1.0"),
        (["--radii", "nan"], "radii: expected numbers above 0, got nan"),
        (["--run", "runs/reverse", "--train"], "a run is trained already"),
        (["--run", "runs/reverse", "--gates"], "gates: expected either a run or --gates, got both"),
        (["--gates", "--lengths", "3"], "lengths: --gates compares all cells at one length; leave it out, got (3,)"),
        (["--gates", "--cell", "lstm"], "cell: --gates compares all cells at one length; leave it out, got lstm"),
        (["--gates", "--forget-biases", "nan"], "forget_biases: expected a finite number, got nan"),
        (["--forget-biases", "3"], "forget_biases: expected --gates with it, got (3.0,) alone"),
        (["--alignment", "none"], "alignment: expected one of additive, location, stacked, dot, general, got 'none'"),
        (["--cell", "rnn"], "cell: expected one of tanh, gru, lstm, got 'rnn'"),
        (["--symbols", "1"], "symbols: expected at least 2"),
        (["--colour"], "--colour"),
    ],
)
def test_wrong_use_exits_with_2_and_says_why(arguments, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    try:
        status = main(["superhighway", *arguments])
    except SystemExit as exit_info:
        status = exit_info.code
    assert status == 2
    captured = capsys.readouterr()
    assert message in " ".join((captured.out + captured.err).replace("│", " ").split())
    assert "Traceback" not in captured.err
    assert not list(tmp_path.iterdir())


def test_what_a_run_brings_along_cannot_be_set_beside_it(run, tmp_path, capsys):
    for option in (["--hidden-size", "3"], ["--task", "reverse"], ["--radii", "2"]):
        assert main(["superhighway", "--run", str(run.folder), "--out", str(tmp_path / "out"), *option]) == 2
        error = capsys.readouterr().err
        assert "a run brings its own; leave it out, got" in error
        assert error.count("\n") == 1
    assert not (tmp_path / "out").exists()
