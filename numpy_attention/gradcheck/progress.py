"""Progress on stderr for checks that take longer than two seconds."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

PATIENCE = 2.0


def silent() -> None:
    """Count one step without printing."""


def progress(total: int, *, unit: str = "entries", enabled: bool = True) -> Callable[[], None]:
    """A function to call after each of ``total`` steps; it is silent for the first two seconds.

    On a terminal it rewrites one line twice a second; in a log it adds a line every ten seconds.
    """
    if not enabled:
        return silent
    stream = sys.stderr
    rewrite = stream.isatty()
    start = time.monotonic()
    done, due = 0, start + PATIENCE

    def step() -> None:
        nonlocal done, due
        done += 1
        now = time.monotonic()
        shown = due > start + PATIENCE
        if now >= due or (done == total and shown):
            left = (now - start) * (total - done) / done
            text = f"gradient check: {done} of {total} {unit}, {now - start:.0f} s, about {left:.0f} s left"
            end = "\n" if not rewrite or done == total else ""
            stream.write(f"\r{text:<72}{end}" if rewrite else f"{text}\n")
            stream.flush()
            due = now + (0.5 if rewrite else 10.0)

    return step
