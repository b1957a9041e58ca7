"""Measuring time in interleaved turns, and memory by the kernel's own high-water mark."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import sys
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks import peers
from benchmarks.crew import Failed, Side, Worker, mpiexec

SETTLE = 0.1  # seconds before a turn, in which the thread pools of the previous side go to sleep
STATUS, CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")
SAMPLING = 0.002  # seconds between two samples where the kernel keeps no mark


class Timing(NamedTuple):
    """The times of several sides, by name."""

    seconds: dict[str, list[float]]  # per call, one number a round; of the slowest process
    ready: dict[str, list[Any]]  # what ``prepare`` returned, by rank
    left_out: dict[str, str]  # sides that are not installed or failed, and why


def time_sides(sides: list[Side], prepare: str, problem: Any, options: Any, turn: float) -> Timing:
    """Start every side in processes of its own, prepare it, and time all of them in interleaved rounds.

    Parameters
    ----------
    sides : list of Side
    prepare : str
        ``module:function``, called as ``function(desk, side, problem)`` in every process of a side. It checks the side
        and sets ``desk["turn"]``, a function from a number of calls to the seconds of one.
    problem : object
    options : namespace
        With ``rounds``, and ``limit``, the seconds that a side may take to get ready.
    turn : float
        Seconds of a side's turn, in which it makes as many calls as fit, at least one.
    """
    ready: dict[str, list[Any]] = {}
    seconds: dict[str, list[float]] = {}
    workers: dict[str, tuple[Worker, int]] = {}
    there, left_out = installed(sides)
    with ExitStack() as stack:
        for side in there:
            print(f"  {side.name} gets ready", file=sys.stderr)
            try:
                worker = stack.enter_context(Worker(side))
                ready[side.name] = worker.call(prepare, side, problem, limit=options.limit)
                workers[side.name] = worker, calibrate(worker, turn)
                seconds[side.name] = []
            except Failed as error:
                left_out[side.name] = str(error)
                print(f"  {side.name} is left out: {error}", file=sys.stderr)
        names = list(workers)
        for number in range(options.rounds):
            for name in (names[place] for place in order_of(len(names), number)):
                time.sleep(SETTLE)
                try:
                    if name in seconds:
                        seconds[name].append(take_turn(*workers[name]))
                except Failed as error:
                    left_out[name] = str(error)
                    del seconds[name]
            print(f"  round {number + 1} of {options.rounds}", file=sys.stderr)
    return Timing(seconds, ready, left_out)


def installed(sides: list[Side]) -> tuple[list[Side], dict[str, str]]:
    """The sides that can run here, and the names of the others with the reason."""
    missing = {}
    for side in sides:
        peer = side.kind.partition(" ")[0]
        if side.mpi and (mpiexec() is None or find_spec("mpi4py") is None):
            missing[side.name] = "MPI is not installed"
        elif peer in peers.PEERS and not peers.installed(peer):
            missing[side.name] = "not installed"
    return [side for side in sides if side.name not in missing], missing


def calibrate(worker: Worker, seconds: float) -> int:
    """Number of calls that fill a turn of about ``seconds``; at least one. Warms up as well."""
    once = take_turn(worker, 1)
    if once < seconds / 4:  # the first calls are slower than later ones
        once = take_turn(worker, max(1, round(seconds / 8 / once)))
    return max(1, round(seconds / once))


def order_of(count: int, round_number: int) -> list[int]:
    """Order of the sides in a round: each round begins with another side, and every other one runs backwards."""
    order = [(round_number + place) % count for place in range(count)]
    return order[::-1] if round_number % 2 else order


def take_turn(worker: Worker, calls: int) -> float:
    """Seconds per call of a side: those of its slowest process."""
    return float(max(worker.call("benchmarks.measuring:turn", calls)))


def turn(desk: dict[str, Any], calls: int) -> float:
    """Seconds per call, in a worker."""
    return float(desk["turn"](calls))


def timed(function: Callable[[], Any], calls: int) -> float:
    """Seconds per call."""
    start = time.perf_counter()
    for _ in range(calls):
        function()
    return (time.perf_counter() - start) / calls


def resident() -> int:
    """Resident size of this process, in bytes."""
    if STATUS.exists():
        return _status("VmRSS")
    import psutil

    return int(psutil.Process().memory_info().rss)


def _status(name: str) -> int:
    line = next(line for line in STATUS.read_text().splitlines() if line.startswith(f"{name}:"))
    return int(line.split()[1]) * 1024


class Peak:
    """Largest resident size inside a ``with`` block, in bytes: ``peak.bytes`` after it, and ``peak.method``.

    Linux keeps this mark and resets it on request; elsewhere a thread samples every two milliseconds.
    """

    bytes = 0

    def __init__(self) -> None:
        self._kept = kept_by_kernel()  # asked once: asking resets the mark
        self.method = "VmHWM, set back through /proc/self/clear_refs" if self._kept else "a sampling thread"
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)

    def __enter__(self) -> Peak:
        if self._kept:
            CLEAR.write_text("5")
        else:
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._kept:
            self.bytes = _status("VmHWM")
        else:
            self._end.set()
            self._thread.join()

    def _sample(self) -> None:
        while True:
            self.bytes = max(self.bytes, resident())
            if self._end.wait(SAMPLING):
                return


def kept_by_kernel() -> bool:
    """True if the kernel resets its mark on request; some accept the request and do nothing."""
    try:
        CLEAR.write_text("5")
    except OSError:
        return False
    return STATUS.exists() and "VmHWM" in STATUS.read_text() and _status("VmHWM") <= _status("VmRSS") + (1 << 20)


def settle_memory() -> None:
    """Collect garbage, and give free memory back where the allocator can be asked to."""
    gc.collect()
    with contextlib.suppress(AttributeError, OSError, TypeError):
        ctypes.CDLL(None).malloc_trim(0)
