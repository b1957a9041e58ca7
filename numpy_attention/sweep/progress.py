"""What is told of a sweep while it goes on."""

from __future__ import annotations

from typing import Protocol

from .._text import printable
from .outcome import Outcome


class SweepProgress(Protocol):
    """Listener to a sweep."""

    def started(self, count: int, over: int) -> None:
        """Called first, with the number of runs and of those that are over already."""

    def ended(self, outcome: Outcome, left: int, seconds: float) -> None:
        """Called after every run, with the number of those left and the seconds since the start."""


class Lines:
    """Progress as a line for every run."""

    def __init__(self) -> None:
        self.count = 0

    def started(self, count: int, over: int) -> None:
        """Print the number of runs."""
        self.count = count - over
        print(f"{count} runs" + (f", {over} of them already finished" if over else ""), flush=True)

    def ended(self, outcome: Outcome, left: int, seconds: float) -> None:
        """Print what became of a run, and how long the others may take."""
        made = self.count - left
        more = f"; {left} left, about {clock(seconds / made * left)}" if left and made else ""
        print(f"{printable(outcome.name)}: {told(outcome)}{more}", flush=True)


PRINT = Lines()


def told(outcome: Outcome) -> str:
    """What became of a run, in a few words."""
    if outcome.run is None:
        return printable(outcome.error or "not over")
    found = outcome.run.test or outcome.run.evaluation
    accuracy = f"{100 * found.sequence_accuracy:.1f} % of the sequences right, " if found else ""
    return f"{accuracy}{clock(outcome.seconds)}"


def clock(seconds: float) -> str:
    """A time that is easy to read, such as 5 s, 12 min or 3 h."""
    if seconds < 99.5:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 99.5 * 60 else f"{seconds / 3600:.1f} h"
