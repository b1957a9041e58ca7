"""The protocol of training data, whether a source draws its pairs at random or reads them."""

from __future__ import annotations

from typing import NamedTuple, Protocol

from .batch import Batch
from .vocabulary import Vocabulary

Tokens = list[int]

CLIP, STEPS = 1.0, 500  # of a source that names neither


class Pairs(NamedTuple):
    """Sources and their targets in the same order; ``len(pairs.sources)`` is the number of pairs."""

    sources: list[Tokens]
    targets: list[Tokens]

    def __repr__(self) -> str:
        return f"Pairs({len(self.sources):,} sources and targets)"


class Data(Protocol):
    """A source of training batches, with held-out pairs for evaluation and perhaps test pairs.

    A source has no state: the batch of an update is a function of the update's number, so a run that is resumed gets
    the batches that it would have had.

    A class of your own may leave out ``clip`` and ``default_steps``: it then gets 1.0 and 500.
    """

    @property
    def source_vocabulary(self) -> Vocabulary:
        """Vocabulary of the sources."""

    @property
    def target_vocabulary(self) -> Vocabulary:
        """Vocabulary of the targets."""

    @property
    def held_out(self) -> Pairs:
        """Pairs for evaluation during training, never trained on."""

    @property
    def test(self) -> Pairs | None:
        """Pairs for the final figure, neither trained on nor evaluated before the end; None: use ``held_out``."""

    @property
    def description(self) -> str:
        """One line that describes the data to a person."""

    @property
    def clip(self) -> float:
        """Limit of the gradient's norm that suits these data, where the settings name none.

        It belongs to the data because some tasks have single gradients so large that they undo much of the learning.
        """

    def default_steps(self, batch_size: int) -> int:
        """Number of updates that suits these data, where the settings name none.

        It belongs to the data because it depends on the length of their sequences, or on the number of their pairs.
        """

    def batch(self, step: int, size: int) -> Batch:
        """Training pairs of one update: the same for the same ``step`` and ``size``, whatever was asked for before.

        Parameters
        ----------
        step : int
            Number of the update, from 0.
        size : int
            Number of pairs. A finite set of pairs may give fewer.

        Returns
        -------
        Batch
        """
