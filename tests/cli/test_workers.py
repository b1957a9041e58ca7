"""``translate`` and ``evaluate`` with several workers."""

import io
import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

import numpy_attention as na
from numpy_attention import parts
from numpy_attention.cli import main
from numpy_attention.training.checkpoint import load_checkpoint, save_checkpoint
from tests.conftest import hearing_interrupts

PATIENCE = 60  # seconds after which a command hangs


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    config = na.TrainConfig("copy", length=(1, 3), symbols=4, hidden_size=16, steps=10, out=folder / "run")
    na.train(config, progress=None)
    lines = ["a b c", "", "a q", "b", *["a c d", "d"] * 1000]
    (folder / "lines.txt").write_text("".join(f"{line}\n" for line in lines))
    (folder / "pairs.tsv").write_text("".join(f"{line}\t{line[::-1]}\n" for line in lines[4:]))
    return folder


@pytest.fixture
def started(monkeypatch):
    """The numbers of workers that were started."""
    counts, shared = [], parts._shared
    monkeypatch.setattr(parts, "_shared", lambda *given: counts.append(given[2]) or shared(*given))
    return counts


def translated(folder, monkeypatch, *arguments):
    with open(folder / "lines.txt", encoding="utf-8") as file:
        monkeypatch.setattr("sys.stdin", file)
        return main(["translate", str(folder / "run"), *arguments])


def test_workers_write_what_one_process_writes(folder, started, capsys, monkeypatch):
    monkeypatch.setattr("numpy_attention.cli.translate.PART", 700)
    assert translated(folder, monkeypatch, "--workers", "1") == 2
    alone = capsys.readouterr()
    assert (alone.out.count("\n"), started) == (2004, [])
    assert translated(folder, monkeypatch, "--workers", "256") == 2
    assert (capsys.readouterr(), started) == (alone, [3])


def test_workers_find_the_figures_of_one_process(folder, started, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("numpy_attention.parts.PART", 700)
    command = ["evaluate", str(folder / "run"), str(folder / "pairs.tsv"), "--json", str(tmp_path / "out.json")]
    found = []
    for workers in ("1", "2"):
        assert main([*command, "--workers", workers]) == 0
        found.append(json.loads((tmp_path / "out.json").read_text()))
    assert started == [2]
    assert found[1]["perplexity"] == pytest.approx(found[0]["perplexity"], rel=1e-6)
    assert {**found[1], "perplexity": 0} == {**found[0], "perplexity": 0}


def test_a_run_gives_workers_its_sources_and_pairs(folder, started, monkeypatch):
    monkeypatch.setattr("numpy_attention.parts.PART", 700)
    run = na.load_run(folder / "run")
    lines = (folder / "lines.txt").read_text().splitlines()[4:]
    pairs = folder / "pairs.tsv"
    alone = run.translate_all([line.split() for line in lines], n_best=2, beam_size=2), run.evaluate(pairs)
    assert started == []
    together = (
        run.translate_all([line.split() for line in lines], n_best=2, beam_size=2, workers=2),
        run.evaluate(pairs, 2),
    )
    assert started == [2, 2]
    texts = [[[output.text for output in best] for best in found] for found, _ in (alone, together)]
    assert texts[0] == texts[1]
    assert together[1].loss == pytest.approx(alone[1].loss, rel=1e-6)
    assert together[1].token_accuracy == alone[1].token_accuracy
    for wrong in (0, 1.5, 10**6, True):
        with pytest.raises(ValueError, match=r"^workers: expected a whole number of at"):
            run.translate_all([["a"]], workers=wrong)
        with pytest.raises(ValueError, match=r"^workers: expected a whole number of at"):
            run.evaluate(pairs, workers=wrong)


def test_lines_that_come_one_by_one_need_no_workers(folder, started, capsys, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.StringIO("a b c\nb\n"))
    assert main(["translate", str(folder / "run"), "--workers", "2"]) == 0
    assert (capsys.readouterr().out.count("\n"), started) == (2, [])


@pytest.mark.parametrize(
    ("workers", "said"),
    [
        ("0", "workers: expected a whole number of at least 1, got 0"),
        ("-1", "workers: expected a whole number of at least 1, got -1"),
        ("1000000", "workers: expected a whole number of at most 256, got 1000000"),
        ("1.5", "--workers: expected a whole number, got '1.5'"),
    ],
)
@pytest.mark.parametrize("command", [["translate", "a b"], ["evaluate", "pairs.tsv"]])
def test_a_number_of_workers_that_cannot_be_is_one_line(command, workers, said, folder, capsys, monkeypatch):
    monkeypatch.chdir(folder)
    assert main([command[0], "run", command[1], "--workers", workers]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"numpy-attention: {said}")
    assert error.count("\n") == 1


def test_a_daemon_says_that_it_may_not_start_workers(folder, capsys, monkeypatch):
    monkeypatch.setattr(multiprocessing, "current_process", lambda: SimpleNamespace(daemon=True))
    assert translated(folder, monkeypatch, "--workers", "2") == 2
    error = "numpy-attention: workers: expected 1 in a daemon, a process that may start no others, got 2\n"
    assert capsys.readouterr().err == error


@pytest.mark.slow
def test_an_error_in_a_worker_is_that_of_one_process(folder, started, capsys, monkeypatch):
    saved = load_checkpoint(folder / "run")
    for value in saved.params.values():
        value[...] = 1e38
    (folder / "huge").mkdir()
    save_checkpoint(folder / "huge", saved)
    assert main(["evaluate", str(folder / "huge"), str(folder / "pairs.tsv"), "--workers", "2"]) == 1
    assert capsys.readouterr().err == "numpy-attention: params: with them the logits are no longer finite\n"
    assert started == [2]


def children_of(pid):
    """The processes that a process has started."""
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except FileNotFoundError:
        pytest.skip("this system does not tell the children of a process")


def runs(pid):
    """True of a process that has not ended, whoever is to ask how."""
    try:
        return bool(Path(f"/proc/{pid}/cmdline").read_bytes())
    except OSError:
        return False


def wait_for(condition):
    until = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.01)


@pytest.fixture
def evaluation(folder, tmp_path):
    """A command that takes long, and the workers that it has started."""
    (tmp_path / "pairs.tsv").write_bytes((folder / "pairs.tsv").read_bytes() * 100)
    command = [sys.executable, "-m", "numpy_attention", "evaluate", str(folder / "run"), str(tmp_path / "pairs.tsv")]
    with hearing_interrupts():
        process = subprocess.Popen(
            [*command, "--beam", "4", "--workers", "2", "--json", str(tmp_path / "out.json")],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": os.getcwd()},
            start_new_session=True,
        )
    try:
        wait_for(lambda: len(children_of(process.pid)) == 3 or process.poll() is not None)
        yield process, children_of(process.pid)[1:]  # the first is the tracker of multiprocessing
    finally:
        process.kill()
        process.communicate()


@pytest.mark.slow
@pytest.mark.parametrize("delay", [0, 1])
def test_a_worker_that_is_killed_is_one_line_and_nothing_is_written(evaluation, delay, tmp_path):
    process, workers = evaluation
    time.sleep(delay)
    os.kill(workers[1], signal.SIGKILL)
    told = process.communicate(timeout=PATIENCE)[1]
    said = "a worker has ended by SIGKILL; if memory is short, fewer workers need less"
    assert (told, process.returncode) == (f"numpy-attention: {said}\n", 2)
    assert not (tmp_path / "out.json").exists()
    assert not any(map(runs, workers))


@pytest.mark.slow
@pytest.mark.parametrize("delay", [0, 0.1, 0.3, 1])
def test_ctrl_c_ends_all_processes_with_one_line(evaluation, delay, tmp_path):
    process, workers = evaluation
    time.sleep(delay)
    os.killpg(process.pid, signal.SIGINT)
    assert process.communicate(timeout=PATIENCE)[1] == "numpy-attention: interrupted\n"
    assert process.returncode == 130
    assert not (tmp_path / "out.json").exists()
    assert not any(map(runs, workers))


@pytest.mark.slow
def test_workers_end_when_the_process_that_has_started_them_is_killed(evaluation):
    process, workers = evaluation
    time.sleep(1)
    process.kill()
    wait_for(lambda: not any(map(runs, workers)))
    assert process.stderr.read() == ""
