"""Signals: a run that is asked to stop finishes its update first, and processes are started in peace."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def asked_to_stop() -> Iterator[threading.Event]:
    """An event that SIGINT or SIGTERM sets; a second signal has its usual effect.

    Only the main thread receives signals. In any other thread the event is never set.

    Examples
    --------
    >>> import os, signal
    >>> with asked_to_stop() as asked:
    ...     os.kill(os.getpid(), signal.SIGTERM)
    ...     asked.wait(timeout=5)
    True
    """
    asked = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield asked
        return
    before = {number: signal.getsignal(number) for number in SIGNALS}

    def stop(number: int, frame: FrameType | None) -> None:
        asked.set()
        for each, handler in before.items():
            signal.signal(each, handler)

    for number in SIGNALS:
        signal.signal(number, stop)
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def interrupts_held() -> Iterator[None]:
    """Hold Ctrl-C back until the end of the block. Processes that are started inside of it never see one.

    Without this, one in the middle of a start would leave a process that nobody knows of.

    Examples
    --------
    >>> import signal
    >>> try:
    ...     with interrupts_held():
    ...         signal.raise_signal(signal.SIGINT)
    ...         print("goes on")
    ... except KeyboardInterrupt:
    ...     print("interrupted")
    goes on
    interrupted
    """
    held: list[int] = []
    # To block the signal is for the new processes: it may reach this one by another thread, whose handler runs in the
    # main thread all the same.
    blocks = hasattr(signal, "pthread_sigmask")
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT}) if blocks else None
    before = signal.getsignal(signal.SIGINT)
    handles = threading.current_thread() is threading.main_thread() and callable(before)
    if handles:
        signal.signal(signal.SIGINT, lambda number, frame: held.append(number))
    try:
        yield
    finally:
        if blocks:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask or ())
        if handles:
            signal.signal(signal.SIGINT, before)
        if held:
            signal.raise_signal(signal.SIGINT)
