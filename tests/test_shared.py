"""Threads that use what belongs to the whole process at the same time."""

import os
import subprocess
import sys
import threading
import warnings
from contextlib import contextmanager

import numpy as np
import pytest

import numpy_attention as na
from numpy_attention import memory
from numpy_attention._shared import EXCHANGE, filtered, shared
from numpy_attention.gradcheck.exact.arrays import exact_run
from numpy_attention.gradcheck.exact.field import Field
from numpy_attention.gradcheck.mutation import mutations
from numpy_attention.ops import attention
from numpy_attention.ops.attention import softmax_backward
from numpy_attention.ops.cells import CELLS, tanh_step
from numpy_attention.trace.record import record
from numpy_attention.training import parallel
from numpy_attention.training.replays import _is_ours, record_step
from numpy_attention.verification.mutants import MUTANTS, in_force, replaced
from tests.conftest import elsewhere

MODEL = na.Seq2Seq(7, 7, 5, 6)
BATCH = na.Batch.from_sequences([[3, 4, 5]], [[5, 4]])


def in_threads(function, count=4):
    """Call the function in several threads at once; what it returned, or raised."""
    found, start = [], threading.Barrier(count)

    def call():
        start.wait(60)
        try:
            found.append(function())
        except Exception as error:
            found.append(error)

    threads = [threading.Thread(target=call) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found


def test_a_setting_is_made_once_and_taken_back_by_whoever_ends_last():
    told = []

    @shared
    @contextmanager
    def setting():
        told.append("made")
        yield
        told.append("taken back")

    first, second = setting(), setting()
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    assert told == ["made"]
    second.__exit__(None, None, None)
    assert told == ["made", "taken back"]
    with pytest.raises(ZeroDivisionError), setting():
        raise ZeroDivisionError
    assert told == ["made", "taken back"] * 2


def test_memory_is_kept_until_the_last_block_ends(monkeypatch):
    class Library:
        def __init__(self):
            self.calls = []

        def mallopt(self, *setting):
            self.calls.append(setting)

        def malloc_trim(self, _):
            self.calls.append("given back")

    library = Library()
    monkeypatch.setattr(memory, "_c_library", lambda: library)
    with na.memory_kept():
        with elsewhere(na.memory_kept()):
            pass
        assert "given back" not in library.calls
        assert len(library.calls) == 2
    assert library.calls[-1] == "given back"


def test_threads_of_products_are_as_before_after_two_trainings_at_once(monkeypatch):
    threadpoolctl = pytest.importorskip("threadpoolctl")
    for name in parallel.THREADS:
        monkeypatch.delenv(name, raising=False)

    def threads():
        found = threadpoolctl.threadpool_info()
        return [each["num_threads"] for each in found if each["user_api"] == "blas"]

    with threadpoolctl.threadpool_limits(2, user_api="blas"):
        before = threads()
        first, second = parallel.one_thread(), parallel.one_thread()
        first.__enter__()
        second.__enter__()
        first.__exit__(None, None, None)
        assert set(threads()) == {1}
        second.__exit__(None, None, None)
        assert threads() == before


def test_the_environment_is_as_before_after_threads_have_started_processes(monkeypatch):
    monkeypatch.setenv(parallel.THREADS[0], "7")
    monkeypatch.delenv(parallel.THREADS[1], raising=False)
    before = dict(os.environ)

    def often():
        for _ in range(200):
            with parallel.one_thread_each():
                assert all(os.environ[name] == "1" for name in parallel.THREADS)

    assert in_threads(often) == [None] * 4
    assert dict(os.environ) == before


def test_filters_of_warnings_are_as_before():
    before = list(warnings.filters)
    assert all(isinstance(each, list) for each in in_threads(lambda: mutations(softmax_backward)))
    assert warnings.filters == before
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # one that is there already stays
        before = list(warnings.filters)
        with filtered("ignore", UserWarning)():
            warnings.warn("nobody hears it", stacklevel=1)
        assert warnings.filters == before


LOST = """
import threading
import numpy as np
import numpy_attention as na
from numpy_attention import gradcheck

inside, shown = threading.Event(), threading.Event()

def lossy(x):
    return np.sum(x.astype(float) ** 3)

def loss(x):
    if np.iscomplexobj(x):
        inside.set()
        shown.wait(60)
    return np.sum(x * x) + lossy(x)

def other():
    inside.wait(60)
    try:
        lossy(np.ones(3) + 1j)
    except Warning:  # one list of filters for all
        pass
    shown.set()

thread = threading.Thread(target=other)
thread.start()
try:
    print(na.complex_step_gradient(loss, np.ones(3)))
except gradcheck.NotAnalyticError:
    print("lost")
thread.join()
"""


@pytest.mark.parametrize("aware", [0, *([1] if sys.version_info >= (3, 14) else [])])
def test_a_lost_imaginary_part_is_seen_although_another_thread_was_warned_of_it(aware):
    done = subprocess.run(
        [sys.executable, "-X", f"context_aware_warnings={aware}", "-c", LOST],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": os.getcwd()},
    )
    assert done.stdout == "lost\n"


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda each: each.name[:40])
def test_a_mistake_is_made_in_its_own_thread_alone(mutant):
    params = MODEL.init(0)
    expected = MODEL.loss_and_gradients(params, BATCH)
    with elsewhere(in_force(mutant)):
        found = MODEL.loss_and_gradients(params, BATCH)
    assert found[0] == expected[0]
    for name, value in expected[1].items():
        np.testing.assert_array_equal(found[1][name], value)


@pytest.mark.slow
def test_pages_that_are_written_at_once_are_those_that_are_written_alone(tmp_path):
    def write(name):
        na.explain(text="a b", out=tmp_path / name)
        return (tmp_path / name).read_bytes()

    expected, names = write("alone.html"), iter(["one.html", "two.html", "three.html"])
    assert in_threads(lambda: write(next(names)), count=3) == [expected] * 3


def test_records_and_proofs_at_once_wait_for_one_another():
    params, x = MODEL.init(0), np.array([0.25, 0.75])

    def both():
        calls = record_step(MODEL, params, BATCH).calls
        report = na.check_gradients(lambda x: (x * x).sum(), x, lambda x: 2 * x, method="exact")
        return [(call.name, call.inputs, call.out) for call in calls], report.proof.verdict

    expected = both()
    assert expected[1] == "PROVED"
    assert in_threads(lambda: [both(), both()]) == [[expected, expected]] * 4
    assert attention.np is np


def is_held():
    """True if another thread exchanges something."""
    found = EXCHANGE.acquire(blocking=False)
    if found:
        EXCHANGE.release()
    return not found


def test_proofs_records_and_mistakes_hold_one_lock():
    assert not is_held()
    for block in (exact_run(Field(97, 0, 1000)), in_force(MUTANTS[0])):
        with elsewhere(block):
            assert is_held()
    seen = []

    def run(dc, h):
        seen.extend(in_threads(is_held, count=1))
        return {"dalpha": attention.context_backward(dc, h)}

    record(run, {"dc": np.ones((1, 2)), "h": np.ones((1, 3, 2))}, [attention])
    assert seen == [True]
    assert not is_held()


def test_a_function_of_a_users_own_is_not_taken_for_ours():
    def own_step(a, s, U):
        return tanh_step(a, s, U)

    with replaced(tanh_step, own_step):
        assert not _is_ours(CELLS["tanh"])
    assert _is_ours(CELLS["tanh"])
