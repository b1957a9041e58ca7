"""Data parallelism: processes that MPI started together each take a part of every batch, and sum their gradients.

A process is called a rank, as in MPI. Every rank holds all parameters and moves them by the same sum, so they stay
equal on all ranks. Only rank 0 prints and writes files.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from functools import cache
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import numpy as np

from .._shared import shared
from .._typing import Array
from .archive import alone_in
from .signals import asked_to_stop
from .step import Diverged

# Environment variables with the rank and the number of ranks, by launcher: mpiexec of MPICH, Intel MPI and MVAPICH (and
# srun --mpi=pmi2), mpirun of Open MPI, srun --mpi=pmix. Without them MPI is never imported, which takes a while.
LAUNCHERS = (
    ("PMI_RANK", "PMI_SIZE"),
    ("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE"),
    ("MV2_COMM_WORLD_RANK", "MV2_COMM_WORLD_SIZE"),
    ("PMIX_RANK", "SLURM_STEP_NUM_TASKS"),
)
# Environment variables with the rank among those of the same machine.
LOCAL_RANKS = ("MPI_LOCALRANKID", "OMPI_COMM_WORLD_LOCAL_RANK", "MV2_COMM_WORLD_LOCAL_RANK", "SLURM_LOCALID")
THREADS = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "BLIS_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")
GRACE = 0.5  # seconds that other ranks wait for rank 0 to report an error, which it may have met as well
KINDS = (ValueError, OSError, MemoryError, ArithmeticError)  # errors that are reported as one line, not as a traceback

T = TypeVar("T")


class Ranks:
    """Processes that train together. This class is the case of a single one, which shares nothing.

    Attributes
    ----------
    rank : int
        Number of this process, from 0.
    size : int
        Number of processes.
    """

    rank = 0
    size = 1

    def all_reduce(self, flat: Array) -> Array:
        """Sum of the vectors of all ranks, with the same bits on every rank."""
        return flat

    def first(self, make: Callable[[], T]) -> T:
        """Result of ``make`` on rank 0, returned on every rank. An error there is raised on every rank."""
        return make()

    def agree(self, name: str, value: Any) -> None:
        """Raise ValueError on every rank unless ``value`` is equal on all of them."""

    def together(self) -> AbstractContextManager[None]:
        """Run a block on every rank. An error on one rank is raised on every rank."""
        return nullcontext()

    def alone_in(self, folder: Path) -> AbstractContextManager[Callable[[], None]]:
        """Lock a folder against other processes that train in it, as :func:`alone_in`. Rank 0 holds it for all."""
        return alone_in(folder)

    def asked_to_stop(self) -> AbstractContextManager[threading.Event]:
        """An event that a signal to any rank sets on every rank, at the same :meth:`all_reduce`."""
        return asked_to_stop()


ALONE = Ranks()


class Together(Ranks):
    """Processes that MPI started together.

    Parameters
    ----------
    comm : mpi4py.MPI.Comm
        Used for nothing else.
    """

    def __init__(self, comm: Any) -> None:
        self.comm = comm
        self.rank, self.size = comm.Get_rank(), comm.Get_size()
        self._asked, self._agreed = threading.Event(), threading.Event()
        self._shared: BaseException | None = None  # an error that every rank has raised

    def all_reduce(self, flat: Array) -> Array:
        """As for :class:`Ranks`. One more entry says whether a rank was asked to stop, so that all stop together."""
        mine = np.append(flat, flat.dtype.type(self._asked.is_set()))
        total = np.empty_like(mine)
        self.comm.Allreduce(mine, total)
        if total[-1] > 0:
            self._agreed.set()
        return total[:-1]

    def first(self, make: Callable[[], T]) -> T:
        """As for :class:`Ranks`."""
        made = None
        with self.together():
            made = None if self.rank else make()
        shared: T = self.comm.bcast(made)
        return shared

    def agree(self, name: str, value: Any) -> None:
        """As for :class:`Ranks`."""
        values = self.comm.allgather(value)
        others = [rank for rank, other in enumerate(values) if other != values[0]]
        if others:
            self._shared = ValueError(f"{name}: expected the same on every rank, rank {others[0]} has another than 0")
            raise self._shared

    @contextmanager
    def together(self) -> Iterator[None]:
        """As for :class:`Ranks`."""
        error = None
        try:
            yield
        except Exception as found:
            error = found
        errors = self.comm.allgather(error and (_kind(error), str(error)))
        for rank, told in enumerate(errors):
            if told:
                kind, message = told
                self._shared = error or kind(f"rank {rank}: {message}")
                raise self._shared

    @contextmanager
    def alone_in(self, folder: Path) -> Iterator[Callable[[], None]]:
        """As for :class:`Ranks`."""
        with ExitStack() as stack:
            held: list[Callable[[], None]] = []
            self.first(lambda: held.append(stack.enter_context(alone_in(folder))))
            yield held[0] if held else lambda: None

    @contextmanager
    def asked_to_stop(self) -> Iterator[threading.Event]:
        """As for :class:`Ranks`."""
        self._agreed = threading.Event()
        with asked_to_stop() as self._asked:
            yield self._agreed

    def is_shared(self, error: BaseException) -> bool:
        """True if every rank has met this error, so that rank 0 reports it."""
        return error is self._shared or isinstance(error, Diverged)

    def failed(self, error: BaseException) -> None:
        """If every rank raised this error, return and let rank 0 report it; otherwise abort the job.

        The other ranks would wait for ever for one that has ended.
        """
        if not self.is_shared(error):
            self._abort(error)
        if self.rank:
            _leave_unsaid(error)

    def _abort(self, error: BaseException) -> NoReturn:
        """Report the error, and end all ranks."""
        if self.rank:
            time.sleep(GRACE)
        interrupted = isinstance(error, KeyboardInterrupt)
        if interrupted or isinstance(error, KINDS):
            message = "interrupted" if interrupted else (str(error) or type(error).__name__).splitlines()[0]
        else:
            message = "".join(traceback.format_exception(type(error), error, error.__traceback__)).rstrip()
        print(f"numpy-attention: rank {self.rank}: {message}", file=sys.__stderr__, flush=True)
        self.comm.Abort(130 if interrupted else 2 if isinstance(error, KINDS[:3]) else 1)
        raise error


@contextmanager
def find_ranks() -> Iterator[Ranks]:
    """The processes that train together: this one alone, unless MPI has started several.

    An error inside the block on one rank alone ends the whole job.

    Raises
    ------
    ValueError
        If MPI has started several and mpi4py is missing, or belongs to another MPI.
    """
    if launched()[1] == 1:
        yield ALONE
        return
    ranks = _start()
    try:
        yield ranks
    except BaseException as error:
        ranks.failed(error)
        raise


def launched() -> tuple[int, int]:
    """Rank of this process and number of ranks, from the environment of the MPI launcher; (0, 1) without one."""
    for rank, size in LAUNCHERS:
        told = os.environ.get(rank, ""), os.environ.get(size, "")
        if all(map(str.isdecimal, told)):
            return int(told[0]), int(told[1])
    return 0, 1


@contextmanager
def apart() -> Iterator[None]:
    """Inside the block, this process is on its own, although MPI has started it beside others."""
    hidden = {name: os.environ.pop(name) for pair in LAUNCHERS for name in pair if name in os.environ}
    try:
        yield
    finally:
        os.environ.update(hidden)


@cache
def _start() -> Together:
    """Connect to the other ranks, and share the cores with those on this machine."""
    _, size = launched()
    try:
        from mpi4py import MPI
    except (ImportError, RuntimeError) as error:  # without an MPI, mpi4py's wheels raise RuntimeError
        message = (
            f"mpiexec: it started {size} processes, and to train together they need mpi4py and an MPI: "
            f"pip install '.[mpi]' in the project's folder ({str(error).splitlines()[0]})"
        )
        _leave_first_on_machine(message)
        raise ValueError(message) from error
    if size != MPI.COMM_WORLD.Get_size():
        raise ValueError(
            f"mpiexec: it started {size} processes, but mpi4py finds {MPI.COMM_WORLD.Get_size()}; "
            f"expected the mpiexec of its own MPI, {MPI.get_vendor()[0]}"
        )
    ranks = Together(MPI.COMM_WORLD.Dup())
    try:
        _share_cores(ranks.comm.Split_type(MPI.COMM_TYPE_SHARED))
    except BaseException as error:
        ranks.failed(error)
        raise
    return ranks


def _leave_first_on_machine(message: str) -> None:
    """On a machine other than that of rank 0, report what is missing, and end this process by a signal.

    Rank 0 may have everything and wait for this one. A launcher ends a job when a signal ends one of its processes.
    """
    rank, _ = launched()
    if rank and any(os.environ.get(name) == "0" for name in LOCAL_RANKS):
        print(f"numpy-attention: rank {rank}: {message}", file=sys.__stderr__, flush=True)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGTERM)


def cores() -> set[int]:
    """The cores that this process may use."""
    return set(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else set(range(os.cpu_count() or 1))


def _share_cores(neighbours: Any) -> None:
    """Share the cores of this machine among its ranks for BLAS threads, unless the environment sets their number."""
    mine = cores()
    all_cores = set().union(*neighbours.allgather(mine))  # a launcher may have bound each rank to its own cores
    if any(name in os.environ for name in THREADS):
        return
    try:
        from threadpoolctl import threadpool_limits
    except ModuleNotFoundError:
        return
    threadpool_limits(max(1, min(len(mine), len(all_cores) // neighbours.Get_size())), user_api="blas")


@shared
@contextmanager
def one_thread() -> Iterator[None]:
    """One thread for products of matrices in this process, unless the environment sets their number.

    At the sizes of these models a second thread gains little. Where the other cores are busy it costs a lot, as the
    threads wait for one another at every product.
    """
    try:
        from threadpoolctl import threadpool_limits
    except ModuleNotFoundError:
        yield
        return
    with threadpool_limits(None if any(name in os.environ for name in THREADS) else 1, user_api="blas"):
        yield


@shared
@contextmanager
def one_thread_each() -> Iterator[None]:
    """Processes that are started inside the block use one thread for products, as there is one for every core."""
    before = {name: os.environ[name] for name in THREADS if name in os.environ}
    os.environ.update(dict.fromkeys(THREADS, "1"))  # a library reads it once, when it is loaded
    try:
        yield
    finally:
        for name in THREADS:
            os.environ.pop(name, None)
        os.environ.update(before)


def _kind(error: BaseException) -> type[Exception]:
    """Type of the error to raise on the other ranks: a built-in one, as only its message is sent."""
    return next((kind for kind in KINDS if isinstance(error, kind)), RuntimeError)


def _leave_unsaid(error: BaseException) -> None:
    """Keep the interpreter from printing an error that ends this process: rank 0 reports it."""
    before = sys.excepthook

    def hook(kind: type[BaseException], value: BaseException, trace: Any) -> None:
        if value is not error:
            before(kind, value, trace)

    sys.excepthook = hook
