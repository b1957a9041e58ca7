"""How the runs of a sweep are made: in processes of this machine, or by an executor; stopped ones are saved."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, ProcessPoolExecutor, as_completed, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from types import FrameType

from ..training.checkpoint import FILE
from ..training.config import TrainConfig
from ..training.parallel import apart, cores, one_thread_each
from ..training.signals import interrupts_held
from ..training.trainer import resume, train

GUARD = 'a program of your own needs `if __name__ == "__main__":` around the call'
INTERRUPTED = "interrupted; run the same command again to continue"
BROKEN = "its process was ended from outside, or one beside it; run the same command again to continue"
ENDED = "its process was ended from outside, also when it was made alone; run the same command again to continue"
NOT_BEGUN = f"its process has ended before it began; {GUARD}"
EVERY = 0.2  # seconds, in which a run in progress is asked to stop until it does
STOPPED = threading.Event()  # in a process that makes runs: a signal has ended one, and no other is to begin
IN_A_RUN = threading.Lock()  # held during a run in a process that a sweep has started


def made(
    places: dict[str, TrainConfig], left: Sequence[str], executor: Executor | None, processes: int | None
) -> Generator[tuple[str, str | None], None, None]:
    """Make the runs that are left; each name as its run ends, and its error, if any."""
    if executor is None:
        yield from _in_processes(places, left, processes or len(cores()))
        return
    futures: dict[Future[str | None], str] = {}
    try:
        for name in left:
            futures[executor.submit(make_run, places[name])] = name
        for future in as_completed(futures):
            yield futures[future], _error(future, BROKEN)
    except BaseException:
        for future in futures:
            future.cancel()
        _interrupt_children()
        raise


def _in_processes(places: dict[str, TrainConfig], left: Sequence[str], count: int) -> Iterator[tuple[str, str | None]]:
    """As :func:`made`, in so many processes of this machine.

    A run whose process is ended from outside is made once more, alone and after the others: if the memory was short,
    there is more of it then.
    """
    again, answered = [], False
    for name, error in _at_once(places, left, count):
        if error == ENDED:
            again.append(name)
        else:
            answered = True
            yield name, error
    if not answered and not _any_begun(places, left):
        yield from ((name, NOT_BEGUN) for name in again)
        return
    for name in again:
        yield from _at_once(places, [name], 1)


def _any_begun(places: dict[str, TrainConfig], names: Sequence[str]) -> bool:
    """True if one of these runs has made its folder."""
    return any(Path(places[name].out or ".").exists() for name in names)


def _at_once(places: dict[str, TrainConfig], names: Sequence[str], count: int) -> Iterator[tuple[str, str | None]]:
    """Make runs in so many processes. A run whose process is ended from outside is not made again.

    Each process is a pool to itself, and has one run at a time: one that is killed takes no other run with it, and
    leaves nobody waiting for it. If processes end before any run has begun, no others are started.
    """
    waiting, busy = list(reversed(names)), dict[Future[str | None], tuple[str, Executor]]()
    idle: list[Executor] = []
    ended: list[tuple[str, str | None]] = []
    works: bool | None = None  # whether a process can make a run, if it is known
    with ExitStack() as pools:
        try:
            while ended or busy or waiting:
                while waiting and len(busy) < count and (works is not False or _any_begun(places, names)):
                    _hand_out(places, waiting, idle, busy, pools)
                yield from ended  # only now, so that no process waits for whoever listens
                if not busy:
                    break
                ended = []
                for future in wait(busy, return_when=FIRST_COMPLETED).done:
                    name, pool = busy.pop(future)
                    error = _error(future, ENDED)
                    ended.append((name, error))
                    if error == ENDED:
                        works = bool(works)
                    else:
                        works = True
                        idle.append(pool)
        except BaseException:
            _save_and_close(pools)
            raise
    yield from ((name, ENDED) for name in reversed(waiting))


def _hand_out(
    places: dict[str, TrainConfig],
    waiting: list[str],
    idle: list[Executor],
    busy: dict[Future[str | None], tuple[str, Executor]],
    pools: ExitStack,
) -> None:
    """Hand the next run to a process that has nothing to do, or to a new one."""
    with interrupts_held():
        name = waiting.pop()
        pool = idle.pop() if idle else pools.enter_context(_pool())
        try:
            future = pool.submit(_make_in_process, places[name])
        except BrokenProcessPool:  # it was ended while it had nothing to do
            pool = pools.enter_context(_pool())
            future = pool.submit(_make_in_process, places[name])
        busy[future] = name, pool


def _save_and_close(pools: ExitStack) -> None:
    """Ask the runs in progress to save themselves, and wait until their processes have ended.

    They are asked again and again, as a run that is about to begin does not listen yet. A signal to the whole group,
    such as that of a terminal, has reached them already, and they are given time to hear it.
    """
    ending = threading.Thread(target=pools.close)
    ending.start()
    ending.join(EVERY)
    while ending.is_alive():
        _interrupt_children()
        ending.join(EVERY)


def _interrupt_children() -> None:
    """Ask the runs in processes that this one has started to stop. A signal to this one alone has not reached them."""
    for child in multiprocessing.active_children():
        if child.pid is not None:
            with suppress(ProcessLookupError):
                os.kill(child.pid, signal.SIGINT)


def _error(future: Future[str | None], broken: str) -> str | None:
    """What went wrong in a run; ``broken`` if its process has ended."""
    try:
        return future.result()
    except BrokenProcessPool:
        return broken
    except Exception as error:
        return f"{type(error).__name__}: {error}"


def make_run(config: TrainConfig) -> str | None:
    """Train one run to its end, from the start or from where it was interrupted.

    Returns
    -------
    error : str or None
        What went wrong, in one line.
    """
    folder = Path(config.out or ".")
    if STOPPED.is_set():
        return INTERRUPTED
    try:
        with apart():
            run = resume(folder, progress=None) if (folder / FILE).exists() else train(config, progress=None)
    except (ValueError, OSError, ArithmeticError, MemoryError) as error:
        return next(iter(str(error).splitlines()), type(error).__name__)
    if run.over:
        return None
    STOPPED.set()
    return INTERRUPTED


def _make_in_process(config: TrainConfig) -> str | None:
    """:func:`make_run` in a process that this sweep has started."""
    with IN_A_RUN:
        return make_run(config)


@contextmanager
def _pool() -> Iterator[Executor]:
    """A process of one thread.

    It is started afresh rather than forked: a fork of a process with threads, such as those of a BLAS library, may
    hang.
    """
    context = multiprocessing.get_context("spawn")
    with one_thread_each(), ProcessPoolExecutor(1, context, initializer=_begin_process) as pool:
        yield pool


def _begin_process() -> None:
    """Prepare a process to make runs.

    Between two runs, a Ctrl-C is for the process that started this one. A run listens to it by itself.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})  # it was held while this process was started
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """Wait until the process that started this one has ended, and end this one as well. A run in progress is saved.

    It is asked to stop again and again, as a run that is about to begin does not listen yet. Once it has heard, or is
    saved, the signal is ignored.
    """
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    STOPPED.set()
    while not IN_A_RUN.acquire(timeout=EVERY):
        signal.raise_signal(signal.SIGINT)
    os._exit(1)


@contextmanager
def terminable() -> Iterator[None]:
    """Inside the block, SIGTERM is like a Ctrl-C. Only the main thread receives signals."""
    before = signal.getsignal(signal.SIGTERM)
    if threading.current_thread() is not threading.main_thread() or before is None:
        yield
        return

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
