"""Progress: what is told about a run while it goes on."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, Protocol

from .evaluation import Evaluation


class Step(NamedTuple):
    """One update, as a person watching would want to know it."""

    number: int  # counted from 1
    loss: float  # on the batch, before the update, in nats per token
    gradient_norm: float  # before clipping
    learning_rate: float
    tokens: int  # real target tokens of the batch
    seconds: float  # since the run began, pauses left out


class Progress(Protocol):
    """What is told about a run while it goes on. Training calls every method, on rank 0 alone."""

    def started(self, description: str, steps: int, done: int) -> None:
        """Before the first step; ``done`` steps were made before, if the run goes on after a pause."""

    def stepped(self, step: Step) -> None:
        """After every step."""

    def evaluated(self, step: Step, evaluation: Evaluation) -> None:
        """After every look at the held-out pairs."""


class Lines:
    """Progress as plain lines, one per look at the held-out pairs.

    Parameters
    ----------
    write : callable
        Is handed each line; ``print`` by default.
    """

    def __init__(self, write: Callable[[str], None] = print) -> None:
        self.write = write

    def started(self, description: str, steps: int, done: int) -> None:
        """Say what is trained."""
        self.write(description if not done else f"{description}; {done} of {steps} steps are done")

    def stepped(self, step: Step) -> None:
        """Say nothing."""

    def evaluated(self, step: Step, evaluation: Evaluation) -> None:
        """Say how far it is, and how good."""
        self.write(
            f"step {step.number:5d}  loss {evaluation.loss:.4f}  perplexity {evaluation.perplexity:.3f}  "
            f"tokens {100 * evaluation.token_accuracy:5.1f} %  sequences {100 * evaluation.sequence_accuracy:5.1f} %  "
            f"gradient {step.gradient_norm:.3f}  {step.seconds:5.1f} s"
        )


PRINT = Lines()
