import itertools
import multiprocessing
import os
import signal
import subprocess
import sys
from types import SimpleNamespace

import pytest

from numpy_attention import parts
from numpy_attention.parts import in_order
from numpy_attention.training.parallel import THREADS
from numpy_attention.training.workers import WorkerError

# The work of these workers is ``eval``, and a part is what they are to evaluate.
OWN = "__import__('os').getpid()"


@pytest.mark.parametrize("workers", [1, None])
def test_one_process_does_a_part_when_it_is_asked_for(workers, monkeypatch):
    monkeypatch.setattr(parts, "cores", lambda: {0})
    given = itertools.count()
    results = in_order(str, given, workers)
    assert [next(results), next(results)] == ["0", "1"]
    assert next(given) == 2


@pytest.fixture
def shared(monkeypatch):
    """How many workers would be started; every part takes a second of a clock of its own."""
    counts, clock = [], itertools.count()
    monkeypatch.setattr(parts, "_shared", lambda work, some, count: counts.append(count) or map(work, some))
    monkeypatch.setattr(parts, "cores", lambda: {0, 1, 2, 3})
    monkeypatch.setattr(parts, "time", SimpleNamespace(perf_counter=clock.__next__))
    return counts


def test_workers_are_started_if_what_is_left_takes_longer_than_to_start_them(shared):
    enough = 1 + int(parts.WORTH)
    assert list(in_order(str, range(enough - 1), None)) == list(map(str, range(enough - 1)))
    assert shared == []
    assert list(in_order(str, range(enough), None)) == list(map(str, range(enough)))
    assert shared == [enough - 1]
    assert list(in_order(str, range(10 * enough), None)) == list(map(str, range(10 * enough)))
    assert shared == [enough - 1, 4]


def test_there_are_no_more_workers_than_parts(shared):
    assert list(in_order(str, range(3), 10**6)) == ["0", "1", "2"]
    assert list(in_order(str, range(3), 2)) == ["0", "1", "2"]
    assert list(in_order(str, range(1), 2)) == ["0"]
    assert list(in_order(str, [], None)) == []
    assert shared == [3, 2]


def test_a_daemon_works_alone(shared, monkeypatch):
    monkeypatch.setattr(multiprocessing, "current_process", lambda: SimpleNamespace(daemon=True))
    assert list(in_order(str, range(100), None)) == list(map(str, range(100)))
    with pytest.raises(ValueError, match=r"^workers: expected 1 in a daemon, .* got 2$"):
        next(in_order(str, range(2), 2))
    assert shared == []


def test_workers_have_one_thread_and_hear_of_no_interrupt_and_an_error_comes_after_the_results_before(monkeypatch):
    monkeypatch.setenv(THREADS[0], "7")
    before = dict(os.environ)
    mask = "(lambda signal: signal.pthread_sigmask(signal.SIG_BLOCK, []))(__import__('signal'))"
    told = [OWN, OWN, *(f"__import__('os').environ[{name!r}]" for name in THREADS)]
    results = in_order(eval, [*told, mask, "1 / 0", "2"], 2)
    first, second, *found, held = itertools.islice(results, len(told) + 1)
    assert len({first, second, os.getpid()}) == 3
    assert found == ["1"] * len(THREADS)
    assert held == {signal.SIGINT}
    with pytest.raises(ZeroDivisionError, match="division by zero"):
        next(results)
    assert dict(os.environ) == before
    assert not multiprocessing.active_children()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("end", "how"),
    [
        (
            "__import__('os').kill(__import__('os').getpid(), 9)",
            "by SIGKILL; if memory is short, fewer workers need less",
        ),
        ("__import__('os')._exit(3)", "with status 3; if memory is short, fewer workers need less"),
        (
            "__import__('os')._exit(1)",
            "with status 1; a program that starts workers needs `if __name__ == .__main__.:`",
        ),
    ],
)
def test_a_worker_that_ends_is_an_error_that_says_how(end, how):
    with pytest.raises(WorkerError, match=rf"^a worker has ended {how}$"):
        list(in_order(eval, ["1", end, "2", "3"], 2))
    assert not multiprocessing.active_children()


@pytest.mark.slow
def test_nobody_is_left_behind_when_results_are_not_wanted_any_more():
    results = in_order(eval, [OWN] * 20, 2)
    next(results)
    assert len(multiprocessing.active_children()) == 2
    results.close()
    assert not multiprocessing.active_children()


@pytest.mark.slow
def test_a_process_that_was_forked_starts_workers():
    code = f"""
import os, sys
from numpy_attention.parts import in_order
pid = os.fork()
if pid == 0:
    os._exit(len(set(in_order(eval, [{OWN!r}] * 2, 2))))
sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
"""
    assert subprocess.run([sys.executable, "-c", code], timeout=60).returncode == 2
