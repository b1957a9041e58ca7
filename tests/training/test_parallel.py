import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from numpy_attention import Batch, TrainConfig, load_run, train
from numpy_attention.cli import main
from numpy_attention.model.dropout import masks_of_part
from numpy_attention.training import metrics, parallel
from numpy_attention.training.archive import alone_in
from numpy_attention.training.evaluation import evaluate, evaluate_together
from numpy_attention.training.parallel import Together, launched
from numpy_attention.training.step import Diverged, batch_gradient

SMALL = {"length": [2, 5], "symbols": 5, "hidden_size": 16, "embedding_size": 8, "alignment_size": 8, "batch_size": 16}
EVERYTHING = SMALL | {"dropout": 0.2, "label_smoothing": 0.1, "weight_decay": 0.1, "dtype": "float64"}
CLI = [sys.executable, "-m", "numpy_attention"]
PATIENCE = 60  # seconds after which a job hangs


# Without MPI: ranks are threads.


class Comm:
    """What is used of a communicator, for threads of one process."""

    def __init__(self, rank, shared):
        self.rank, self.shared = rank, shared

    def Get_rank(self):
        return self.rank

    def Get_size(self):
        return len(self.shared.values)

    def allgather(self, value):
        self.shared.values[self.rank] = value
        self.shared.barrier.wait(PATIENCE)
        values = list(self.shared.values)
        self.shared.barrier.wait(PATIENCE)
        return values

    def bcast(self, value):
        return self.allgather(value)[0]

    def Allreduce(self, mine, total):
        total[:] = sum(self.allgather(mine.copy()))

    def Abort(self, status):
        self.shared.aborted.append((self.rank, status))
        self.shared.barrier.abort()


class Shared:
    def __init__(self, size):
        self.values, self.barrier, self.aborted = [None] * size, threading.Barrier(size), []


def in_threads(size, work):
    """What ``work(ranks)`` gives on every rank, or the error that it raises."""
    shared = Shared(size)

    def one(rank):
        try:
            return work(Together(Comm(rank, shared)))
        except Exception as error:
            return error

    with ThreadPoolExecutor(size) as pool:
        return list(pool.map(one, range(size)))


sequences = st.lists(st.tuples(*[st.lists(st.integers(3, 6), min_size=k, max_size=6) for k in (1, 0)]), min_size=1, max_size=6)  # fmt: skip


@settings(max_examples=60)
@given(
    pairs=sequences,
    size=st.sampled_from([1, 2, 3, 7]),
    dropout=st.sampled_from([0.0, 0.3]),
    label_smoothing=st.sampled_from([0.0, 0.1]),
    alignment=st.sampled_from(["additive", "dot", "none"]),
    bidirectional=st.booleans(),
)
def test_the_parts_of_any_batch_sum_to_its_loss_and_gradient(pairs, size, dropout, label_smoothing, **settings):
    config = TrainConfig("copy", hidden_size=6, embedding_size=4, alignment_size=5, **settings)
    model = config.model(7, 7)
    params = model.init(3)
    batch = Batch.from_sequences(*zip(*pairs, strict=True))
    masks = model.dropout_masks(batch, dropout, np.random.default_rng(4), np.float64) if dropout else None
    loss, gradient = batch_gradient(model, params, batch, dropout=masks, label_smoothing=label_smoothing)

    def share(ranks):
        part = batch.part(ranks.rank, ranks.size)
        return batch_gradient(
            model,
            params,
            part,
            dropout=masks and masks_of_part(masks, ranks.rank, ranks.size, part),
            label_smoothing=label_smoothing,
            token_count=batch.token_count,
            all_reduce=ranks.all_reduce,
        )

    found = in_threads(size, share)
    for other, each in found:
        assert other == pytest.approx(loss, rel=1e-12)
        np.testing.assert_allclose(each, gradient, rtol=1e-12, atol=1e-12)
        np.testing.assert_array_equal(each, found[0][1])


def test_parts_of_different_batches_are_refused():
    model = TrainConfig("copy", hidden_size=6, embedding_size=4, alignment_size=5).model(7, 7)
    batch = Batch.from_sequences([[3, 4], [5]], [[4, 3], [5]])

    def share(ranks):
        part = batch.part(0, 2)  # the same one on both
        return batch_gradient(model, model.init(0), part, token_count=batch.token_count, all_reduce=ranks.all_reduce)

    for error in in_threads(2, share):
        assert str(error) == "data: expected the same batch on every rank, their parts do not make up a whole"


def test_a_rank_without_sequences_adds_nothing_at_all():
    config = TrainConfig("copy", hidden_size=6, dtype="float64", dropout=0.1, label_smoothing=0.1)
    model = config.model(7, 7)
    part = Batch.from_sequences([[3, 4], [5]], [[4, 3], [5]]).part(2, 3)
    loss, gradients = model.loss_and_gradients(model.init(0), part, 5, label_smoothing=0.1)
    assert loss == 0
    assert not any(gradient.any() for gradient in gradients.values())


@pytest.mark.parametrize("size", [2, 3, 7])
def test_ranks_share_an_evaluation(size):
    config = TrainConfig("copy", **EVERYTHING)
    data = config.data()
    model = config.model(8, 8)
    params = model.init(0)
    pairs = [side[:5] for side in data.held_out]
    alone = evaluate(model, params, pairs)
    found = in_threads(size, lambda ranks: evaluate_together(model, params, pairs, None, ranks))
    assert found == [found[0]] * size
    assert found[0].loss == pytest.approx(alone.loss, rel=1e-12)
    assert found[0].token_accuracy == alone.token_accuracy
    assert found[0].sequence_accuracy == alone.sequence_accuracy


def test_all_ranks_learn_of_a_stop_at_the_same_sum():
    def work(ranks):
        seen = []
        with ranks.asked_to_stop() as asked:
            for step in range(4):
                if (ranks.rank, step) == (1, 2):
                    ranks._asked.set()
                ranks.all_reduce(np.ones(3))
                seen.append(asked.is_set())
        return seen

    assert in_threads(3, work) == [[False, False, True, True]] * 3


@pytest.mark.parametrize(("who", "message"), [([1], "rank 1: no"), ([0, 1, 2], "no"), ([2, 1], "rank 1: no")])
def test_an_error_of_one_is_an_error_of_all(who, message):
    def work(ranks):
        with ranks.together():
            if ranks.rank in who:
                raise FileExistsError("no")

    found = in_threads(3, work)
    assert all(isinstance(error, OSError) for error in found)
    assert str(found[0]) == message


def test_what_is_made_on_the_first_rank_and_what_has_to_be_the_same():
    assert in_threads(3, lambda ranks: ranks.first(lambda: ranks.rank + 5)) == [5, 5, 5]
    assert in_threads(2, lambda ranks: ranks.agree("config", {"seed": 1})) == [None, None]
    for error in in_threads(3, lambda ranks: ranks.agree("config", ranks.rank // 2)):
        assert str(error) == "config: expected the same on every rank, rank 2 has another than 0"


def test_only_an_error_that_all_have_met_leaves_the_others_alive(monkeypatch, capsys):
    monkeypatch.setattr(sys, "__stderr__", sys.stderr)
    monkeypatch.setattr(parallel, "GRACE", 0)
    shared = Shared(2)
    ranks = Together(Comm(0, shared))
    ranks.failed(Diverged("step 3"))
    assert shared.aborted == []
    assert capsys.readouterr().err == ""
    for error, status, message in (
        (OSError("disk"), 2, "disk"),
        (FloatingPointError("x"), 1, "x"),
        (KeyboardInterrupt(), 130, "interrupted"),
    ):
        with pytest.raises(type(error)):
            ranks.failed(error)
        assert shared.aborted.pop() == (0, status)
        assert capsys.readouterr().err == f"numpy-attention: rank 0: {message}\n"


def test_a_process_that_nobody_started_with_others_does_not_load_mpi(monkeypatch):
    for names in parallel.LAUNCHERS:
        for name in names:
            monkeypatch.delenv(name, raising=False)
    assert launched() == (0, 1)
    program = "import sys, numpy_attention.cli as c; c.main(['train', 'x']); print('mpi4py' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


@pytest.mark.parametrize(("rank", "size"), parallel.LAUNCHERS)
def test_without_mpi4py_the_first_rank_alone_says_what_to_install(rank, size, monkeypatch, capsys, tmp_path):
    for names in parallel.LAUNCHERS:
        for name in names:
            monkeypatch.delenv(name, raising=False)
    for name in parallel.LOCAL_RANKS:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv(size, "3")
    monkeypatch.setitem(sys.modules, "mpi4py", None)
    for number in ("0", "2"):
        monkeypatch.setenv(rank, number)
        assert launched() == (int(number), 3)
        assert main(["train", "copy", "--steps", "3", "--out", str(tmp_path / "run")]) == 2
        error = capsys.readouterr().err
        assert error.count("\n") == (number == "0")
        assert "pip install '.[mpi]'" in error or number == "2"
    assert not (tmp_path / "run").exists()


def test_a_machine_without_mpi4py_ends_a_job_whose_first_rank_has_it():
    program = "import sys; sys.modules['mpi4py'] = None; from numpy_attention.cli import main; main(['train', 'copy'])"
    told = {"PMI_RANK": "2", "PMI_SIZE": "4", "MPI_LOCALRANKID": "0"}
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, env=environment() | told, timeout=PATIENCE
    )
    assert done.returncode == -signal.SIGTERM
    assert done.stderr.startswith("numpy-attention: rank 2: mpiexec: it started 4 processes, and to train together")
    assert done.stderr.count("\n") == 1


def test_commands_that_share_nothing_refuse_to_run_several_times(monkeypatch, capsys):
    monkeypatch.setenv("PMI_RANK", "0")
    monkeypatch.setenv("PMI_SIZE", "2")
    assert main(["evaluate", "runs/x", "pairs.tsv"]) == 2
    assert capsys.readouterr().err.startswith("numpy-attention: mpiexec: only train shares its work")


@pytest.mark.parametrize(("told", "ranks", "expected"), [(None, 1, "all"), (None, 1000, 1), ("3", 1000, "all")])
def test_ranks_of_a_machine_share_its_cores(told, ranks, expected, monkeypatch):
    threadpoolctl = pytest.importorskip("threadpoolctl", reason="threadpoolctl is not installed")
    for name in parallel.THREADS:
        monkeypatch.delenv(name, raising=False)
    if told:
        monkeypatch.setenv("OMP_NUM_THREADS", told)

    class Neighbours:
        def allgather(self, value):
            return [value] * ranks

        def Get_size(self):
            return ranks

    def threads():
        return [pool["num_threads"] for pool in threadpoolctl.threadpool_info() if pool["user_api"] == "blas"]

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    before = threads()
    with threadpoolctl.threadpool_limits(user_api="blas"):  # puts back what it finds
        parallel._share_cores(Neighbours())
        wanted = before if told else [cores if expected == "all" else expected] * len(before)
        assert threads() == wanted


# With MPI, for real.

PROGRAM = """
import hashlib, json, os, signal, sys
import numpy_attention as na
from numpy_attention.training.parallel import launched
rank = launched()[0]
settings, how = json.loads(sys.argv[1]), sys.argv[2]

class Pairs(na.Task):
    def batch(self, step, size):
        if (rank, step) == (1, 3):
            {"raise": lambda: 1 / 0, "exit": lambda: os._exit(5), "kill": lambda: os.kill(os.getpid(), signal.SIGKILL),
             "stop": lambda: os.kill(os.getpid(), signal.SIGTERM)}.get(how, lambda: None)()
        return super().batch(step, size)

config = na.TrainConfig("copy", **settings)
data = Pairs("copy", config.symbols, config.lengths, config.seed)
run = na.resume(config.out, None, data) if how == "resume" else na.train(config, None, data)
digest = hashlib.sha256(b"".join(value.tobytes() for value in run.params.values())).hexdigest()
with open(f"told-{rank}", "w") as file:
    json.dump([run.step, digest, run.evaluation and run.evaluation.loss], file)
"""


def find_mpiexec():
    return shutil.which("mpiexec", path=str(Path(sys.executable).parent)) or shutil.which("mpiexec")


@pytest.fixture(scope="module")
def mpiexec():
    pytest.importorskip("mpi4py", reason="mpi4py is not installed")
    found = find_mpiexec()
    if not found:
        pytest.skip("there is no mpiexec")
    probe = "from mpi4py import MPI; assert MPI.COMM_WORLD.Get_size() == 2"
    done = subprocess.run([found, "-n", "2", sys.executable, "-c", probe], capture_output=True, env=environment())
    if done.returncode:
        pytest.skip("mpiexec does not start processes that mpi4py brings together")
    return found


def environment():
    told = {name for names in parallel.LAUNCHERS for name in names} | set(parallel.LOCAL_RANKS)
    more = {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1", "OPENBLAS_NUM_THREADS": "1"}
    more |= {"OMPI_MCA_rmaps_base_oversubscribe": "1", "PRTE_MCA_rmaps_default_mapping_policy": ":oversubscribe"}
    return {name: value for name, value in os.environ.items() if name not in told} | more


@pytest.fixture
def job(mpiexec, tmp_path):
    def run(size, settings, how="train"):
        """Status, output and errors of a job, and what its ranks told."""
        for path in tmp_path.glob("told-*"):
            path.unlink()
        command = [mpiexec, "-n", str(size), sys.executable, "-c", PROGRAM, json.dumps(settings), how]
        done = subprocess.run(
            command, capture_output=True, text=True, cwd=tmp_path, timeout=PATIENCE, env=environment()
        )
        return done, [json.loads(path.read_text()) for path in sorted(tmp_path.glob("told-*"))]

    return run


@pytest.mark.slow
@pytest.mark.parametrize(("size", "batch_size"), [(2, 15), (3, 2)])
def test_one_update_is_that_of_a_single_process(size, batch_size, job, tmp_path):
    one = EVERYTHING | {"steps": 1, "optimizer": "sgd", "learning_rate": 0.5, "batch_size": batch_size}
    alone = train(TrainConfig("copy", **one, out=tmp_path / "alone"), None)
    done, told = job(size, one | {"out": "run"})
    assert (done.returncode, done.stdout, done.stderr, len(told)) == (0, "", "", size)
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_dir()) == ["alone", "run"]
    run = load_run(tmp_path / "run")
    for name, value in alone.params.items():
        np.testing.assert_allclose(run.params[name], value, rtol=1e-12, atol=1e-12)
    lines = [json.loads((tmp_path / name / metrics.METRICS).read_text()) for name in ("alone", "run")]
    for name in ("loss", "gradient_norm", "tokens"):
        assert lines[0][name] == pytest.approx(lines[1][name], rel=1e-12)
    assert run.evaluation.loss == pytest.approx(alone.evaluation.loss, rel=1e-12)


@pytest.mark.slow
def test_all_ranks_hold_the_same_bits_twice_and_after_a_stop(job, tmp_path):
    settings = EVERYTHING | {"steps": 30, "dtype": "float32", "patience": 5}
    _, whole = job(3, settings | {"out": "whole"})
    assert whole == [whole[0]] * 3
    _, again = job(3, settings | {"out": "again"})
    assert again == whole
    done, stopped = job(3, settings | {"out": "parts"}, "stop")
    assert (done.returncode, stopped) == (0, [stopped[0]] * 3)
    assert stopped[0][0] == load_run(tmp_path / "parts").step == 4  # rank 1 was asked before the sum of the fourth step
    _, resumed = job(3, settings | {"out": "parts"}, "resume")
    assert resumed == whole
    run = load_run(tmp_path / "parts")
    assert hashlib.sha256(b"".join(v.tobytes() for v in run.params.values())).hexdigest() == whole[0][1]


@pytest.mark.slow
def test_a_run_goes_on_with_another_number_of_ranks(job, tmp_path):
    settings = EVERYTHING | {"steps": 12, "out": "run"}
    job(2, settings, "stop")
    done, told = job(3, settings, "resume")
    assert (done.returncode, told) == (0, [told[0]] * 3)
    assert load_run(tmp_path / "run").over
    alone = train(TrainConfig("copy", **settings | {"out": tmp_path / "alone"}), None)
    assert told[0][2] == pytest.approx(alone.evaluation.loss, rel=1e-6)


def said(done):
    """Our lines of error; of a job that fails, an mpiexec may have something of its own to say."""
    return [line for line in done.stderr.splitlines() if "numpy-attention" in line]


@pytest.mark.slow
@pytest.mark.parametrize("how", ["raise", "exit", "kill"])
def test_a_rank_that_dies_ends_the_job(how, job, tmp_path):
    done, told = job(3, SMALL | {"steps": 100_000, "out": "run"}, how)
    assert done.returncode != 0
    assert told == []
    if how == "raise":
        assert said(done) == ["numpy-attention: rank 1: division by zero"]
    assert load_run(tmp_path / "run").step == 0
    with alone_in(tmp_path / "run"):
        pass


def command_line(mpiexec, size, *arguments, cwd):
    return subprocess.run(
        [mpiexec, "-n", str(size), *CLI, *arguments],
        capture_output=True,
        text=True,
        cwd=cwd,
        timeout=PATIENCE,
        env=environment(),
    )


FAST = ["--length", "3", "--symbols", "5", "--hidden-size", "16", "--steps", "20", "--batch-size", "16"]


@pytest.mark.slow
def test_the_command_line_speaks_once(mpiexec, tmp_path):
    done = command_line(mpiexec, 2, "train", "reverse", *FAST, "--dropout", "0.1", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.count("sequence accuracy ") == 1
    assert len(re.findall(r"^ +\d+ +\d", done.stdout, re.MULTILINE)) == 10
    assert [path.name for path in (tmp_path / "runs").iterdir()] == ["reverse"]
    assert load_run(tmp_path / "runs" / "reverse").over


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["sort"], 2, "task: expected one of"),
        (["copy", "--out", "."], 2, r"out: \. has something in it"),
        (["--resume", "nowhere"], 2, "run: expected the folder of a run"),
        # Which of the two overflows first depends on the machine.
        (
            ["copy", *FAST, "--learning-rate", "1e30", "--out", "run"],
            1,
            "step 2: (the loss|the gradient of source_embedding) is no longer finite",
        ),
    ],
)
def test_what_all_ranks_meet_is_said_once(arguments, status, message, mpiexec, tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    done = command_line(mpiexec, 3, "train", *arguments, cwd=tmp_path)
    assert done.returncode == status
    (line,) = said(done)
    assert re.match(f"numpy-attention: {message}", line)
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_a_folder_in_which_another_process_trains_ends_all_ranks(mpiexec, tmp_path):
    (tmp_path / "run").mkdir()
    with alone_in(tmp_path / "run"):
        done = command_line(mpiexec, 2, "train", "copy", *FAST, "--out", "run", cwd=tmp_path)
    assert done.returncode == 2
    assert said(done) == ["numpy-attention: out: another process is training in run"]


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_to_mpiexec_saves_the_run(number, mpiexec, tmp_path):
    command = [mpiexec, "-n", "2", *CLI, "train", "copy", *FAST, "--steps", "1000000", "--out", "run"]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=tmp_path, env=environment()
    )
    while not (tmp_path / "run" / "checkpoint.npz").exists():
        assert process.poll() is None
        time.sleep(0.05)
    time.sleep(0.3)
    process.send_signal(number)
    output, _ = process.communicate(timeout=PATIENCE)
    step = load_run(tmp_path / "run").step
    assert step > 0
    if "Open MPI" in subprocess.run([mpiexec, "--version"], capture_output=True, text=True, check=True).stdout:
        return  # whose mpiexec saves the run as well, but stops listening and says that it was interrupted
    assert process.returncode == 130
    assert output.count(f"stopped after step {step} of 1000000 and saved; continue with:") == 1
