import csv
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from numpy_attention import resume, train
from numpy_attention.sweep import grid, look, plot_outcomes, rows_of, sweep
from numpy_attention.sweep import making as module
from numpy_attention.training.archive import alone_in
from numpy_attention.training.checkpoint import load_checkpoint, save_checkpoint
from numpy_attention.training.parallel import launched
from tests.conftest import elsewhere, hearing_interrupts

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
def fresh():
    module.STOPPED.clear()


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


def asked_for(**settings):
    """One run, with these settings besides those that are left open."""
    return grid(**{"task": "copy", "length": 3, "hidden_size": 6, "alignment_size": 4, "steps": 20, **settings})


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"clip": 0.01}, "clip 0.01, expected its default"),
        ({"patience": 3}, "patience 3, expected its default"),
        ({"cell": "lstm", "forget_bias": 0.5}, "forget_bias 0.5, expected its default"),
        ({"warmup": 1}, "warmup 1, expected 100"),
    ],
)
def test_a_run_is_another_without_a_setting_that_it_was_given(tmp_path, settings, told):
    assert sweep(asked_for(**settings), tmp_path, Here(), progress=None)[0].run
    assert sweep(asked_for(**settings), tmp_path, Here(), progress=None)[0].run
    left_open = {name: value for name, value in settings.items() if name == "cell"}
    with pytest.raises(ValueError, match=f"holds a run with {told}; name another folder$"):
        look(asked_for(**left_open), tmp_path)
    sweep(asked_for(**left_open), tmp_path / "other", Here(), progress=None)
    with pytest.raises(ValueError, match="holds a run with .* its default, expected |warmup 100, expected 1;"):
        look(asked_for(**settings), tmp_path / "other")


def test_steps_that_were_given_and_then_left_open(tmp_path):
    sweep(asked_for(), tmp_path, Here(), progress=None)
    with pytest.raises(ValueError, match="holds a run with steps 20, expected its default; name another folder$"):
        look(asked_for(steps=None), tmp_path)
    resume(tmp_path / "copy seed=0", progress=None, steps=25)
    assert look(asked_for(steps=25), tmp_path)[0].run.step == 25
    with pytest.raises(ValueError, match="holds a run with steps 25, expected 20; name another folder$"):
        look(asked_for(), tmp_path)


def test_a_file_that_was_given_and_then_left_open(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("pairs.tsv").write_text("".join(f"{word} x\t{word}\n" for word in "abcdefgh"))
    sweep(grid(task="pairs.tsv", dev="pairs.tsv", max_length=5, **TINY), "all", Here(), progress=None)
    assert look(grid(task=tmp_path / "pairs.tsv", dev="pairs.tsv", max_length=5, **TINY), "all")[0].run
    for settings in ({"dev": "pairs.tsv"}, {"max_length": 5}):
        with pytest.raises(ValueError, match="holds a run with .*, expected its default; name another folder$"):
            look(grid(task="pairs.tsv", **settings, **TINY), "all")


def test_a_run_of_an_older_version_is_compared_by_what_was_made_of_its_settings(tmp_path):
    sweep(asked_for(clip=2.0, warmup=7), tmp_path, Here(), progress=None)
    folder = tmp_path / "copy seed=0"
    save_checkpoint(folder, replace(load_checkpoint(folder), asked=None))
    assert look(asked_for(steps=None), tmp_path)[0].run
    with pytest.raises(ValueError, match="holds a run with clip 2.0, expected 3.0; name another folder$"):
        look(asked_for(clip=3.0), tmp_path)


def test_another_sweep_in_the_same_folder(tmp_path):
    with alone_in(tmp_path), pytest.raises(ValueError, match=f"^folder: another sweep is running in {tmp_path}$"):
        sweep(configs(), tmp_path, Here(), progress=None)
    assert list(tmp_path.iterdir()) == []


class Terminated:
    """Listener that gets SIGTERM."""

    def started(self, count, over):
        os.kill(os.getpid(), signal.SIGTERM)

    def ended(self, outcome, left, seconds):
        pass


def test_sigterm_interrupts_a_sweep(tmp_path):
    before = signal.signal(signal.SIGTERM, lambda number, frame: None)
    try:
        ours = signal.getsignal(signal.SIGTERM)
        with pytest.raises(KeyboardInterrupt):
            sweep(configs(), tmp_path, Here(), progress=Terminated())
        assert signal.getsignal(signal.SIGTERM) is ours
        with elsewhere(module.terminable()):
            assert signal.getsignal(signal.SIGTERM) is ours
    finally:
        signal.signal(signal.SIGTERM, before)


class Ended:
    """An executor whose process ends, before some runs or after they have made their folders."""

    def __init__(self, those=(), folders=True):
        self.those, self.folders, self.handed = those, folders, []

    def submit(self, function, config):
        self.handed.append(config.out.name)
        if config.out.name not in self.those:
            return Here().submit(function, config)
        if self.folders:
            config.out.mkdir(exist_ok=True)
        future = Future()
        future.set_exception(BrokenProcessPool())
        return future


def test_only_the_run_that_ends_its_process_is_reported(tmp_path, monkeypatch):
    executor = Ended(["copy seed=1"])
    monkeypatch.setattr(module, "_pool", lambda: nullcontext(executor))
    outcomes = sweep(configs(), tmp_path, processes=2, progress=None)
    assert [outcome.error for outcome in outcomes] == [None, module.ENDED, None, None]
    names = ["copy seed=0", "copy seed=1", "reverse seed=0", "reverse seed=1"]
    assert executor.handed == [*names, "copy seed=1"]  # once more, alone


def test_processes_that_end_before_any_run_are_not_started_again_and_again(tmp_path, monkeypatch):
    executor = Ended(["copy seed=0", "copy seed=1"], folders=False)
    monkeypatch.setattr(module, "_pool", lambda: nullcontext(executor))
    outcomes = sweep(configs(), tmp_path, processes=2, progress=None)
    told = 'its process has ended before it began; a program of your own needs `if __name__ == "__main__":`'
    assert [outcome.error for outcome in outcomes] == [f"{told} around the call"] * 4
    assert executor.handed == ["copy seed=0", "copy seed=1"]


def test_a_run_that_fails_before_it_has_a_folder_shows_that_processes_work(tmp_path, monkeypatch):
    files = grid(task=[str(tmp_path / f"{name}.tsv") for name in "abc"], **TINY)
    executor = Ended(["b seed=0"], folders=False)
    monkeypatch.setattr(module, "_pool", lambda: nullcontext(executor))
    outcomes = sweep(files, tmp_path / "all", processes=1, progress=None)
    assert [outcome.error == module.ENDED for outcome in outcomes] == [False, True, False]
    assert all(f"{name}.tsv" in outcomes[number].error for number, name in ((0, "a"), (2, "c")))
    assert executor.handed == ["a seed=0", "b seed=0", "c seed=0", "b seed=0"]


def test_a_process_that_ends_while_it_has_nothing_to_do(tmp_path, monkeypatch):
    class Once:
        def __init__(self):
            self.left = 1

        def submit(self, function, config):
            self.left -= 1
            if self.left < 0:
                raise BrokenProcessPool
            return Here().submit(function, config)

    monkeypatch.setattr(module, "_pool", lambda: nullcontext(Once()))
    assert all(outcome.run for outcome in sweep(configs(), tmp_path, processes=1, progress=None))


def test_an_executor_that_is_handed_in_is_not_replaced(tmp_path):
    executor = Ended(["copy seed=1", "reverse seed=0"])
    outcomes = sweep(configs(), tmp_path, executor, progress=None)
    told = "its process was ended from outside, or one beside it; run the same command again to continue"
    assert [outcome.error for outcome in outcomes] == [None, told, told, None]
    assert len(executor.handed) == 4


def test_as_many_processes_as_there_are_cores_for_this_one(tmp_path, monkeypatch):
    made = []

    def pool():
        made.append(Here())
        return nullcontext(made[-1])

    monkeypatch.setattr(module, "_pool", pool)
    monkeypatch.setattr(module, "cores", lambda: {2, 5, 7})
    monkeypatch.setattr(os, "cpu_count", lambda: 1)
    sweep(configs(), tmp_path, progress=None)
    assert len(made) == 3


class Killer(threading.Thread):
    """Kills processes that make runs: one of them once, when a file is there; later, if asked to, each that appears."""

    def __init__(self, path):
        super().__init__(daemon=True)
        self.path, self.each, self.done = path, threading.Event(), threading.Event()
        self.beside = []

    def run(self):
        while not self.path.exists():
            time.sleep(0.01)
        killed, *self.beside = multiprocessing.active_children()
        killed.kill()
        while not self.done.wait(0.01):
            if self.each.is_set():
                for child in multiprocessing.active_children():
                    child.kill()

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *exception):
        self.done.set()
        self.join()


class Told:
    """Listener that calls a function with the name of every run that ends."""

    def __init__(self, function):
        self.function = function

    def started(self, count, over):
        pass

    def ended(self, outcome, left, seconds):
        self.function(outcome.name)


@pytest.mark.slow
def test_processes_and_one_that_is_killed(tmp_path):
    assert all(outcome.run for outcome in sweep(configs(), tmp_path / "whole", processes=2, progress=None))
    long = configs(task="copy", steps=300, seed=range(3))
    with Killer(tmp_path / "killed" / "copy seed=1" / "checkpoint.npz") as killer:
        listener = Told(lambda name: name == "copy seed=2" and killer.each.set())
        outcomes = sweep(long, tmp_path / "killed", processes=1, progress=listener)
    told = "its process was ended from outside, also when it was made alone; run the same command again to continue"
    assert [outcome.error for outcome in outcomes] == [None, told, None]
    assert all(outcome.run for outcome in sweep(long, tmp_path / "killed", processes=2, progress=None))


@pytest.mark.slow
def test_a_killed_process_takes_no_other_with_it(tmp_path):
    long = configs(task="copy", steps=1500, seed=range(4))
    alive = []
    with Killer(tmp_path / "copy seed=1" / "checkpoint.npz") as killer:
        listener = Told(lambda name: alive.append([process.is_alive() for process in killer.beside]))
        outcomes = sweep(long, tmp_path, processes=2, progress=listener)
    assert [outcome.error for outcome in outcomes] == [None] * 4
    assert alive[0] == [True]


@pytest.mark.slow
def test_a_program_without_a_guard_is_told_so(tmp_path):
    program = tmp_path / "program.py"
    program.write_text(
        "from numpy_attention.sweep import grid, sweep\n"
        f"found = sweep(grid(task='copy', length=3, seed=range(3), **{TINY}), {str(tmp_path / 'all')!r}, processes=2)\n"
        "print(sorted({outcome.error for outcome in found}))\n"
    )
    done = subprocess.run([sys.executable, program], capture_output=True, text=True, timeout=120, check=True)
    assert done.stdout.splitlines()[-1] == str([module.NOT_BEGUN])
    assert f"ValueError: sweep: {module.GUARD}" in done.stderr
    assert [path.name for path in (tmp_path / "all").iterdir()] == ["sweep.csv"]


def started_by(parent):
    """Numbers of the processes that a process has started."""
    return [int(child) for child in Path(f"/proc/{parent}/task/{parent}/children").read_text().split()]


def is_running(process):
    """True unless the process has ended; one that nobody has waited for has."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.slow
@pytest.mark.parametrize(("number", "status"), [(signal.SIGKILL, -9), (signal.SIGTERM, 130), (signal.SIGINT, 130)])
def test_a_sweep_that_is_ended_leaves_no_process_and_its_runs_are_saved(tmp_path, number, status):
    settings = {**TINY, "steps": 30_000, "length": 3, "seed": "0,1,2", "processes": 2, "out": tmp_path}
    flags = [f"--{name.replace('_', '-')}={value}" for name, value in settings.items()]
    command = [sys.executable, "-m", "numpy_attention", "sweep", "copy", *flags]
    with hearing_interrupts():
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    folders = [tmp_path / f"copy seed={seed}" for seed in range(2)]
    while not all((folder / "metrics.jsonl").exists() for folder in folders):
        assert process.poll() is None
        time.sleep(0.01)
    time.sleep(0.2)  # in the midst of it, not at an evaluation
    children = started_by(process.pid)
    process.send_signal(number)
    until = time.perf_counter() + 60
    while any(map(is_running, children)) and time.perf_counter() < until:
        time.sleep(0.01)
    alive = list(filter(is_running, children))
    for child in alive:
        os.kill(child, signal.SIGKILL)
    _, told = process.communicate(timeout=60)
    assert process.returncode == status
    assert len(children) >= 2
    assert not alive
    if status == 130:
        assert told.decode() == "numpy-attention: interrupted; run the same command again to continue\n"
    for folder in folders:
        step = load_checkpoint(folder).step
        assert step % 3000  # saved when it was asked to stop, not at an evaluation
        assert resume(folder, progress=None, steps=step + 5).over
    assert not (tmp_path / "copy seed=2").exists()
