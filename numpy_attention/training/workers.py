"""Worker processes on one machine: they share every update as processes of MPI do, without MPI.

This process starts the others, and is the first of them. A :class:`Team` is their communicator, with the few methods of
mpi4py's that :class:`~numpy_attention.training.parallel.Together` uses: messages go through pipes, and the vectors that
are added up lie in memory that all of them share.
"""

from __future__ import annotations

import io
import mmap
import os
import pickle
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from types import FunctionType
from typing import Any

import numpy as np

from .._text import brief, printable
from .._typing import Array
from .parallel import KINDS, THREADS, Ranks, Together, cores
from .signals import interrupts_held

ROOT = str(Path(__file__).parents[2])
# With -P no file of the folder in which they start can take the place of a module.
PATH = "import sys; sys.path[:] = sys.argv[1:]; del sys.argv[1:]"
START = "-P", "-c", f"{PATH}; from numpy_attention.training.workers import serve; serve()"
SPIN = 2e-4  # seconds to look again and again for a message, before sleeping until it comes
ALIGNED = 64  # bytes
PATIENCE = 5.0  # seconds that a worker may take to end
POSIX = os.name == "posix"  # where pipes can be looked at without waiting
READY, VALUE, FAILED = b"R", b"V", b"F"
PLACES = "/dev/shm", None  # of the memory that workers share; None: the folder of temporary files
# Operations of an update, and of a run, from which on several workers may be faster than one: below, they wait for one
# another longer than they save, or the run is over before they have started.
WORTH, WORTH_IN_ALL = 2e7, 4e11
TRIAL = 0.3  # seconds in which steps of one process are timed to find out
GAIN = 0.9  # of the time of one process: what several must do with


class WorkerError(OSError):
    """A worker process has ended, or has failed where the others did not."""


class NotNeeded(Exception):
    """The first process goes on alone, as nobody has asked for workers: it is faster, or they cannot do the work."""


class Channel:
    """Two ends of pipes, to another process and from it. Every message is a letter and a number of bytes."""

    def __init__(self, source: int, target: int, name: str) -> None:
        self.source, self.target, self.name = source, target, name
        os.set_blocking(source, False)

    def send(self, kind: bytes, payload: bytes = b"") -> None:
        """Send a message; raise WorkerError if nobody reads it any more."""
        data = memoryview(kind + len(payload).to_bytes(8, "little") + payload)
        try:
            while data:
                data = data[os.write(self.target, data) :]
        except OSError as error:
            raise WorkerError(f"{self.name} has ended") from error

    def receive(self, kind: bytes) -> bytearray:
        """The next message, which is to be of this kind; raise WorkerError if there comes none, or an error."""
        head = self._read(9)
        if head[:1] not in (kind, FAILED):  # such as text that a module of the user's prints when Python starts
            raise WorkerError(f"{self.name} is out of step: expected a message, got {brief(bytes(head))}")
        payload = self._read(int.from_bytes(head[1:], "little"))
        if head[:1] == FAILED:
            raise WorkerError(f"{self.name}: {payload.decode('utf-8', 'replace')}")
        return payload

    def _read(self, size: int) -> bytearray:
        found, until = bytearray(size), time.perf_counter() + SPIN
        rest = memoryview(found)
        while rest:
            try:
                count = os.readv(self.source, [rest])
            except BlockingIOError:
                if time.perf_counter() > until:
                    select.select([self.source], [], [])
                continue
            except OSError as error:
                raise WorkerError(f"{self.name} has ended") from error
            if not count:
                raise WorkerError(f"{self.name} has ended")
            rest = rest[count:]
        return found


class Team:
    """A communicator of processes that this module started.

    Parameters
    ----------
    rank, size : int
    channels : list of Channel
        To all others of rank 0; to rank 0 alone of the others.
    """

    def __init__(self, rank: int, size: int, channels: list[Channel]) -> None:
        self.rank, self.size, self.channels = rank, size, channels
        self.memory: Array = np.empty(0, np.uint8)
        self.room = 0  # bytes of each part of it
        self.turn = 0  # which half of it is in use

    def Get_rank(self) -> int:
        """Number of this process."""
        return self.rank

    def Get_size(self) -> int:
        """Number of processes."""
        return self.size

    def allgather(self, value: Any) -> list[Any]:
        """The values of all, by rank."""
        if self.rank:
            self.channels[0].send(VALUE, pickle.dumps(value))
            found: list[Any] = pickle.loads(self.channels[0].receive(VALUE))
            return found
        found = [value, *(pickle.loads(channel.receive(VALUE)) for channel in self.channels)]
        for channel in self.channels:
            channel.send(VALUE, pickle.dumps(found))
        return found

    def bcast(self, value: Any) -> Any:
        """The value of rank 0."""
        return self.allgather(value if self.rank == 0 else None)[0]

    def Allreduce(self, mine: Array, total: Array) -> None:
        """Sum of all vectors, in the order of the ranks, so with the same bits on each and in every run.

        Every process adds up all of them once the last one is there. The vectors of the next sum go into the other half
        of the memory: whoever goes on first cannot overwrite what another still reads.
        """
        if self.room < mine.nbytes:
            self._share(mine.nbytes)
        self.turn = 1 - self.turn
        starts = [(self.turn * self.size + rank) * self.room for rank in range(self.size)]
        parts = [self.memory[start : start + mine.nbytes].view(mine.dtype) for start in starts]
        parts[self.rank][:] = mine
        if self.rank:
            self.channels[0].send(READY)
            self.channels[0].receive(READY)
        else:
            for channel in self.channels:
                channel.receive(READY)
            for channel in self.channels:
                channel.send(READY)
        np.add(parts[0], parts[1], out=total)
        for part in parts[2:]:
            total += part

    def _share(self, size: int) -> None:
        """Memory that all processes see, in parts of so many bytes: a file whose name goes once all have opened it."""
        self.room = -(-size // ALIGNED) * ALIGNED
        size = 2 * self.size * self.room
        with ExitStack() as stack:
            path = self.bcast(None if self.rank else stack.enter_context(_file_of(size)).name)
            with open(path, "r+b") as shared:
                self.memory = np.frombuffer(mmap.mmap(shared.fileno(), size), np.uint8)
            self.allgather(None)

    def Abort(self, status: int) -> None:
        """Nothing: a process that ends closes its pipes, which ends the others."""


def _file_of(size: int) -> Any:
    """A temporary file of so many bytes, which are there: to write where there is no room would kill the process."""
    for place in PLACES:
        with ExitStack() as stack, suppress(OSError):
            file = stack.enter_context(tempfile.NamedTemporaryFile(dir=place, prefix="numpy-attention-"))
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(file.fileno(), 0, size)
            else:
                file.truncate(size)
            stack.pop_all()
            return file
    raise OSError(f"workers: expected room for {size / 1e6:,.0f} MB in /dev/shm or among temporary files, got none")


@contextmanager
def team(size: int, job: tuple[Any, ...]) -> Iterator[Ranks]:
    """Start ``size - 1`` processes, which do the job that this one does as well.

    Parameters
    ----------
    size : int
    job : tuple
        For :func:`numpy_attention.training.trainer.take_part`, which runs in each of the others.

    Raises
    ------
    ValueError
        If the job cannot be sent to another process.
    WorkerError
        If another process ends, or fails where this one does not.
    """
    if not POSIX:
        raise ValueError(f"workers: expected 1 on this system, got {size}; MPI can start several processes")
    sent = packed(job)
    processes: list[subprocess.Popen[bytes]] = []
    environment = {**os.environ, **dict.fromkeys(THREADS, "1")}
    command = [sys.executable, *START, *filter(lambda entry: isinstance(entry, str), sys.path), ROOT]
    try:
        channels = []
        with interrupts_held():
            for _ in range(1, size):
                pipe = subprocess.PIPE
                processes.append(subprocess.Popen(command, stdin=pipe, stdout=pipe, env=environment, bufsize=0))
        for rank, process in enumerate(processes, start=1):
            assert process.stdin is not None
            assert process.stdout is not None
            channels.append(Channel(process.stdout.fileno(), process.stdin.fileno(), f"worker {rank}"))
            channels[-1].send(VALUE, pickle.dumps((rank, size)))
            channels[-1].send(VALUE, sent)
        yield Together(Team(0, size, channels))
    except WorkerError as error:
        raise WorkerError(f"{error}{_why(processes)}; what was saved before is kept") from error
    finally:
        _end(processes)


class _Packer(pickle.Pickler):
    """Refuses what another process cannot import."""

    def reducer_override(self, value: Any) -> Any:
        if isinstance(value, (type, FunctionType)) and value.__module__ in ("__main__", "__mp_main__"):
            raise pickle.PicklingError(f"{value.__name__} is defined in the program itself, not in a module")
        return NotImplemented


def packed(job: tuple[Any, ...]) -> bytes:
    """The job as it is sent to another process; raise ValueError if it cannot be."""
    sent = io.BytesIO()
    try:
        _Packer(sent).dump(job)
    except Exception as error:  # anything that is handed over may object
        told = brief(str(error))[1:-1]
        raise ValueError(f"workers: expected data that other processes can be given, or workers=1 ({told})") from error
    return sent.getvalue()


def _why(processes: list[subprocess.Popen[bytes]]) -> str:
    """How a worker has ended, if a signal did it."""
    for process in processes:
        try:
            status = process.wait(timeout=0.2)
        except subprocess.TimeoutExpired:
            continue
        if status < 0:
            return f" by {signal.Signals(-status).name}"
    return ""


def _end(processes: list[subprocess.Popen[bytes]]) -> None:
    """Close the pipes, which ends a worker that still waits, and then insist."""
    for process in processes:
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                pipe.close()
    for process in processes:
        try:
            process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def serve() -> None:
    """Be a worker: called in the process that :func:`team` has started."""
    source, target = os.dup(0), os.dup(1)
    os.dup2(2, 1)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    channel = Channel(source, target, "the first process")
    try:
        rank, size = pickle.loads(channel.receive(VALUE))
        job = pickle.loads(channel.receive(VALUE))
        from .trainer import take_part

        ranks = Together(Team(rank, size, [channel]))
        try:
            take_part(job, ranks)
        except (WorkerError, NotNeeded):
            raise
        except BaseException as error:
            if not ranks.is_shared(error):
                _report(channel, error)
    except (WorkerError, NotNeeded):
        pass  # the first process has ended, and says why, or goes on alone
    except BaseException as error:
        _report(channel, error)


def _report(channel: Channel, error: BaseException) -> None:
    """Tell the first process, which is the one that prints."""
    told = str(error).splitlines()[0] if str(error) else type(error).__name__
    known = isinstance(error, KINDS)
    with suppress(WorkerError):
        channel.send(FAILED, printable(told if known else f"{type(error).__name__}: {told}").encode())


def usual(work: float, steps: int, batch_size: int) -> int:
    """Largest number of workers that may pay for so many updates of so many operations each, on this machine."""
    if not POSIX:
        return 1
    if work < WORTH or work * steps < WORTH_IN_ALL:
        return 1
    return max(1, min(len(cores()), batch_size // 8))


def is_faster_together(alone: Callable[[], Any], together: Callable[[], Any], ranks: Ranks) -> bool:
    """Time steps that rank 0 makes alone, and steps that all ranks share. True if sharing pays.

    How many cores there are does not tell: others may use them, and a container may have only a share of their time.
    That share is given for a tenth of a second or so, therefore all steps of a kind follow one another.
    """
    together()  # the first step of a kind takes longer
    count, seconds = ranks.first(lambda: _repeated(alone))
    start = time.perf_counter()
    for _ in range(count):
        together()
    return ranks.first(lambda: time.perf_counter() - start < GAIN * seconds)


def _repeated(step: Callable[[], Any]) -> tuple[int, float]:
    """How often a step was made within the time of a trial, and the seconds that it took; the first does not count."""
    step()
    start, count, seconds = time.perf_counter(), 0, 0.0
    while seconds < TRIAL:
        step()
        count, seconds = count + 1, time.perf_counter() - start
    return count, seconds
