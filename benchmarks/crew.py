"""Every side in processes of its own, idle while another is timed.

A coordinator starts the processes of a side and tells them over sockets what to call. A process that is told nothing
waits for a message: it takes no processor time, and shares its thread pools and its allocator with no other side. Ranks
of MPI have a socket each as well, so that none of them spins in MPI between two turns.
"""

from __future__ import annotations

import gc
import importlib
import os
import pickle
import queue
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from contextlib import ExitStack
from multiprocessing.connection import Client, Connection, Listener, wait
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).parent.parent
THREADS = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "BLIS_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")
KEY = "BENCHMARK_KEY"  # environment variable of the key that a process shows the coordinator
TEAM = "BENCHMARK_TEAM"  # environment variable of the place where workers of our training meet
ONE_CORE = "BENCHMARK_ONE_CORE"  # environment variable: take no core but the first
RANK = ("PMI_RANK", "PMIX_RANK", "OMPI_COMM_WORLD_RANK")  # environment variables of MPI's launchers
START = 120.0  # seconds that a process may take to start
CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class Side(NamedTuple):
    """One side of a comparison, with the number of threads in each of its processes."""

    name: str
    kind: str  # "ours", "floor", or a key of the peers' registry
    threads: int = 1
    ranks: int = 1
    mpi: bool = False  # the processes are ranks of MPI
    alone: bool = False  # on a single core, whatever threads it starts


class Failed(Exception):
    """A process raised, died, or took too long."""


def mpiexec() -> str | None:
    """MPI's launcher: the one beside this Python, where packages install it, or else the system's."""
    beside = Path(sys.executable).parent / "mpiexec"
    return str(beside) if beside.exists() else shutil.which("mpiexec")


class Worker:
    """The processes of one side; a context that ends them."""

    def __init__(self, side: Side) -> None:
        self.side = side
        self._connections: list[Connection] = []
        self._folder = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        key = os.urandom(16)
        listener = Listener(str(Path(self._folder.name) / "s"), "AF_UNIX", authkey=key)  # such paths have to be short
        command = [sys.executable, "-m", "benchmarks.crew", str(listener.address)]
        variables = os.environ | dict.fromkeys(THREADS, str(side.threads)) | {KEY: key.hex()}
        variables |= {TEAM: str(Path(self._folder.name) / "t")} if side.ranks > 1 and not side.mpi else {}
        variables |= {ONE_CORE: "1"} if side.alone else {}
        variables |= {"PYTHONPATH": os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])}
        if side.mpi:
            commands = [[mpiexec() or "mpiexec", "-n", str(side.ranks), *command]]
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
        self._connections = [found[rank] for rank in sorted(found)]

    def _accept(self, listener: Listener) -> tuple[int, Connection]:
        """Rank of the next process that reports, and the connection to it."""
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

    def call(self, function: str, *arguments: Any, limit: float | None = None) -> list[Any]:
        """Call ``module:function`` in every process of the side at once; what it returns, by rank.

        Its first argument is the process's own dict, which stays from call to call.

        Raises
        ------
        Failed
            If a process raised or died, or did not return within ``limit`` seconds; the side is closed then.
        """
        end = None if limit is None else time.monotonic() + limit
        try:
            for connection in self._connections:
                connection.send((function, arguments))
            answers: dict[int, Any] = {}
            waiting = {connection: rank for rank, connection in enumerate(self._connections)}
            while waiting:  # whichever answers first: after an error in one rank the others may wait for it for ever
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
        """End the processes: by closing their connections, and by a signal if that does not help."""
        for connection in self._connections:
            connection.close()
        self._connections = []
        for process in self._processes:
            try:
                process.wait(3)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)  # the session of this side's processes alone
                process.wait()
        self._folder.cleanup()

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def serve(address: str, *rank: str) -> None:
    """Call functions for the coordinator until it closes the connection."""
    connection = Client(address, "AF_UNIX", authkey=bytes.fromhex(os.environ.pop(KEY)))
    number = int(rank[0]) if rank else next(int(os.environ[name]) for name in RANK if name in os.environ)
    connection.send(number)
    with ExitStack() as stack:
        desk = {"rank": number, "stack": stack}  # contexts that stay open from call to call
        while answer_call(connection, desk):
            pass


def answer_call(connection: Connection, desk: dict[str, Any]) -> bool:
    """Call what the coordinator asks for, and send what it returns; False if the connection is closed."""
    try:
        message = connection.recv_bytes()
    except (EOFError, OSError):
        return False
    try:
        function, arguments = pickle.loads(message)
        module, _, name = function.partition(":")
        answer = True, getattr(importlib.import_module(module), name)(desk, *arguments)
    except Exception as error:
        traceback.print_exc()
        first = (str(error).strip().splitlines() or [""])[0]
        answer = False, f"{type(error).__name__}: {first}"
    gc.collect()  # before another side is timed
    connection.send(answer)
    return True


if __name__ == "__main__":
    if os.environ.pop(ONE_CORE, "") and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    serve(*sys.argv[1:])
