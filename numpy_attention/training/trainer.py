"""The training loop: an update per batch, evaluation and checkpoints in between."""

from __future__ import annotations

import hashlib
import os
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import replace
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from .._checks import check_size
from .._text import brief
from ..data.corpus import Corpus
from ..data.source import Data
from ..data.tasks import Task
from ..memory import memory_kept
from ..model.dropout import masks_of_part
from ..model.seq2seq import Params, Seq2Seq
from ..run import Run, as_run
from .checkpoint import Checkpoint, load_checkpoint, prepare_folder, save_checkpoint
from .config import TrainConfig, require_applicable
from .evaluation import Evaluation, evaluate_together
from .metrics import METRICS, add_metrics, cut_metrics
from .optimizers import OPTIMIZERS
from .parallel import ALONE, Ranks, find_ranks, launched, one_thread
from .progress import PRINT, Progress, Step
from .schedule import learning_rate
from .step import TrainingState, batch_gradient, training_step
from .workers import NotNeeded, is_faster_together, packed, team

EVALUATIONS = 10  # on the held-out pairs, in one run
SAVE_EVERY = 10.0  # seconds between checkpoints; each evaluation is followed by one as well


def train(config: TrainConfig, progress: Progress | None = PRINT, data: Data | None = None) -> Run:
    """Train a model on a task or on pairs, and save it.

    After SIGINT or SIGTERM the current update is finished and the run is saved; :func:`resume` continues it.

    Processes that mpiexec started together share every batch, and all of them return the same run. Only the first one
    reports to ``progress`` and writes files.

    Parameters
    ----------
    config : TrainConfig
    progress : Progress, optional
        Listener for every update and every evaluation. Prints lines by default; None for silence.
    data : Data, optional
        Your own source of pairs; ``config.task`` then only names the run.

    Returns
    -------
    run : Run
        As saved in ``run.folder``, where :func:`load_run` reads it. If it was stopped early, ``run.step`` is its last
        update.

    Raises
    ------
    ValueError
        If there is no such task or file, or the file holds no pairs.
    OSError
        If ``config.out`` is not empty and ``config.overwrite`` is not set, or a file cannot be written.
    FloatingPointError
        If the loss, a gradient or a parameter is no longer finite; the last checkpoint stays.
    """
    job = "train", config, data
    read: list[Data] = []  # to be read once, although the number of workers depends on them

    def most() -> int | None:
        read.append(config.data() if data is None else data)
        count = config.settled(read[0]).workers
        if config.workers is None and count != 1:
            packed(job)  # what cannot be sent is trained on in this process, as nobody has asked for others
        return count

    with suppress(NotNeeded), _crew(job, most) as ranks:
        return _train(config, progress, data, ranks, read)
    with _crew(job, lambda: 1) as ranks:
        return _train(replace(config, workers=1), progress, data, ranks, read)


def take_part(job: tuple[Any, ...], ranks: Ranks) -> None:
    """Do what another process has begun: be one of its workers."""
    name, *arguments = job
    if name == "train":
        config, data = arguments
        _train(config, None, data, ranks)
    else:
        folder, data, steps = arguments
        _resume(folder, None, data, steps, ranks)


@contextmanager
def _crew(job: tuple[Any, ...], workers: Callable[[], int | None]) -> Iterator[Ranks]:
    """The processes that train together: those of MPI, or this one and the workers that it starts for the job."""
    with find_ranks() as ranks:
        if ranks.size > 1:
            yield ranks
            return
        try:
            count = workers() or 1
        except Exception:  # what is wrong with it is said where it is used
            count = 1
        with one_thread(), team(count, job) if count > 1 else nullcontext(ranks) as ranks:
            yield ranks


def _train(
    config: TrainConfig, progress: Progress | None, data: Data | None, ranks: Ranks, read: Sequence[Data] = ()
) -> Run:
    """Train on every rank, with the data handed over, or those that were read already."""
    try:
        run, data, state, ranks = _begin(config, data, ranks, read)
    except Exception as error:
        if ranks.rank == 0 and ranks.size > launched()[1] and config.workers is None:
            raise NotNeeded from error  # whatever it is: alone it does not happen, or it is said as it is
        raise
    folder = ranks.first(lambda: prepare_folder(run.config))
    with ranks.alone_in(folder) as require_same:
        return _run(run, data, state, folder, progress, ranks, require_same)


def _begin(
    config: TrainConfig, data: Data | None, ranks: Ranks, read: Sequence[Data]
) -> tuple[Checkpoint, Data, TrainingState, Ranks]:
    """A run before its first update, its data and its state, and the ranks that go on with it."""
    with ranks.together():
        if not isinstance(config, TrainConfig):
            raise ValueError(f"config: expected a TrainConfig, got {config!r}")
        _check_launch(config.workers)
        handed_over = data is not None
        if not handed_over:
            require_applicable(config)
        if data is None:
            data = read[0] if read else config.data()
        chosen = config.workers is None
        asked, config = config, config.settled(data)
        asked = replace(asked, **{name: getattr(config, name) for name in config.files()})  # with absolute paths
        if launched()[1] > 1:  # MPI has started the processes, and machines may have different numbers of cores
            chosen, config = False, replace(config, workers=1)
        model = config.model(len(data.source_vocabulary), len(data.target_vocabulary))
        found = fingerprint(data)
    config = replace(config, recompute=ranks.first(lambda: config.recompute))  # each may find more or less free memory
    ranks.agree("config", config.to_dict())
    ranks.agree("data", found)
    params = ranks.first(lambda: model.init(config.seed, config.dtype))
    if chosen and not (ranks.size > 1 and _pays(config, model, params, data, ranks)):
        if ranks.rank:
            raise NotNeeded
        ranks, config = ALONE, replace(config, workers=1)
    state = TrainingState(params, OPTIMIZERS[config.optimizer], config.recurrent_rate)
    run = Checkpoint(
        config=config,
        source_vocabulary=data.source_vocabulary,
        target_vocabulary=data.target_vocabulary,
        params=state.params,
        optimizer=state.optimizer.arrays,
        data=found,
        lengths=lengths_of(data),
        handed_over=handed_over,
        asked=asked,
    )
    return run, data, state, ranks


def _pays(config: TrainConfig, model: Seq2Seq, params: Params, data: Data, ranks: Ranks) -> bool:
    """True if updates take less time when all ranks share them."""
    batch = data.batch(0, config.batch_size)
    part = batch.part(ranks.rank, ranks.size)
    gradient = partial(batch_gradient, model, params, token_count=batch.token_count, recompute=bool(config.recompute))
    with memory_kept(), np.errstate(over="ignore", invalid="ignore"):
        return is_faster_together(lambda: gradient(batch), lambda: gradient(part, all_reduce=ranks.all_reduce), ranks)


def resume(
    folder: str | os.PathLike[str],
    progress: Progress | None = PRINT,
    data: Data | None = None,
    steps: int | None = None,
    workers: int | None = None,
) -> Run:
    """Continue a run that was interrupted, to the same bits as without the interruption (on the same machine).

    With ``steps`` it is trained on, to so many updates in all, also if it is finished. The learning rate is then that
    of a run of ``steps`` updates, so it rises again before it decays to zero, and patience counts anew.

    Parameters
    ----------
    folder : path
    progress : Progress, optional
        As for :func:`train`.
    data : Data, optional
        The same source of pairs, if :func:`train` was given one.
    steps : int, optional
        More than were made so far.
    workers : int, optional
        Processes that share the updates; by default as many as before. With another number the bits are others.

    Returns
    -------
    run : Run

    Raises
    ------
    ValueError
        If there is no run, its data have changed, ``steps`` were made already, or ``workers`` is no possible number.
    OSError, FloatingPointError
        As for :func:`train`.
    """
    folder = Path(folder)
    if workers is not None:
        check_size("workers", workers)
    job = "resume", folder, data, steps
    with _crew(job, lambda: _among(workers, load_checkpoint(folder)).config.workers) as ranks:
        return _resume(folder, progress, data, steps, ranks, workers)


def _resume(
    folder: Path,
    progress: Progress | None,
    data: Data | None,
    steps: int | None,
    ranks: Ranks,
    workers: int | None = None,
) -> Run:
    """Continue a run on every rank."""
    run = ranks.first(lambda: load_checkpoint(folder))
    with ranks.together():
        run = _among(workers, run)
        if steps is not None:
            run = _trained_on(run, steps)
        data = _data_again(run) if data is None else data
        _check_same(data, run, folder)
    state = TrainingState(run.params, OPTIMIZERS[run.config.optimizer], run.config.recurrent_rate)
    state.optimizer.steps = run.step
    for name, array in run.optimizer.items():
        state.optimizer.arrays[name][:] = array
    run = replace(run, params=state.params, optimizer=state.optimizer.arrays)
    with ranks.alone_in(folder) as require_same:
        if ranks.rank == 0:
            cut_metrics(folder / METRICS, run.step)
        return _run(run, data, state, folder, progress, ranks, require_same)


def _run(
    run: Checkpoint,
    data: Data,
    state: TrainingState,
    folder: Path,
    progress: Progress | None,
    ranks: Ranks,
    require_same: Callable[[], None],
) -> Run:
    """Train from ``state`` to the end, or until a signal asks to stop. ``require_same`` watches the folder."""
    steps = run.config.steps
    assert steps is not None
    first = ranks.rank == 0  # the only one to report and to write
    progress = progress if first else None

    def save() -> None:
        require_same()
        save_checkpoint(folder, run)

    if progress:
        among = f", in {ranks.size} processes" if ranks.size > 1 else ""
        nothing = "; nothing to do: ask for more steps to train on" if run.over else ""
        progress.started(f"{describe(run, data)}{among}{nothing}", steps, run.step)
    with memory_kept(), ranks.asked_to_stop() as asked, np.errstate(over="ignore", invalid="ignore"):
        if first and not run.step:
            save()  # from here on there is a run to resume
            (folder / METRICS).unlink(missing_ok=True)
        saved = time.perf_counter()
        for step in () if run.out_of_patience else _updates(run, data, state, asked, ranks):
            if progress:
                progress.stepped(step)
            # Ten times at even intervals: after each tenth of the steps.
            due = step.number * EVALUATIONS // steps > (step.number - 1) * EVALUATIONS // steps
            if due:
                evaluation = _evaluate(run, data, ranks)
                if first:
                    require_same()
                    add_metrics(folder / METRICS, step._asdict() | {"held_out": vars(evaluation)})
                if progress:
                    progress.evaluated(step, evaluation)
            if first and (due or asked.is_set() or time.perf_counter() - saved > SAVE_EVERY):
                save()
                saved = time.perf_counter()
            if due and run.out_of_patience:
                break
        if run.over and data.test is not None:
            unknown = run.target_vocabulary.unknown
            run.test = evaluate_together(run.model, run.best or run.params, data.test, unknown, ranks)
            if first:
                save()
    if first and run.over:
        _warn_of_nonsense(run)
    return as_run(run, folder, data)


def _warn_of_nonsense(run: Checkpoint) -> None:
    """Warn of a model that is far worse than a guess."""
    guess = np.log(len(run.target_vocabulary))
    _, found = run.evaluations[-1]
    if found.loss > 3 * guess:
        warnings.warn(
            f"the held-out loss, {found.loss:.4g} nats, is far worse than that of a guess, {guess:.2f}; "
            "try a smaller learning rate",
            RuntimeWarning,
            stacklevel=4,
        )


def _updates(run: Checkpoint, data: Data, state: TrainingState, asked: threading.Event, ranks: Ranks) -> Iterator[Step]:
    """Make one update after the other, to the last step or until a stop was asked for."""
    config, model = run.config, run.model
    assert config.steps is not None
    assert config.clip is not None
    before, start = (run.seconds, run.cpu_seconds), (time.perf_counter(), time.process_time())
    while run.step < config.steps and not asked.is_set():
        batch = data.batch(run.step, config.batch_size)
        part = batch.part(ranks.rank, ranks.size)
        dropout = None
        if config.dropout:
            rng = np.random.default_rng([config.seed, *b"dropout", run.step])
            dropout = model.dropout_masks(batch, config.dropout, rng, config.dtype)
            dropout = masks_of_part(dropout, ranks.rank, ranks.size, part)
        rate = learning_rate(run.step, config.steps, config.learning_rate, config.warmup)
        loss, norm = training_step(
            model,
            state,
            part,
            rate,
            clip=config.clip,
            weight_decay=config.weight_decay,
            label_smoothing=config.label_smoothing,
            dropout=dropout,
            recompute=bool(config.recompute),
            token_count=batch.token_count,
            all_reduce=ranks.all_reduce,
        )
        run.step += 1
        run.seconds = before[0] + time.perf_counter() - start[0]
        run.cpu_seconds = before[1] + time.process_time() - start[1]
        yield Step(run.step, loss, norm, rate, batch.token_count, run.seconds, run.cpu_seconds)


def _evaluate(run: Checkpoint, data: Data, ranks: Ranks) -> Evaluation:
    """Evaluate on the held-out pairs, and keep the parameters if patience asks for the best and these are."""
    found = evaluate_together(run.model, run.params, data.held_out, run.target_vocabulary.unknown, ranks)
    if run.config.patience and all(found.rank() > earlier.rank() for _, earlier in run.evaluations):
        run.best = {name: value.copy() for name, value in run.params.items()}
    run.evaluations.append((run.step, found))
    return found


def describe(run: Checkpoint, data: Data) -> str:
    """One line that describes a run to a person."""
    config, size = run.config, sum(value.size for value in run.params.values())
    return (
        f"{data.description}: alignment {config.alignment}, {size:,} parameters, "
        f"{config.steps:,} steps of {config.batch_size} sequences"
    )


def fingerprint(data: Data) -> str:
    """Digest of all pairs of a corpus; of any other source, of its held-out and test pairs."""
    digest = hashlib.sha256()
    for pairs in (data.held_out, data.test):
        digest.update(repr(pairs and tuple(map(list, pairs))).encode())
    if isinstance(data, Corpus):
        for side in (data.sources, data.targets):
            digest.update(np.fromiter(chain.from_iterable(side), np.int32).tobytes())
            digest.update(np.cumsum([0, *map(len, side)], dtype=np.int64).tobytes())
    return digest.hexdigest()


def lengths_of(data: Data) -> tuple[int, int] | None:
    """Shortest and longest source that is trained on, if the data say."""
    if isinstance(data, Corpus):
        lengths = [len(source) for source in data.sources]
        return min(lengths), max(lengths)
    return data.lengths if isinstance(data, Task) else None


def _among(workers: int | None, run: Checkpoint) -> Checkpoint:
    """The run with its updates shared by so many processes, if they are given."""
    _check_launch(workers)
    return run if workers is None else replace(run, config=replace(run.config, workers=workers))


def _check_launch(workers: int | None) -> None:
    if launched()[1] > 1 and (workers or 1) > 1:
        raise ValueError(f"workers: expected none with mpiexec, which has started the processes, got {workers}")


def _trained_on(run: Checkpoint, steps: int) -> Checkpoint:
    """The run with more steps to make, which may be over."""
    check_size("steps", steps)
    if steps <= run.step:
        raise ValueError(f"steps: expected more than the {run.step:,} that were made, got {steps:,}")
    asked = run.asked and replace(run.asked, steps=steps)
    return replace(run, config=replace(run.config, steps=steps), test=None, since=len(run.evaluations), asked=asked)


def _data_again(run: Checkpoint) -> Data:
    """The data of a run that is resumed."""
    if run.handed_over:
        raise ValueError(
            f"run: {brief(run.config.task)} only names its data, which were given in Python; "
            "continue it there, with resume(folder, data=...)"
        )
    for path in run.config.files().values():
        if not path.exists():
            raise ValueError(f"run: its file of pairs {path} is gone")
    return run.config.data()


def _check_same(data: Data, saved: Checkpoint, folder: Path) -> None:
    """Raise ValueError unless the data are those that a run was trained on."""
    changed = None
    if (data.source_vocabulary, data.target_vocabulary) != (saved.source_vocabulary, saved.target_vocabulary):
        changed = "words"
    elif fingerprint(data) != saved.data:
        changed = "pairs"
    if changed:
        raise ValueError(f"run: the {changed} of {saved.config.task} are no longer those that {folder} was trained on")
