"""Memory that a training step frees stays with the process for the next step, which saves page faults."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager
from math import inf
from pathlib import Path

# Parameters of mallopt, from malloc.h of the GNU C library.
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_MMAP_MAX = -1, -3, -4
NEVER = -1
# Restored after the block. Once mallopt was called, glibc stops adapting its thresholds to what a program frees, so
# these are the largest values that it would adapt them to.
MMAP_MAX, MMAP_THRESHOLD, TRIM_THRESHOLD = 65536, 32 << 20, 64 << 20


def free_memory() -> float:
    """Bytes that are free on this machine; infinity where the system does not tell."""
    try:
        for line in Path("/proc/meminfo").read_text().splitlines():
            name, _, told = line.partition(":")
            if name == "MemAvailable":
                return 1024.0 * int(told.split()[0])
    except (OSError, ValueError):
        pass
    return inf


@contextmanager
def memory_kept() -> Iterator[None]:
    """Keep freed memory for the next allocation inside a ``with`` block, and return it to the system afterwards.

    A training step allocates the same arrays again and again. By default the C library returns large ones to the
    system, which then clears every page anew: a third to a half of the time of a small model's step. The setting holds
    for the whole process. Only the GNU C library has it; with any other, nothing changes.

    :func:`train` uses it. In a loop of your own it is worth the line.

    Examples
    --------
    >>> import numpy as np
    >>> with memory_kept():
    ...     for _ in range(3):
    ...         size = np.ones((1000, 1000)).nbytes
    >>> size
    8000000
    """
    library = _c_library()
    if library is None or _Kept.open:
        yield
        return
    _Kept.open = True
    library.mallopt(M_MMAP_MAX, 0)  # large arrays from the heap as well, which keeps them
    library.mallopt(M_TRIM_THRESHOLD, NEVER)
    try:
        yield
    finally:
        _Kept.open = False
        library.mallopt(M_MMAP_MAX, MMAP_MAX)
        library.mallopt(M_MMAP_THRESHOLD, MMAP_THRESHOLD)
        library.mallopt(M_TRIM_THRESHOLD, TRIM_THRESHOLD)
        give_back()


def give_back() -> None:
    """Return freed memory to the system, inside of :func:`memory_kept` as well."""
    library = _c_library()
    if library is not None:
        library.malloc_trim(0)


class _Kept:
    """True while a block is open. The setting is global, so only the outermost block changes it."""

    open = False


def _c_library() -> ctypes.CDLL | None:
    """The C library, or None if it has no such setting."""
    try:
        library = ctypes.CDLL(None)
    except TypeError:  # Windows
        return None
    return library if hasattr(library, "mallopt") and hasattr(library, "malloc_trim") else None
