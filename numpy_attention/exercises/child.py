"""A process that judges one answer and may be stopped: ``python -m numpy_attention.exercises.child NAME FOLDER``.

It prints one line of JSON. What the answer itself prints goes to the standard error.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

from .course import EXERCISES
from .judge import judge

LIMIT = 60  # seconds for an answer
TRAINING_LIMIT = 300
MEMORY = 4 << 30  # bytes that an answer may take


def limit_of(name: str) -> int:
    """Seconds that the answer of an exercise may take."""
    return TRAINING_LIMIT if name == EXERCISES[-1].name else LIMIT


def _limited(seconds: int) -> None:
    """Stop this process's answer after a while, and keep it from taking all memory, where the system can do that."""

    def late(*_: Any) -> None:
        raise TimeoutError(f"stopped after {seconds} s.")

    if hasattr(signal, "SIGALRM"):
        signal.signal(signal.SIGALRM, late)
        signal.alarm(seconds)
    try:
        import resource

        resource.setrlimit(resource.RLIMIT_DATA, (MEMORY, MEMORY))
    except (ImportError, ValueError, OSError):
        pass


def main() -> None:
    """Judge one answer, and print what is to be said of it as JSON."""
    name, folder = sys.argv[1], Path(sys.argv[2])
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what the answer prints goes elsewhere
    _limited(limit_of(name))
    found = judge(name, folder)
    print(json.dumps(found._asdict()), file=out, flush=True)


if __name__ == "__main__":
    main()
