"""Progress: reports of a run while it trains."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, Protocol

from .evaluation import Evaluation


class Step(NamedTuple):
    """Report of one update."""

    number: int  # counted from 1
    loss: float  # of the batch, before the update, in nats per token
    gradient_norm: float  # before clipping
    learning_rate: float
    tokens: int  # real target tokens of the batch
    seconds: float  # of training so far, without pauses between runs


class Progress(Protocol):
    """Listener to a run. Training calls every method, on rank 0 alone."""

    def started(self, description: str, steps: int, done: int) -> None:
        """Called before the first update; ``done`` updates were made before, in a run that is resumed."""

    def stepped(self, step: Step) -> None:
        """Called after every update."""

    def evaluated(self, step: Step, evaluation: Evaluation) -> None:
        """Called after every evaluation on the held-out pairs."""


class Lines:
    """Progress as plain lines, one per evaluation.

    Parameters
    ----------
    write : callable
        Called with each line; ``print`` by default.
    """

    def __init__(self, write: Callable[[str], None] = print) -> None:
        self.write = write

    def started(self, description: str, steps: int, done: int) -> None:
        """Print the description of the run."""
        self.write(description if not done else f"{description}; {done} of {steps} steps are done")

    def stepped(self, step: Step) -> None:
        """Print nothing."""

    def evaluated(self, step: Step, evaluation: Evaluation) -> None:
        """Print the step, the held-out figures, the gradient norm and the time."""
        self.write(
            f"step {step.number:5d}  loss {evaluation.loss:.4f}  perplexity {evaluation.perplexity:.3f}  "
            f"tokens {100 * evaluation.token_accuracy:5.1f} %  sequences {100 * evaluation.sequence_accuracy:5.1f} %  "
            f"gradient {step.gradient_norm:.3f}  {step.seconds:5.1f} s"
        )


PRINT = Lines()
