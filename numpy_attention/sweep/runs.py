"""The runs of a sweep, several at a time. A run that is over is never made again, one that was interrupted goes on."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor, Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import fields, replace
from pathlib import Path
from typing import Protocol

from .._checks import check_size
from .._text import brief, printable
from ..run import load_run
from ..training.checkpoint import FILE
from ..training.config import TrainConfig
from ..training.metrics import METRICS, read_metrics
from ..training.parallel import apart, one_thread_each
from ..training.trainer import resume, train
from .grid import NOT_VARIED, names_of
from .outcome import Outcome
from .table import write_table

# Settings that a run fills in or lowers, or that change how fast it is but not what it is.
NOT_COMPARED = (*NOT_VARIED, "warmup", "workers", "recompute")


class SweepProgress(Protocol):
    """Listener to a sweep."""

    def started(self, count: int, over: int) -> None:
        """Called first, with the number of runs and of those that are over already."""

    def ended(self, outcome: Outcome, left: int, seconds: float) -> None:
        """Called after every run, with the number of those left and the seconds since the start."""


class Lines:
    """Progress as a line for every run."""

    def __init__(self) -> None:
        self.count = 0

    def started(self, count: int, over: int) -> None:
        """Print the number of runs."""
        self.count = count - over
        print(f"{count} runs" + (f", {over} of them already finished" if over else ""), flush=True)

    def ended(self, outcome: Outcome, left: int, seconds: float) -> None:
        """Print what became of a run, and how long the others may take."""
        made = self.count - left
        more = f"; {left} left, about {clock(seconds / made * left)}" if left and made else ""
        print(f"{printable(outcome.name)}: {told(outcome)}{more}", flush=True)


PRINT = Lines()


def told(outcome: Outcome) -> str:
    """What became of a run, in a few words."""
    if outcome.run is None:
        return printable(outcome.error or "not over")
    found = outcome.run.test or outcome.run.evaluation
    accuracy = f"{100 * found.sequence_accuracy:.1f} % of the sequences right, " if found else ""
    return f"{accuracy}{clock(outcome.seconds)}"


def clock(seconds: float) -> str:
    """A time that is easy to read, such as 5 s, 12 min or 3 h."""
    if seconds < 99.5:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 99.5 * 60 else f"{seconds / 3600:.1f} h"


def sweep(
    configs: Sequence[TrainConfig],
    folder: str | os.PathLike[str],
    executor: Executor | None = None,
    processes: int | None = None,
    progress: SweepProgress | None = PRINT,
) -> list[Outcome]:
    """Train every config, each in a folder of its own inside ``folder``.

    A run that is over is only read, and one that was interrupted is resumed, so the same call made again goes on where
    the last one stopped. A run that fails is reported, and the others go on. After every run that ends, the table of
    all that have ended is written to ``sweep.csv`` in the folder.

    Parameters
    ----------
    configs : sequence of TrainConfig
        All different, such as those of :func:`grid`. Their ``out`` is not used.
    folder : path
    executor : concurrent.futures.Executor, optional
        What the runs are handed to, such as an ``mpi4py.futures.MPIPoolExecutor`` over several machines that share the
        folder; by default processes on this machine.
    processes : int, optional
        Number of those processes; by default as many as there are cores. Each trains with one thread.
    progress : SweepProgress, optional
        Prints a line for every run by default; None for silence.

    Returns
    -------
    outcomes : list of Outcome
        In the order of ``configs``.

    Raises
    ------
    ValueError
        If there are no configs, two are the same, or the folder holds a run of other settings or of another version.
    OSError
        If the folder cannot be made.
    KeyboardInterrupt
        After the runs in progress have been saved.
    """
    if not configs or not all(isinstance(config, TrainConfig) for config in configs):
        raise ValueError(f"configs: expected at least one TrainConfig, got {brief(configs)}")
    if processes is not None:
        check_size("processes", processes)
    global _asked_to_stop
    _asked_to_stop = False  # a sweep before this one, in this process, may have been interrupted
    folder = Path(folder)
    places = _places(configs, folder)
    names = list(places)
    over = {name for name, config in places.items() if _is_over(config)}
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OSError(f"folder: cannot make {folder}: {error.strerror}") from error
    if progress:
        progress.started(len(names), len(over))
    outcomes = {name: _outcome(name, places[name], None) for name in over}
    if outcomes:
        write_table([outcomes[name] for name in names if name in outcomes], folder)
    left = [name for name in names if name not in over]
    start = time.perf_counter()
    for name, failed in _made(places, left, executor, processes):
        outcomes[name] = _outcome(name, places[name], failed)
        write_table([outcomes[each] for each in names if each in outcomes], folder)
        if progress:
            progress.ended(outcomes[name], len(names) - len(outcomes), time.perf_counter() - start)
    return [outcomes[name] for name in names]


def look(configs: Sequence[TrainConfig], folder: str | os.PathLike[str]) -> list[Outcome]:
    """What a sweep has come to so far: the outcome of every config, and nothing is trained.

    Takes the first two arguments of :func:`sweep`, and raises its ValueError.
    """
    places = _places(configs, Path(folder))
    return [_outcome(name, config, None if _is_over(config) else UNFINISHED) for name, config in places.items()]


def _places(configs: Sequence[TrainConfig], folder: Path) -> dict[str, TrainConfig]:
    """The configs by name, each with its folder."""
    names = names_of(configs)
    return {name: _in_folder(config, folder / name) for name, config in zip(names, configs, strict=True)}


def _in_folder(config: TrainConfig, folder: Path) -> TrainConfig:
    """The config with its folder, in one process of one thread unless it says otherwise."""
    return replace(config, out=folder, overwrite=False, workers=config.workers or 1)


def _is_over(config: TrainConfig) -> bool:
    """True if the run is over. Raise ValueError if its folder holds another run, or something else."""
    folder = Path(config.out or ".")
    if not (folder / FILE).exists():
        return False
    found = load_run(folder)
    for field in fields(TrainConfig):
        asked, saved = getattr(config, field.name), getattr(found.config, field.name)
        if isinstance(saved, Path):
            asked = asked and Path(asked).absolute()
        if field.name == "task" and Path(saved).is_absolute():
            asked = str(Path(asked).absolute())
        if field.name not in NOT_COMPARED and asked is not None and asked != saved:
            raise ValueError(
                f"folder: {folder} holds a run with {field.name} {brief(saved)}, expected {brief(asked)}; "
                "name another folder"
            )
    return found.over


def _outcome(name: str, config: TrainConfig, error: str | None) -> Outcome:
    """What the folder of a run holds."""
    folder = Path(config.out or ".")
    run = load_run(folder) if error is None else None
    return Outcome(name, config, folder, run, read_metrics(folder / METRICS), error)


def _made(
    places: dict[str, TrainConfig], left: Sequence[str], executor: Executor | None, processes: int | None
) -> Iterator[tuple[str, str | None]]:
    """Make the runs that are left; each name as its run ends, and its error, if any."""
    if not left:
        return
    with _pool(min(len(left), processes or os.cpu_count() or 1)) if executor is None else _lent(executor) as pool:
        futures: dict[Future[str | None], str] = {pool.submit(make_run, places[name]): name for name in left}
        try:
            for future in as_completed(futures):
                yield futures[future], _error(future)
        except BaseException:
            for future in futures:
                future.cancel()
            for child in multiprocessing.active_children():  # a signal to this process alone has not reached them
                if child.pid is not None:
                    os.kill(child.pid, signal.SIGINT)
            raise


def _error(future: Future[str | None]) -> str | None:
    """What went wrong in a run, or in its process."""
    try:
        return future.result()
    except BrokenProcessPool:
        return "its process was ended from outside, or one beside it; run the same command again to continue"
    except Exception as error:
        return f"{type(error).__name__}: {error}"


def make_run(config: TrainConfig) -> str | None:
    """Train one run to its end, from the start or from where it was interrupted.

    Returns
    -------
    error : str or None
        What went wrong, in one line.
    """
    global _asked_to_stop
    folder = Path(config.out or ".")
    if _asked_to_stop:
        return INTERRUPTED
    try:
        with apart():
            run = resume(folder, progress=None) if (folder / FILE).exists() else train(config, progress=None)
    except (ValueError, OSError, ArithmeticError, MemoryError) as error:
        return next(iter(str(error).splitlines()), type(error).__name__)
    _asked_to_stop = not run.over
    return None if run.over else INTERRUPTED


UNFINISHED = "not over yet"
INTERRUPTED = "interrupted; run the same command again to continue"
_asked_to_stop = False  # in a process of the pool: a signal has ended a run, and no other is to begin


@contextmanager
def _pool(processes: int) -> Iterator[Executor]:
    """Processes of one thread each, which a Ctrl-C at the terminal asks to save their runs.

    They are started afresh rather than forked: a fork of a process with threads, such as those of a BLAS library, may
    hang.
    """
    context = multiprocessing.get_context("spawn")
    with one_thread_each(), ProcessPoolExecutor(processes, context, initializer=_without_interrupt) as pool:
        yield pool


def _without_interrupt() -> None:
    """Between two runs, a Ctrl-C is for the process that started this one. A run listens to it by itself."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


@contextmanager
def _lent(executor: Executor) -> Iterator[Executor]:
    """An executor that somebody else shuts down."""
    yield executor
