"""Memory that a training step frees stays with the process for the next step, which saves page faults."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from math import inf
from pathlib import Path

from ._shared import shared

SYSTEM = Path("/")  # of the files in which Linux tells
# Both versions of control groups, by what /proc/self/cgroup calls them: the folder, the file of the limit, the file of
# the bytes in use, and the count in memory.stat of those that hold files nobody reads. The system drops these first.
GROUPS = {
    "": ("sys/fs/cgroup", "memory.max", "memory.current", "inactive_file"),
    "memory": ("sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
}
# Parameters of mallopt, from malloc.h of the GNU C library.
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_MMAP_MAX = -1, -3, -4
NEVER = -1
# Restored after the block. Once mallopt was called, glibc stops adapting its thresholds to what a program frees, so
# these are the largest values that it would adapt them to.
MMAP_MAX, MMAP_THRESHOLD, TRIM_THRESHOLD = 65536, 32 << 20, 64 << 20


def free_memory() -> float:
    """Bytes that this process may still take, of the machine's and of its container's; infinity if nobody tells."""
    found = inf
    with suppress(OSError, ValueError):
        for line in (SYSTEM / "proc/meminfo").read_text().splitlines():
            name, _, told = line.partition(":")
            if name == "MemAvailable":
                found = 1024.0 * int(told.split()[0])
    return min([found, *_free_in_groups()])


def _free_in_groups() -> Iterator[float]:
    """Bytes that are free in the control groups of this process, by which Linux limits a container.

    A container sees its own group as the root, whatever its name outside.
    """
    lines: list[str] = []
    with suppress(OSError, ValueError):
        lines = (SYSTEM / "proc/self/cgroup").read_text().splitlines()
    for line in lines:  # number:controllers:path
        controllers, _, path = line.partition(":")[2].partition(":")
        if controllers not in GROUPS or not path:
            continue
        folder, most, used, unused = GROUPS[controllers]
        root = SYSTEM / folder
        own = root / path.strip("/")
        for group in {root, own, *(each for each in own.parents if root in each.parents)}:  # each may have a limit
            with suppress(OSError, ValueError):  # no such group, or "max": no limit
                limit, taken = (int((group / name).read_text()) for name in (most, used))
                counts = dict(each.split() for each in (group / "memory.stat").read_text().splitlines())
                yield max(0.0, limit - taken + int(counts.get(unused, 0)))


@shared
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
    if library is None:
        yield
        return
    library.mallopt(M_MMAP_MAX, 0)  # large arrays from the heap as well, which keeps them
    library.mallopt(M_TRIM_THRESHOLD, NEVER)
    try:
        yield
    finally:
        library.mallopt(M_MMAP_MAX, MMAP_MAX)
        library.mallopt(M_MMAP_THRESHOLD, MMAP_THRESHOLD)
        library.mallopt(M_TRIM_THRESHOLD, TRIM_THRESHOLD)
        give_back()


def give_back() -> None:
    """Return freed memory to the system, inside of :func:`memory_kept` as well."""
    library = _c_library()
    if library is not None:
        library.malloc_trim(0)


def _c_library() -> ctypes.CDLL | None:
    """The C library, or None if it has no such setting."""
    try:
        library = ctypes.CDLL(None)
    except TypeError:  # Windows
        return None
    return library if hasattr(library, "mallopt") and hasattr(library, "malloc_trim") else None
