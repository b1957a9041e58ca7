"""The runs of a sweep, several at a time. A run that is over is never made again, one that was interrupted goes on."""

from __future__ import annotations

import multiprocessing
import os
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor
from contextlib import ExitStack, closing, contextmanager
from dataclasses import fields, replace
from pathlib import Path

from .._checks import check_size
from .._text import brief
from ..run import load_run
from ..training.archive import alone_in
from ..training.checkpoint import FILE, load_checkpoint
from ..training.config import TrainConfig
from ..training.metrics import METRICS, read_metrics
from .grid import NOT_VARIED, names_of
from .making import GUARD, STOPPED, made, terminable
from .outcome import Outcome
from .progress import PRINT, SweepProgress
from .table import write_table

# Settings that change how fast a run is but not what it is, or that a sweep decides.
NOT_COMPARED = (*NOT_VARIED, "workers", "recompute")
UNFINISHED = "not over yet"


def sweep(
    configs: Sequence[TrainConfig],
    folder: str | os.PathLike[str],
    executor: Executor | None = None,
    processes: int | None = None,
    progress: SweepProgress | None = PRINT,
) -> list[Outcome]:
    """Train every config, each in a folder of its own inside ``folder``.

    A run that is over is only read, and one that was interrupted is resumed, so the same call made again goes on where
    the last one stopped. A run that fails is reported, and the others go on. One whose process is ended from outside is
    made once more, after the others, unless an ``executor`` makes it. After every run that ends, the table of all that
    have ended is written to ``sweep.csv`` in the folder.

    Parameters
    ----------
    configs : sequence of TrainConfig
        All different, such as those of :func:`grid`. Their ``out`` is not used.
    folder : path
    executor : concurrent.futures.Executor, optional
        What the runs are handed to, such as an ``mpi4py.futures.MPIPoolExecutor`` over several machines that share the
        folder; by default processes on this machine.
    processes : int, optional
        Number of those processes; by default as many as there are cores that this one may use. Each trains with one
        thread.
    progress : SweepProgress, optional
        Prints a line for every run by default; None for silence.

    Returns
    -------
    outcomes : list of Outcome
        In the order of ``configs``.

    Raises
    ------
    ValueError
        If there are no configs, two are the same, the folder holds a run of other settings or of another version, or
        another sweep is running in it.
    OSError
        If the folder cannot be made.
    KeyboardInterrupt
        After Ctrl-C or SIGTERM, once the runs in progress have been saved.
    """
    if not configs or not all(isinstance(config, TrainConfig) for config in configs):
        raise ValueError(f"configs: expected at least one TrainConfig, got {brief(configs)}")
    if processes is not None:
        check_size("processes", processes)
    if getattr(multiprocessing.current_process(), "_inheriting", False):  # it has not begun what it was started for
        raise ValueError(f"sweep: {GUARD}")
    STOPPED.clear()  # a sweep before this one, in this process, may have been interrupted
    folder = Path(folder)
    places = _places(configs, folder)
    with terminable(), _alone(folder):
        return _swept(places, folder, executor, processes, progress)


def _swept(
    places: dict[str, TrainConfig],
    folder: Path,
    executor: Executor | None,
    processes: int | None,
    progress: SweepProgress | None,
) -> list[Outcome]:
    """The sweep itself, in a folder that belongs to it alone."""
    names = list(places)
    over = {name for name, config in places.items() if _is_over(config)}
    if progress:
        progress.started(len(names), len(over))
    outcomes = {name: _outcome(name, places[name], None) for name in over}
    if outcomes:
        write_table([outcomes[name] for name in names if name in outcomes], folder)
    left = [name for name in names if name not in over]
    start = time.perf_counter()
    with closing(made(places, left, executor, processes)) as runs:
        for name, failed in runs:
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
    found = load_checkpoint(folder)
    for field in fields(TrainConfig):
        asked, saved = getattr(config, field.name), getattr(found.asked or found.config, field.name)
        if isinstance(saved, Path):
            asked = asked and Path(asked).absolute()
        if field.name == "task" and Path(saved).is_absolute():
            asked = str(Path(asked).absolute())
        # An older version saved only what it made of the settings: it filled in what was left open, and lowered warmup.
        known = found.asked is not None or (asked is not None and field.name != "warmup")
        if field.name not in NOT_COMPARED and known and asked != saved:
            had, expected = ("its default" if value is None else brief(value) for value in (saved, asked))
            raise ValueError(
                f"folder: {folder} holds a run with {field.name} {had}, expected {expected}; name another folder"
            )
    return found.over


def _outcome(name: str, config: TrainConfig, error: str | None) -> Outcome:
    """What the folder of a run holds."""
    folder = Path(config.out or ".")
    run = load_run(folder) if error is None else None
    return Outcome(name, config, folder, run, read_metrics(folder / METRICS), error)


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Make the folder, and lock it against other sweeps."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OSError(f"folder: cannot make {folder}: {error.strerror}") from error
    with ExitStack() as stack:
        try:
            stack.enter_context(alone_in(folder))
        except ValueError:
            raise ValueError(f"folder: another sweep is running in {folder}") from None
        yield
