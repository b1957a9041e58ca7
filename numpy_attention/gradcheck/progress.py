"""Progress on stderr for checks that take longer than two seconds."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

PATIENCE = 2.0


def silent() -> None:
    """Count one step without printing."""


@contextmanager
def progress(total: int, *, unit: str = "entries", enabled: bool = True) -> Iterator[Callable[[], None]]:
    """A function to call after each of ``total`` steps; it is silent for the first two seconds.

    On a terminal it rewrites one line twice a second, which is ended on leaving, by an error or not; in a log it adds a
    line every ten seconds.
    """
    if not enabled:
        yield silent
        return
    stream = sys.stderr
    rewrite = stream.isatty()
    start = time.monotonic()
    done, due, shown = 0, start + PATIENCE, False

    def step() -> None:
        nonlocal done, due, shown
        done += 1
        now = time.monotonic()
        if now >= due or (done == total and shown):
            left = f", about {(now - start) * (total - done) / done:.0f} s left" if done < total else ""
            text = f"gradient check: {done} of {total} {unit}, {now - start:.0f} s{left}"
            stream.write(f"\r{text:<72}" if rewrite else f"{text}\n")
            stream.flush()
            due, shown = now + (0.5 if rewrite else 10.0), True

    try:
        yield step
    finally:
        if shown and rewrite:
            stream.write("\n")
