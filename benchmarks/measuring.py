"""How time and memory are measured: in interleaved rounds of turns, and by the kernel's own high-water mark."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.crew import Failed, Worker

SETTLE = 0.1  # seconds before a turn, in which the thread pools of the one before go to sleep
STATUS, CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")
SAMPLING = 0.002  # seconds between two looks where the kernel keeps no mark
TURN = "benchmarks.sides:turn"


def longest(answers: list[Any]) -> float:
    """The time of a side is that of its slowest process."""
    return float(max(answers))


def calibrate(worker: Worker, seconds: float, turn: str = TURN) -> int:
    """Calls that fill a turn of about ``seconds``; at least one. Warms up as well."""
    once = longest(worker.call(turn, 1))
    if once < seconds / 4:  # the first calls are slower than those that follow
        once = longest(worker.call(turn, max(1, round(seconds / 8 / once))))
    return max(1, round(seconds / once))


def order_of(count: int, round_number: int) -> list[int]:
    """Who comes when: every round begins with another side, and every other round goes backwards."""
    order = [(round_number + place) % count for place in range(count)]
    return order[::-1] if round_number % 2 else order


def interleave(workers: dict[str, Worker], calls: dict[str, int], rounds: int, turns: dict[str, str] | None = None):
    """In every round a turn of every side: what each gave, by side, a list over rounds of lists over ranks.

    A side that fails is left out from then on; its reason is given beside the answers.
    """
    names, lost = list(workers), dict[str, str]()
    answers: dict[str, list[list[Any]]] = {name: [] for name in names}
    for number in range(rounds):
        for place in order_of(len(names), number):
            name = names[place]
            if name in lost:
                continue
            time.sleep(SETTLE)
            try:
                answers[name].append(workers[name].call((turns or {}).get(name, TURN), calls[name]))
            except Failed as error:
                lost[name] = str(error)
                answers[name].clear()
        print(f"  round {number + 1} of {rounds}", file=sys.stderr)
    return {name: values for name, values in answers.items() if name not in lost}, lost


def timed(function: Callable[[], Any], calls: int) -> float:
    """Seconds per call."""
    start = time.perf_counter()
    for _ in range(calls):
        function()
    return (time.perf_counter() - start) / calls


def resident() -> int:
    """Bytes of this process that are in memory now."""
    if STATUS.exists():
        return _status("VmRSS")
    import psutil

    return int(psutil.Process().memory_info().rss)


def _status(name: str) -> int:
    line = next(line for line in STATUS.read_text().splitlines() if line.startswith(f"{name}:"))
    return int(line.split()[1]) * 1024


class Peak:
    """Largest resident size inside a ``with``, in bytes: ``peak.bytes`` after it, and ``peak.method``.

    Linux keeps the mark itself and sets it back on request; elsewhere a thread looks every two milliseconds.
    """

    bytes = 0

    def __init__(self) -> None:
        self._kept = kept_by_kernel()  # asked once: the asking sets the mark back
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
    """Whether the kernel sets its mark back."""
    try:
        CLEAR.write_text("5")
    except OSError:
        return False
    # Some kernels take the request and do nothing.
    return STATUS.exists() and "VmHWM" in STATUS.read_text() and _status("VmHWM") <= _status("VmRSS") + (1 << 20)


def settle_memory() -> None:
    """Collect what is garbage, and give free memory back where the allocator can be asked to."""
    gc.collect()
    with contextlib.suppress(AttributeError, OSError, TypeError):
        ctypes.CDLL(None).malloc_trim(0)
