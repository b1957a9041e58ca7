import csv
import os
import signal
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from numpy_attention import train
from numpy_attention.sweep import grid, look, plot_outcomes, rows_of, sweep
from numpy_attention.sweep import runs as module
from numpy_attention.training.parallel import launched

TINY = {"hidden_size": 6, "embedding_size": 4, "alignment_size": 4, "batch_size": 8, "steps": 20}


class Here(Executor):
    """Runs everything at once, in this process."""

    def submit(self, function, /, *arguments, **named):
        future = Future()
        try:
            future.set_result(function(*arguments, **named))
        except Exception as error:
            future.set_exception(error)
        return future


@pytest.fixture(autouse=True)
def fresh(monkeypatch):
    monkeypatch.setattr(module, "_asked_to_stop", False)


def configs(**settings):
    return grid(**{"task": ["copy", "reverse"], "length": 3, "seed": range(2), **TINY, **settings})


def test_every_run_has_a_folder_and_a_row(tmp_path):
    outcomes = sweep(configs(), tmp_path / "all", Here(), progress=None)
    assert [outcome.name for outcome in outcomes] == ["copy seed=0", "copy seed=1", "reverse seed=0", "reverse seed=1"]
    assert all(outcome.run.over and outcome.error is None for outcome in outcomes)
    assert [outcome.folder for outcome in outcomes] == [tmp_path / "all" / outcome.name for outcome in outcomes]
    assert outcomes[0].metrics[-1]["number"] == 20
    assert outcomes[0].seconds > 0
    assert outcomes[0].cpu_seconds > 0
    assert (outcomes[0].first(0.0), outcomes[0].first(1.1)) == (outcomes[0].metrics[0], {})
    with open(tmp_path / "all" / "sweep.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["seed"] for row in rows] == ["0", "1", "0", "1"]
    assert float(rows[2]["test_loss"]) == outcomes[2].run.test.loss
    assert list(rows[0]) == list(rows_of(outcomes)[0])


def test_the_same_as_one_run_by_itself(tmp_path):
    (outcome,) = sweep(configs(task="copy", seed=0), tmp_path, Here(), progress=None)
    alone = train(outcome.config.__class__("copy", length=3, **TINY, out=tmp_path / "alone", workers=1), progress=None)
    assert all(np.array_equal(outcome.run.params[name], value) for name, value in alone.params.items())


def test_a_run_that_is_over_is_never_made_again(tmp_path):
    first = sweep(configs(), tmp_path, Here(), progress=None)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("checkpoint.npz")}
    lines = []

    class Listener:
        def started(self, count, over):
            lines.append((count, over))

        def ended(self, outcome, left, seconds):
            lines.append(outcome.name)

    more = sweep(configs(seed=range(3)), tmp_path, Here(), progress=Listener())
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert lines[0] == (6, 4)
    assert sorted(lines[1:]) == ["copy seed=2", "reverse seed=2"]
    assert [outcome.run.evaluation.loss for outcome in more if outcome.config.seed < 2] == [
        outcome.run.evaluation.loss for outcome in first
    ]


class StopAfter:
    """An executor that is interrupted after some runs."""

    def __init__(self, runs):
        self.left = runs

    def submit(self, function, /, *arguments):
        self.left -= 1
        if self.left < 0:
            raise KeyboardInterrupt
        return Here().submit(function, *arguments)


def test_an_interrupted_sweep_goes_on(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        sweep(configs(), tmp_path, StopAfter(2), progress=None)
    found = look(configs(), tmp_path)
    assert [outcome.error for outcome in found] == [None, None, "not over yet", "not over yet"]
    assert all(outcome.run for outcome in sweep(configs(), tmp_path, Here(), progress=None))


def test_an_interrupted_run_is_resumed(tmp_path, monkeypatch):
    (config,) = configs(task="copy", seed=0)
    whole = sweep([config], tmp_path / "whole", Here(), progress=None)[0].run
    made = module.train

    def stopped(config, progress):
        class Stop:
            def started(self, *_):
                pass

            def stepped(self, step):
                if step.number == 7:
                    os.kill(os.getpid(), signal.SIGINT)

            def evaluated(self, *_):
                pass

        return made(config, progress=Stop())

    monkeypatch.setattr(module, "train", stopped)
    (outcome,) = sweep([config], tmp_path / "parts", Here(), progress=None)
    assert (outcome.run, outcome.error) == (None, "interrupted; run the same command again to continue")
    assert module.make_run(outcome.config) == module.INTERRUPTED  # this process begins no other run of that sweep
    (outcome,) = sweep([config], tmp_path / "parts", Here(), progress=None)
    assert all(np.array_equal(outcome.run.params[name], value) for name, value in whole.params.items())


def test_a_run_that_fails_is_reported_and_the_others_go_on(tmp_path, capsys):
    outcomes = sweep(configs(task="copy", learning_rate=[1e-3, 1e30]), tmp_path, Here())
    assert [outcome.run is None for outcome in outcomes] == [False, True, False, True]
    assert "no longer finite; try a smaller learning rate" in outcomes[1].error
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "4 runs"
    assert len(lines) == 5
    assert rows_of(outcomes)[1]["error"] == outcomes[1].error
    assert rows_of(outcomes)[1]["test_loss"] is None


def test_a_folder_with_another_run_is_refused(tmp_path):
    sweep(configs(task="copy"), tmp_path, Here(), progress=None)
    message = "holds a run with steps 20, expected 30; name another folder$"
    with pytest.raises(ValueError, match=message):
        sweep(configs(task="copy", steps=30), tmp_path, Here(), progress=None)


def test_a_folder_of_another_version_is_refused(tmp_path):
    sweep(configs(task="copy"), tmp_path, Here(), progress=None)
    path = tmp_path / "copy seed=0" / "checkpoint.npz"
    path.write_bytes(b"something else")
    with pytest.raises(ValueError, match="^run: cannot read .*copy seed=0/checkpoint.npz"):
        sweep(configs(task="copy"), tmp_path, Here(), progress=None)


def test_files_of_pairs_by_relative_paths_go_on(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("pairs.tsv").write_text("".join(f"{word} x\t{word}\n" for word in "abcdefgh"))
    files = grid(task="pairs.tsv", dev=Path("pairs.tsv"), seed=range(2), **TINY)
    assert all(outcome.run for outcome in sweep(files, "all", Here(), progress=None))
    assert all(outcome.run for outcome in look(files, "all"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([],), "^configs: expected at least one TrainConfig, got \\[\\]$"),
        ((["copy"],), "^configs: expected at least one TrainConfig, got \\['copy'\\]$"),
    ],
)
def test_no_configs(tmp_path, arguments, message):
    with pytest.raises(ValueError, match=message):
        sweep(*arguments, tmp_path, Here())


def test_a_number_of_processes_that_is_none(tmp_path):
    with pytest.raises(ValueError, match="^processes: expected a whole number of at least 1, got 0$"):
        sweep(configs(), tmp_path, processes=0)


def test_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="^folder: cannot make .*file/all: Not a directory$"):
        sweep(configs(), tmp_path / "file" / "all", Here())


def test_beside_other_ranks_of_mpi_a_run_is_made_alone(tmp_path, monkeypatch):
    monkeypatch.setenv("PMI_RANK", "1")
    monkeypatch.setenv("PMI_SIZE", "3")
    (outcome,) = sweep(configs(task="copy", seed=0), tmp_path, Here(), progress=None)
    assert outcome.run is not None
    assert launched() == (1, 3)


@pytest.mark.slow
def test_a_figure_for_each_task(tmp_path):
    outcomes = sweep(configs(alignment=["additive", "none"]), tmp_path, ThreadPoolExecutor(1), progress=None)
    figures = plot_outcomes(outcomes)
    assert list(figures) == ["copy", "reverse"]
    legend = [text.get_text() for text in figures["copy"].axes[0].get_legend().get_texts()]
    assert legend == ["alignment additive", "alignment none"]
    many = [outcome for outcome in outcomes for _ in range(2)]
    assert list(plot_outcomes(many)) == ["copy", "reverse"]


@pytest.mark.slow
def test_processes_and_one_that_is_killed(tmp_path, monkeypatch):
    assert all(outcome.run for outcome in sweep(configs(), tmp_path / "whole", processes=2, progress=None))

    class Killer:
        def started(self, *_):
            pass

        def ended(self, outcome, left, seconds):
            import multiprocessing

            for child in multiprocessing.active_children():
                child.kill()

    long = configs(task="copy", steps=300, seed=range(3))
    outcomes = sweep(long, tmp_path / "killed", processes=1, progress=Killer())
    assert outcomes[0].run is not None
    told = "its process was ended from outside, or one beside it; run the same command again to continue"
    assert [outcome.error for outcome in outcomes[1:]] == [told, told]
    assert all(outcome.run for outcome in sweep(long, tmp_path / "killed", processes=2, progress=None))
