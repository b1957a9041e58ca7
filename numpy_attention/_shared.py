"""What belongs to the whole process, for threads that use it at the same time."""

from __future__ import annotations

import re
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from functools import wraps
from typing import Literal

# Held while NumPy or a function is exchanged in some modules. Other threads run on with what they had.
EXCHANGE = threading.RLock()
EVERY = r"(?s:.*)"  # a text that marks a filter as ours: a plain one may be there already, at another place


def shared(setting: Callable[[], AbstractContextManager[None]]) -> Callable[[], AbstractContextManager[None]]:
    """A setting of the whole process: the first block that begins makes it, and the last one that ends takes it back.

    Examples
    --------
    >>> @shared
    ... @contextmanager
    ... def setting():
    ...     print("made")
    ...     yield
    ...     print("taken back")
    >>> with setting(), setting():
    ...     print("inside")
    made
    inside
    taken back
    """
    lock, made = threading.Lock(), ExitStack()
    blocks = 0

    @wraps(setting)
    @contextmanager
    def block() -> Iterator[None]:
        nonlocal blocks
        with lock:
            if not blocks:
                made.enter_context(setting())
            blocks += 1
        try:
            yield
        finally:
            with lock:
                blocks -= 1
                if not blocks:
                    made.close()

    return block


def filtered(action: Literal["error", "ignore"], category: type[Warning]) -> Callable[[], AbstractContextManager[None]]:
    """A context in which a kind of warning is an error, or is ignored.

    By default all threads have one list of filters, so this is one setting for all: ``warnings.catch_warnings`` leaves
    filters behind where blocks of several threads overlap.
    """
    every = re.compile(EVERY, re.IGNORECASE)

    @contextmanager
    def of_this_thread() -> Iterator[None]:
        with shown_each_time(), warnings.catch_warnings():
            warnings.simplefilter(action, category)
            yield

    @shared
    @contextmanager
    def shown_each_time() -> Iterator[None]:
        # What Python has shown at a line, to whatever thread, it does not raise there in another.
        found = "always", every, category, None, 0
        warnings.filters.append(found)  # type: ignore[attr-defined]
        try:
            yield
        finally:
            with suppress(ValueError):
                warnings.filters.remove(found)  # type: ignore[attr-defined]

    @shared
    @contextmanager
    def of_all() -> Iterator[None]:
        warnings.filterwarnings(action, EVERY, category)
        try:
            yield
        finally:
            with suppress(ValueError):  # where somebody has reset the list
                found = action, every, category, None, 0
                warnings.filters.remove(found)  # type: ignore[attr-defined]

    # From Python 3.14 on threads may have filters of their own; without the GIL they do.
    return of_this_thread if getattr(sys.flags, "context_aware_warnings", False) else of_all
