import os
import pickle
import re
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from numpy_attention import TrainConfig, load_run, resume, train
from numpy_attention.cli import main
from numpy_attention.data.tasks import Task
from numpy_attention.training import config as training_config
from numpy_attention.training import workers
from numpy_attention.training.checkpoint import load_checkpoint, save_checkpoint
from numpy_attention.training.optimizers import OPTIMIZERS, SGD
from numpy_attention.training.parallel import ALONE, cores
from numpy_attention.training.step import Diverged
from numpy_attention.training.workers import Channel, Team, WorkerError, team, usual
from tests.conftest import hearing_interrupts

SMALL = {"length": [2, 5], "symbols": 5, "hidden_size": 16, "embedding_size": 8, "alignment_size": 8, "batch_size": 16}
EVERYTHING = SMALL | {"dropout": 0.2, "label_smoothing": 0.1, "weight_decay": 0.1, "dtype": "float64"}
CLI = [sys.executable, "-m", "numpy_attention"]
PATIENCE = 60  # seconds after which a job hangs


# Without processes: the members of a team are threads, and their pipes are real ones.


def in_threads(size, work):
    """What ``work(team)`` returns for every member of a team."""
    found, threads = [None] * size, []
    down, up = [os.pipe() for _ in range(size)], [os.pipe() for _ in range(size)]
    members = [Team(0, size, [Channel(up[rank][0], down[rank][1], f"worker {rank}") for rank in range(1, size)])]
    members += [Team(rank, size, [Channel(down[rank][0], up[rank][1], "the first")]) for rank in range(1, size)]

    def run(rank):
        found[rank] = work(members[rank])

    for rank in range(size):
        threads.append(threading.Thread(target=run, args=[rank]))
        threads[-1].start()
    for thread in threads:
        thread.join(PATIENCE)
        assert not thread.is_alive()
    for end in (each for pipe in down + up for each in pipe):
        os.close(end)
    return found


@pytest.mark.parametrize("size", [2, 3])
def test_a_team_adds_vectors_of_any_length_with_the_same_bits_for_all(size):
    rng = np.random.default_rng(0)
    lengths, dtypes = [3, 100_000, 5], [np.float32, np.float64, np.float32]
    vectors = [
        [rng.standard_normal(n).astype(dtype) for n, dtype in zip(lengths, dtypes, strict=True)] for _ in range(size)
    ]

    def work(member):
        totals = []
        for mine in vectors[member.Get_rank()]:
            total = np.empty_like(mine)
            member.Allreduce(mine, total)
            totals.append(total)
        return totals, member.allgather(member.Get_rank()), member.bcast("of the first" if not member.rank else None)

    found = in_threads(size, work)
    for totals, ranks, told in found:
        assert ranks == list(range(size))
        assert told == "of the first"
        for n, total in enumerate(totals):
            assert np.array_equal(total, found[0][0][n])
            np.testing.assert_allclose(total, sum(vectors[rank][n] for rank in range(size)), rtol=1e-5)


def test_who_goes_on_first_does_not_overwrite_what_another_still_adds_up():
    def work(member):
        if member.Get_rank():
            channel, receive = member.channels[0], member.channels[0].receive
            channel.receive = lambda kind: (receive(kind), time.sleep(0.01))[0]  # the others are far ahead
        totals = np.zeros((5, 1000))
        for n, total in enumerate(totals):
            member.Allreduce(np.full(1000, 10.0**n), total)
        return totals[:, 0].tolist()

    assert in_threads(2, work) == [[2.0, 20.0, 200.0, 2000.0, 20000.0]] * 2


@pytest.mark.parametrize("slow", [0, 1])
def test_a_sum_is_not_overwritten_by_the_next_one_however_late_it_is_read(slow):
    lengths = [2, 60, 3, 50, 7, 40]

    def work(member):
        if member.rank == slow:  # it comes late to everything that follows a message
            for channel in member.channels:
                receive, send = channel.receive, channel.send
                channel.receive = lambda kind, receive=receive: (receive(kind), time.sleep(0.01))[0]
                channel.send = lambda kind, payload=b"", send=send: (send(kind, payload), time.sleep(0.01))[0]
        found = []
        for n in lengths:
            total = np.empty(n)
            member.Allreduce(np.full(n, 10.0**member.rank * n), total)
            found.append(total)
        return found

    for found in in_threads(2, work):
        for n, total in zip(lengths, found, strict=True):
            assert np.array_equal(total, np.full(n, 11.0 * n))


def test_a_large_message_arrives_whole():
    text = "x" * 3_000_000
    assert in_threads(2, lambda member: member.bcast(text if not member.rank else None)) == [text, text]


def test_an_end_a_failure_and_a_message_out_of_step_are_one_line():
    for send, said in [
        (lambda channel: os.close(channel.target), "worker 1 has ended"),
        (lambda channel: channel.send(b"F", b"out of luck"), "worker 1: out of luck"),
        (lambda channel: channel.send(b"V", b""), "worker 1 is out of step"),
        (lambda channel: os.write(channel.target, b"hello, world\n"), "worker 1 is out of step: .* got b'hello, wo'"),
    ]:
        (source, target), (nobody, other) = os.pipe(), os.pipe()
        send(Channel(nobody, target, "me"))
        with pytest.raises(WorkerError, match=said):
            Channel(source, other, "worker 1").receive(b"R")
        for end in (source, nobody, other):
            os.close(end)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"workers": 0}, "workers: expected a whole number of at least 1, got 0"),
        ({"workers": 1.5}, "workers: expected a whole number of at least 1, got 1.5"),
        ({"workers": 17, "batch_size": 16}, "workers: expected at most batch_size .16., a sequence for each, got 17"),
    ],
)
def test_a_number_of_workers_that_cannot_be_is_one_line(settings, said):
    with pytest.raises(ValueError, match=said):
        TrainConfig("copy", **settings)


def test_small_updates_and_short_runs_have_one_worker_and_others_up_to_one_for_every_core(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(4)), raising=False)
    assert usual(1e7, 10**9, 64) == 1
    assert usual(1e9, 300, 64) == 1
    assert usual(1e8, 10_000, 64) == 4
    assert usual(1e9, 10_000, 64) == 4
    assert usual(1e9, 10_000, 16) == 2
    config = TrainConfig("reverse")
    assert config.settled(config.data()).workers == 1
    config = TrainConfig("reverse", length=50, hidden_size=256, alignment_size=256, batch_size=128)
    assert config.settled(config.data()).workers == 4


@pytest.mark.parametrize(("share", "pays"), [(0.5, True), (0.85, True), (0.95, False), (1.3, False)])
def test_workers_pay_if_steps_that_all_share_take_less_time(monkeypatch, share, pays):
    clock, made = [0.0], []
    monkeypatch.setattr(workers.time, "perf_counter", lambda: clock[0])

    def step(name, seconds):
        # The first ones take longer, as in life.
        clock[0] += seconds * (1 if name in made else 20)
        made.append(name)

    found = workers.is_faster_together(lambda: step("alone", 0.01), lambda: step("together", share * 0.01), ALONE)
    assert found == pays
    assert made.count("together") == made.count("alone") > 10


def test_data_that_cannot_be_sent_are_trained_on_in_one_process_unless_workers_were_asked_for(monkeypatch, tmp_path):
    monkeypatch.setattr(training_config, "usual", lambda *_: 2)
    config = TrainConfig("mine", steps=2, out=tmp_path / "run")
    assert train(config, progress=None, data=OwnData("copy", 4, (2, 3))).config.workers == 1


class Mine(Task):
    """A class whose module is made to look like the program itself."""


@pytest.mark.parametrize("module", ["__main__", "__mp_main__"])
def test_data_of_the_program_itself_cannot_be_sent_but_words_that_are_called_like_it_can(monkeypatch, module):
    monkeypatch.setattr(Mine, "__module__", module)
    with pytest.raises(ValueError, match=r"workers=1 .Mine is defined in the program itself, not in a module"):
        workers.packed(("train", None, Mine("copy", 4, (2, 3))))
    assert pickle.loads(workers.packed((module,))) == (module,)


def test_shared_memory_is_there_or_in_another_place_or_refused(monkeypatch, tmp_path):
    size = 1 << 20
    monkeypatch.setattr(workers, "PLACES", (str(tmp_path / "not there"), str(tmp_path)))
    with workers._file_of(size) as file:
        assert Path(file.name).parent == tmp_path
        found = os.stat(file.name)
        assert found.st_size == size <= 512 * found.st_blocks or not hasattr(os, "posix_fallocate")
    assert not list(tmp_path.iterdir())

    def full(*arguments):
        raise OSError(28, "No space left on device")

    for name in ("posix_fallocate", "ftruncate"):
        monkeypatch.setattr(os, name, full, raising=False)
    with pytest.raises(OSError, match="workers: expected room for 1 MB in /dev/shm or among temporary files, got none"):
        workers._file_of(size)
    assert not list(tmp_path.iterdir())


def test_a_run_can_be_resumed_by_another_number_of_workers(monkeypatch, tmp_path):
    monkeypatch.setattr(workers, "POSIX", False)
    data = Task("copy", 4, (2, 3))
    train(TrainConfig("mine", steps=2, out=tmp_path / "run"), progress=None, data=data)
    with pytest.raises(ValueError, match="workers: expected 1 on this system, got 2"):
        resume(tmp_path / "run", progress=None, data=data, steps=3, workers=2)
    with pytest.raises(ValueError, match="workers: expected at most batch_size .32., a sequence for each, got 33"):
        resume(tmp_path / "run", progress=None, data=data, steps=3, workers=33)
    with pytest.raises(ValueError, match="workers: expected a whole number of at least 1, got 0"):
        resume(tmp_path / "run", progress=None, data=data, steps=3, workers=0)
    checkpoint = load_checkpoint(tmp_path / "run")
    save_checkpoint(tmp_path / "run", replace(checkpoint, config=replace(checkpoint.config, workers=2)))
    with pytest.raises(ValueError, match="workers: expected 1 on this system, got 2"):
        resume(tmp_path / "run", progress=None, data=data, steps=3)
    assert resume(tmp_path / "run", progress=None, data=data, steps=3, workers=1).step == 3
    assert load_run(tmp_path / "run").config.workers == 1


def test_a_system_without_such_pipes_has_one_worker(monkeypatch, tmp_path):
    monkeypatch.setattr(workers, "POSIX", False)
    assert usual(1e9, 10_000, 64) == 1
    with pytest.raises(ValueError, match="workers: expected 1 on this system, got 2; MPI can start several processes"):
        train(TrainConfig("reverse", **SMALL, workers=2, out=tmp_path / "run"), progress=None)


def test_the_data_are_read_once_although_the_number_of_workers_depends_on_them(monkeypatch, tmp_path):
    (tmp_path / "pairs.tsv").write_text("".join(f"{a} {b}\t{b} {a}\n" for a in "abcdef" for b in "abcdef"))
    read, make = [], training_config.make_data
    monkeypatch.setattr(training_config, "make_data", lambda config: read.append(config) or make(config))
    sizes = {name: value for name, value in SMALL.items() if name not in ("length", "symbols")}
    train(TrainConfig(str(tmp_path / "pairs.tsv"), **sizes, steps=2, out=tmp_path / "run"), progress=None)
    assert len(read) == 1


def test_with_mpi_other_workers_are_refused(monkeypatch, tmp_path):
    from numpy_attention.training import trainer
    from numpy_attention.training.parallel import Ranks

    monkeypatch.setattr(trainer, "launched", lambda: (0, 2))
    config = TrainConfig("reverse", **SMALL, workers=2, out=tmp_path / "run")
    with pytest.raises(ValueError, match="workers: expected none with mpiexec, which has started the processes, got 2"):
        trainer._train(config, None, None, Ranks())
    train(replace(config, workers=1), progress=None)
    with pytest.raises(ValueError, match="workers: expected none with mpiexec, which has started the processes, got 2"):
        trainer._resume(config.out, None, None, 1000, Ranks(), 2)


class OwnData(Task):
    """Somebody's own source of pairs, which cannot be sent."""

    def __reduce_ex__(self, protocol):
        raise pickle.PicklingError("it holds an open file")


def test_data_that_cannot_be_sent_are_refused_in_one_line(tmp_path):
    data = OwnData("copy", 4, (2, 3))
    config = TrainConfig("mine", workers=2, steps=2, out=tmp_path / "run")
    with pytest.raises(
        ValueError, match="workers: expected data that other processes can be given, or workers=1 .it holds"
    ):
        train(config, progress=None, data=data)


# With processes.


@pytest.mark.slow
def test_two_workers_train_like_one_to_rounding_and_like_themselves_to_the_bit(tmp_path):
    config = {**EVERYTHING, "steps": 12}
    one, two, again = (
        train(TrainConfig("reverse", **config, workers=count, out=tmp_path / name), progress=None)
        for name, count in (("one", 1), ("two", 2), ("again", 2))
    )
    for name, value in one.params.items():
        np.testing.assert_allclose(two.params[name], value, rtol=0, atol=1e-12)
        assert np.array_equal(two.params[name], again.params[name])
    assert abs(two.evaluation.loss - one.evaluation.loss) < 1e-12
    assert load_run(tmp_path / "two").config.workers == 2


@pytest.mark.slow
@pytest.mark.skipif(len(cores()) < 2, reason="needs two cores")
@pytest.mark.parametrize(("gain", "count"), [(0.0, 1), (1e9, 2)])
def test_the_number_of_workers_that_is_found_by_timing_trains_as_if_it_had_been_asked_for(
    monkeypatch, tmp_path, gain, count
):
    monkeypatch.setattr(workers, "GAIN", gain)
    config = {"length": 20, "steps": 3000, "batch_size": 16}
    found = train(TrainConfig("reverse", **config, out=tmp_path / "found"), progress=Stopping(4))
    asked = train(TrainConfig("reverse", **config, workers=count, out=tmp_path / "asked"), progress=Stopping(4))
    assert found.step == asked.step < 5
    assert load_run(tmp_path / "found").config.workers == count
    for name, value in asked.params.items():
        assert np.array_equal(found.params[name], value)


@pytest.mark.slow
def test_what_workers_cannot_do_is_done_alone_unless_they_were_asked_for(monkeypatch, tmp_path):
    before = children()
    monkeypatch.setattr(training_config, "usual", lambda *_: 2)
    monkeypatch.setitem(OPTIMIZERS, "mine", partial(SGD, momentum=0.5))  # of which another process does not know
    config = TrainConfig("reverse", **SMALL, steps=2, optimizer="mine", out=tmp_path / "run")
    assert train(config, progress=None).config.workers == 1
    with pytest.raises(ValueError, match="rank 1: optimizer: expected one of adam, sgd, got 'mine'"):
        train(replace(config, workers=2, out=tmp_path / "asked"), progress=None)
    monkeypatch.setattr(workers, "PLACES", ())
    assert train(TrainConfig("reverse", **SMALL, steps=2, out=tmp_path / "full"), progress=None).config.workers == 1
    assert children() == before


def children():
    """Processes that this one has started and that have not been waited for."""
    return Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()


@pytest.mark.slow
def test_no_file_of_the_folder_takes_the_place_of_a_module(tmp_path):
    (tmp_path / "signal.py").write_text("print('not the module')")
    environment = {**os.environ, "PYTHONPATH": os.getcwd()}
    script = "from numpy_attention.cli import main; import sys; sys.exit(main(sys.argv[1:]))"
    arguments = ["train", "reverse", "--workers", "2", "--steps", "3", "--length", "3", "--out", "run"]
    done = subprocess.run(
        [sys.executable, "-P", "-c", script, *arguments], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.slow
def test_workers_recompute_if_the_first_process_does(monkeypatch, tmp_path):
    monkeypatch.setattr(training_config, "free_memory", lambda: 0)
    run = train(TrainConfig("reverse", **SMALL, workers=2, steps=2, out=tmp_path / "run"), progress=None)
    assert run.config.recompute


@pytest.mark.slow
def test_a_run_of_two_workers_is_resumed_by_two_to_the_same_bits(tmp_path):
    config = {**EVERYTHING, "workers": 2}
    whole = train(TrainConfig("copy", **config, steps=20, out=tmp_path / "whole"), progress=None)
    train(TrainConfig("copy", **config, steps=20, out=tmp_path / "part"), progress=Stopping(8))
    part = load_run(tmp_path / "part")
    assert part.step == 8
    resumed = resume(tmp_path / "part", progress=None)
    for name, value in whole.params.items():
        assert np.array_equal(resumed.params[name], value)


class Stopping:
    """A listener that asks the run to stop, as Ctrl-C does."""

    def __init__(self, step):
        self.step = step

    def started(self, *_):
        pass

    def evaluated(self, *_):
        pass

    def stepped(self, step):
        if step.number == self.step - 1:
            os.kill(os.getpid(), signal.SIGINT)


@pytest.mark.slow
def test_a_worker_that_is_killed_is_one_line_and_the_run_goes_on_from_its_checkpoint(tmp_path):
    command = [
        *CLI,
        "train",
        "reverse",
        "--workers",
        "2",
        "--steps",
        "100000",
        "--length",
        "2-5",
        "--out",
        str(tmp_path / "run"),
    ]
    environment = {**os.environ, "PYTHONPATH": os.getcwd()}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)
    try:
        worker = child_of(process.pid)
        wait_for(lambda: any(tmp_path.glob("run/*")))
        time.sleep(0.5)
        os.kill(worker, signal.SIGKILL)
        _, told = process.communicate(timeout=PATIENCE)
    finally:
        process.kill()
    assert process.returncode == 2
    assert re.search(r"numpy-attention: worker 1 has ended by SIGKILL; what was saved before is kept\n", told)
    assert "Traceback" not in told
    assert load_run(tmp_path / "run").step >= 0


@pytest.mark.slow
def test_ctrl_c_stops_all_processes_after_the_update_and_saves(tmp_path):
    command = [
        *CLI,
        "train",
        "reverse",
        "--workers",
        "2",
        "--steps",
        "100000",
        "--length",
        "2-5",
        "--out",
        str(tmp_path / "run"),
    ]
    environment = {**os.environ, "PYTHONPATH": os.getcwd()}
    with hearing_interrupts():
        process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment,
            start_new_session=True,
        )
    try:
        worker = child_of(process.pid)
        wait_for(lambda: any(tmp_path.glob("run/*")))
        time.sleep(0.5)
        os.killpg(process.pid, signal.SIGINT)
        _, told = process.communicate(timeout=PATIENCE)
    finally:
        process.kill()
    assert "Traceback" not in told
    assert load_run(tmp_path / "run").step > 0
    wait_for(lambda: not os.path.exists(f"/proc/{worker}"))


def child_of(pid):
    """The first child of a process, as soon as there is one."""
    found = []

    def look():
        found[:] = map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())
        return found

    if not os.path.exists(f"/proc/{os.getpid()}/task/{os.getpid()}/children"):
        pytest.skip("this system does not tell the children of a process")
    wait_for(look)
    return found[0]


def wait_for(condition):
    until = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.02)


@pytest.mark.slow
def test_an_error_that_all_meet_is_reported_once(tmp_path, capsys):
    arguments = ["train", "reverse", "--workers", "2", "--steps", "50", "--length", "2-5", "--learning-rate", "1e30"]
    assert main([*arguments, "--optimizer", "sgd", "--out", str(tmp_path / "run")]) == 1
    assert "is no longer finite" in capsys.readouterr().err
    with pytest.raises(Diverged):
        train(
            TrainConfig(
                "reverse", **SMALL, workers=2, steps=50, learning_rate=1e30, optimizer="sgd", out=tmp_path / "b"
            ),
            progress=None,
        )


@pytest.mark.slow
def test_a_worker_that_does_something_else_ends_the_run(tmp_path):
    with team(2, ("resume", tmp_path, None, None)) as ranks, pytest.raises(WorkerError, match="worker 1"):
        ranks.all_reduce(np.ones(3))  # it loads a checkpoint, and there is none


@pytest.mark.slow
def test_a_team_works_in_a_process_that_was_forked_and_leaves_nothing_behind(tmp_path):
    before = set(os.listdir("/dev/shm")) if os.path.isdir("/dev/shm") else set()
    code = f"""
import os, sys
from numpy_attention import TrainConfig, train
pid = os.fork()
if pid == 0:
    run = train(TrainConfig("copy", **{SMALL!r}, workers=2, steps=4, out={str(tmp_path / "run")!r}), progress=None)
    os._exit(0 if run.step == 4 else 1)
sys.exit(os.waitpid(pid, 0)[1])
"""
    environment = {**os.environ, "PYTHONPATH": os.getcwd()}
    assert subprocess.run([sys.executable, "-c", code], env=environment, timeout=PATIENCE, check=False).returncode == 0
    if before:
        assert not [name for name in set(os.listdir("/dev/shm")) - before if name.startswith("numpy-attention")]
