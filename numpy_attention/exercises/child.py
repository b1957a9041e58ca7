"""A process that judges one answer and may be stopped: ``child.py NAME FOLDER SECONDS``.

It prints one line of JSON, and ends when the process that started it does: its input is at its end then.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from pathlib import Path
from typing import Any

from .judge import TimeUpError, judge

MEMORY = 2 << 30  # bytes that an answer may take
GRACE = 10  # seconds more until the system ends a process that hears no alarm, as in one long step of compiled code


def _limited(seconds: int) -> None:
    """Stop this process's answer after a while, and keep it from taking all memory, where the system can do that."""

    def late(*_: Any) -> None:
        raise TimeUpError(f"stopped after {seconds} s")

    if hasattr(signal, "SIGALRM"):
        signal.signal(signal.SIGALRM, late)
        signal.alarm(seconds)
    try:
        import resource

        resource.setrlimit(resource.RLIMIT_DATA, (MEMORY, MEMORY))
        resource.setrlimit(resource.RLIMIT_CPU, (seconds + GRACE, seconds + GRACE))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    except (ImportError, ValueError, OSError):
        pass


def _end_with_parent() -> None:
    os.read(0, 1)
    os._exit(1)


def main() -> None:
    """Judge one answer, and print what is to be said of it as JSON."""
    name, folder, seconds = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # whatever else is printed goes elsewhere
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _limited(seconds)
    found = judge(name, folder)
    print(json.dumps(found._asdict()), file=out, flush=True)
    out.close()
    os._exit(0)  # what the answer left behind is not cleared up, which may take long


if __name__ == "__main__":
    main()
