"""Every side in processes of its own, idle while another is timed.

A coordinator starts the workers and tells them over sockets what to call. A worker that is told nothing waits in
``recv``: it takes no processor time, and its thread pools and its allocator are nobody else's. Ranks of MPI are told
over sockets as well, each by itself, so that none of them spins in MPI between two turns.
"""

from __future__ import annotations

import os
import queue
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from multiprocessing.connection import Client, Connection, Listener, wait
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).parent.parent
THREADS = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "BLIS_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")
KEY = "BENCHMARK_KEY"  # of the environment: what a worker shows the coordinator
START = 120.0  # seconds that a worker may take to start
CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class Side(NamedTuple):
    """Who is measured, and with how many threads in each of how many processes."""

    name: str
    kind: str  # "ours", "floor", or a key of the peers' registry
    threads: int = 1
    ranks: int = 1
    mpi: bool = False  # the processes are ranks of MPI


class Failed(Exception):
    """A worker raised, died, or took too long."""


def mpiexec() -> str | None:
    """MPI's launcher: the one beside this Python, as a package may have brought it, or else the system's."""
    beside = Path(sys.executable).parent / "mpiexec"
    return str(beside) if beside.exists() else shutil.which("mpiexec")


class Worker:
    """The processes of one side, as a context.

    Parameters
    ----------
    side : Side
    environment : dict of str, optional
        Further variables that are set before anything is imported.
    """

    def __init__(self, side: Side, environment: dict[str, str] | None = None) -> None:
        self.side = side
        self._folder = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        key = os.urandom(16)
        # The socket's path has to be short.
        listener = Listener(str(Path(self._folder.name) / "s"), "AF_UNIX", authkey=key)
        command = [sys.executable, "-m", "benchmarks.worker", str(listener.address)]
        variables = os.environ | dict.fromkeys(THREADS, str(side.threads)) | {KEY: key.hex()}
        variables |= {"PYTHONPATH": os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])}
        variables |= environment or {}
        if side.mpi:
            launcher = mpiexec()
            if launcher is None:
                raise Failed("there is no mpiexec")
            commands = [[launcher, "-n", str(side.ranks), *command]]
        else:
            commands = [[*command, str(rank)] for rank in range(side.ranks)]
        self._processes = [
            subprocess.Popen(each, env=variables, cwd=ROOT, stdin=subprocess.DEVNULL, start_new_session=True)
            for each in commands
        ]
        try:
            found = dict(self._accept(listener) for _ in range(side.ranks))
        except BaseException:
            self.close()
            raise
        finally:
            listener.close()
        self._connections: list[Connection] = [found[rank] for rank in sorted(found)]

    def _accept(self, listener: Listener) -> tuple[int, Connection]:
        """A worker's rank and the line to it."""
        accepted: queue.Queue[Connection] = queue.Queue()
        threading.Thread(target=lambda: accepted.put(listener.accept()), daemon=True).start()
        end = time.monotonic() + START
        while time.monotonic() < end and all(process.poll() is None for process in self._processes):
            try:
                connection = accepted.get(timeout=0.1)
            except queue.Empty:
                continue
            return connection.recv(), connection
        raise Failed(f"{self.side.name} did not start")

    def call(self, function: str, *arguments: Any, limit: float | None = None, **keywords: Any) -> list[Any]:
        """Call ``module:function`` in every process of the side, at once; what it gave, by rank.

        Its first argument is the worker's own dict, which stays from call to call.

        Raises
        ------
        Failed
            If one raised or died, or there was no answer after ``limit`` seconds; the side is closed then.
        """
        end = None if limit is None else time.monotonic() + limit
        try:
            for connection in self._connections:
                connection.send((function, arguments, keywords))
            answers: dict[int, Any] = {}
            waiting = {connection: rank for rank, connection in enumerate(self._connections)}
            while waiting:  # in the order in which they come: one rank's error leaves the others waiting for it
                ready = wait(list(waiting), None if end is None else max(0.0, end - time.monotonic()))
                if not ready:
                    raise Failed(f"it took more than {limit:.0f} s")
                for connection in ready:
                    good, answer = connection.recv()
                    if not good:
                        raise Failed(answer)
                    answers[waiting.pop(connection)] = answer
        except (EOFError, OSError):
            self.close()
            raise Failed("its process died, perhaps for want of memory") from None
        except Failed:
            self.close()
            raise
        return [answers[rank] for rank in sorted(answers)]

    def close(self) -> None:
        """End the processes: told so, and if that does not help by a signal."""
        for connection in getattr(self, "_connections", []):
            connection.close()  # a worker ends when its line does
        self._connections = []
        for process in self._processes:
            try:
                process.wait(3)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)  # a session of its own: this side's processes alone
                process.wait()
        self._folder.cleanup()

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def connect(address: str) -> Connection:
    """The worker's end of the line."""
    return Client(address, "AF_UNIX", authkey=bytes.fromhex(os.environ.pop(KEY)))
