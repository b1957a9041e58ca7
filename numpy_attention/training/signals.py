"""Signals: a run that is asked to stop finishes its update first."""

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
