"""Work that is done part by part, such as the lines of a long file, by this process or by several that share it."""

from __future__ import annotations

import math
import signal
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import chain, islice
from typing import Any, TypeVar

from ._checks import check_size
from .memory import memory_kept
from .training.parallel import cores, one_thread_each
from .training.signals import interrupts_held
from .training.workers import WorkerError

PART = 1024  # texts that are translated together
WORTH = 2.0  # seconds of work for which workers are started; the start takes about half a second
MOST_WORKERS = 256  # far more than pay: each has the model and NumPy to itself

Part = TypeVar("Part")
Result = TypeVar("Result")


def in_parts(workers: int | None, *lists: Sequence[Any]) -> list[tuple[Sequence[Any], ...]]:
    """Cut lists of one length into parts for :func:`in_order`: of 1,024 entries each, and for a single worker one part.

    Raises
    ------
    ValueError
        If ``workers`` is no possible number of workers.

    Examples
    --------
    >>> in_parts(1, [3, 4], [5, 6]), in_parts(2, [])
    ([([3, 4], [5, 6])], [([],)])
    """
    if workers is not None:
        check_size("workers", workers, most=MOST_WORKERS)
    count = max(1, len(lists[0]))  # of nothing at all there is a part as well, so that the work says what is wrong
    size = count if workers == 1 else PART
    return [tuple(each[start : start + size] for each in lists) for start in range(0, count, size)]


def in_order(work: Callable[[Part], Result], parts: Iterable[Part], workers: int | None) -> Iterator[Result]:
    """Yield what ``work`` returns for each part, in the order of the parts.

    Parameters
    ----------
    work : callable
        Sent to every worker, once, by pickle.
    parts : iterable
        Read some parts ahead.
    workers : int or None
        Processes to start, at most one for each part; 1 starts none. None: one for every core if the rest would take
        this process some seconds, judged by the first part.

    Raises
    ------
    ValueError
        If this process may not start others.
    WorkerError
        If a worker ends. An error of the work itself is raised as it is.
    """
    parts, count = iter(parts), len(cores()) if workers is None else workers
    if workers is None and count > 1:
        for part in islice(parts, 1):
            start = time.perf_counter()
            result = work(part)
            enough = math.ceil(WORTH / max(time.perf_counter() - start, 1e-3))
            yield result
            rest = list(islice(parts, enough))
            count, parts = count if len(rest) == enough else 1, chain(rest, parts)
    first = list(islice(parts, count))
    parts = chain(first, parts)
    if len(first) > 1:
        import multiprocessing  # as late as this, as it takes a while and most calls do without

        if not multiprocessing.current_process().daemon:
            yield from _shared(work, parts, len(first))
            return
        if workers is not None:
            raise ValueError(f"workers: expected 1 in a daemon, a process that may start no others, got {workers}")
    yield from map(work, parts)


def _shared(work: Callable[[Part], Result], parts: Iterable[Part], count: int) -> Iterator[Result]:
    """The results of workers.

    Each has a pipe of its own, and one part at a time: one that is killed leaves nobody waiting for it.
    """
    import multiprocessing
    from multiprocessing.connection import wait

    workers, busy, done = dict[Any, Any](), dict[Any, int](), dict[int, tuple[Any, Exception | None]]()
    numbered, turn = enumerate(parts), 0
    context = multiprocessing.get_context("spawn")  # a fork of a process with threads may hang
    try:
        with _inherited():
            for _ in range(count):
                ours, theirs = context.Pipe()
                worker = context.Process(target=_serve, args=(theirs,), daemon=True)
                worker.start()
                theirs.close()  # now the pipe ends with the worker
                workers[ours] = worker
        free = list[Any](workers)
        for channel in free:
            _send(channel, work)
        while free or busy:
            for channel, (number, part) in zip(free, numbered, strict=False):
                busy[channel] = number
                _send(channel, part)
            while turn in done:
                result, error = done.pop(turn)
                if error is not None:
                    raise error
                turn += 1
                yield result
            free = list(wait(busy)) if busy else []
            for channel in free:
                done[busy.pop(channel)] = _answer(channel, workers[channel])
    finally:
        for worker in workers.values():
            worker.kill()  # it waits for a part, or nobody waits for its result any more
            worker.join()


def _send(channel: Any, message: Any) -> None:
    """Send a message to a worker. If it has ended, its answer will say so."""
    with suppress(OSError):
        channel.send(message)


def _answer(channel: Any, worker: Any) -> tuple[Any, Exception | None]:
    """What the work has returned, and what it has raised."""
    try:
        answer: tuple[Any, Exception | None] = channel.recv()
    except (EOFError, OSError) as broken:
        worker.join()
        how = f"by {signal.Signals(-worker.exitcode).name}" if worker.exitcode < 0 else f"with status {worker.exitcode}"
        hint = "if memory is short, fewer workers need less"
        if worker.exitcode == 1:
            hint = 'a program that starts workers needs `if __name__ == "__main__":`'
        raise WorkerError(f"a worker has ended {how}; {hint}") from broken
    return answer


def _serve(channel: Any) -> None:
    """Be a worker, until the process that has started this one ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # where it cannot be blocked
    with memory_kept(), suppress(EOFError, OSError):
        work = channel.recv()
        while True:
            part = channel.recv()
            result, raised = None, None
            try:
                result = work(part)
            except Exception as error:
                raised = error
            channel.send((result, raised))


@contextmanager
def _inherited() -> Iterator[None]:
    """Processes that are started inside the block use one thread for products, and no Ctrl-C reaches them."""
    if hasattr(signal, "pthread_sigmask"):
        from multiprocessing import resource_tracker

        resource_tracker.ensure_running()  # to start it unblocks the signal, and the first process would start it
    with interrupts_held(), one_thread_each():
        yield
