"""A worker: calls what the coordinator asks for until the line closes. Started by ``benchmarks.crew``."""

from __future__ import annotations

import gc
import importlib
import os
import sys
import traceback
from typing import Any

from benchmarks.crew import connect

RANK = ("PMI_RANK", "PMIX_RANK", "OMPI_COMM_WORLD_RANK")  # where launchers of MPI write it


def main() -> None:
    """Serve until the coordinator hangs up."""
    address, *rank = sys.argv[1:]
    number = int(rank[0]) if rank else next(int(os.environ[name]) for name in RANK if name in os.environ)
    connection = connect(address)
    connection.send(number)
    desk: dict[str, Any] = {"rank": number}
    while True:
        try:
            function, arguments, keywords = connection.recv()
        except (EOFError, OSError):
            return
        try:
            module, _, name = function.partition(":")
            answer = True, getattr(importlib.import_module(module), name)(desk, *arguments, **keywords)
        except Exception as error:
            traceback.print_exc()
            first = (str(error).strip().splitlines() or [""])[0]
            answer = False, f"{type(error).__name__}: {first}"
        gc.collect()  # what a call left behind is not the next one's to clear away
        connection.send(answer)


if __name__ == "__main__":
    main()
