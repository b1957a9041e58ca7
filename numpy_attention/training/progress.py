"""Progress: reports of a run while it trains."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import NamedTuple, Protocol

from .._text import printable
from .evaluation import Evaluation


class Step(NamedTuple):
    """Report of one update."""

    number: int  # counted from 1
    loss: float  # of the batch, before the update, in nats per token
    gradient_norm: float  # before clipping
    learning_rate: float
    tokens: int  # real target tokens of the batch
    seconds: float  # of training so far, without pauses between runs
    cpu_seconds: float  # of this process in that time: what other programs take of the machine is not in it


class Progress(Protocol):
    """Listener to a run. Training calls every method, on rank 0 alone."""

    def started(self, description: str, steps: int, done: int) -> None:
        """Called before the first update; ``done`` updates were made before, in a run that is resumed."""

    def stepped(self, step: Step) -> None:
        """Called after every update."""

    def evaluated(self, step: Step, evaluation: Evaluation) -> None:
        """Called after every evaluation on the held-out pairs."""


HEADER = """\
        ------ loss -----            --- right, % --- gradient
   step training held-out perplexity tokens sequences     norm tokens/s seconds"""


class Lines:
    """Progress as plain lines: a table of 79 columns with a row per evaluation.

    Losses are in nats per token. ``tokens/s`` is the speed of training since the run was started or resumed, without
    the evaluations.

    Parameters
    ----------
    write : callable
        Called with each line; ``print`` by default.
    """

    def __init__(self, write: Callable[[str], None] = print) -> None:
        self.write = write
        self._restart()

    def _restart(self) -> None:
        self.headed = False
        self.tokens, self.seconds = 0, 0.0  # of the updates alone
        self.mark = time.perf_counter()

    @property
    def rate(self) -> float:
        """Target tokens a second."""
        return self.tokens / max(self.seconds, 1e-9)

    def started(self, description: str, steps: int, done: int) -> None:
        """Print the description of the run."""
        self._restart()
        self.write(printable(description if not done else f"{description}; {done} of {steps} steps are done"))

    def stepped(self, step: Step) -> None:
        """Count the tokens and the time, and print nothing."""
        now = time.perf_counter()
        self.tokens, self.seconds, self.mark = self.tokens + step.tokens, self.seconds + now - self.mark, now

    def evaluated(self, step: Step, evaluation: Evaluation) -> None:
        """Print a row, the first time below a header."""
        if not self.headed:
            self.write(HEADER)
            self.headed = True
        columns = (
            (step.number, 7, 0),
            (step.loss, 8, 4),
            (evaluation.loss, 8, 4),
            (evaluation.perplexity, 10, 3),
            (100 * evaluation.token_accuracy, 6, 1),
            (100 * evaluation.sequence_accuracy, 9, 1),
            (step.gradient_norm, 8, 3),
            (self.rate, 8, 0),
            (step.seconds, 7, 1),
        )
        self.write(" ".join(_column(*column) for column in columns))
        self.mark = time.perf_counter()


def _column(value: float, width: int, decimals: int) -> str:
    """``value`` at the right of its column, with fewer decimals where it would be too wide."""
    fixed = (f"{value:.{places}f}" for places in range(decimals, -1, -1))
    return next((text for text in fixed if len(text) <= width), f"{value:.1e}").rjust(width)


PRINT = Lines()
