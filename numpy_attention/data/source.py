"""What every source of training data offers, whether it makes its pairs or reads them."""

from __future__ import annotations

from typing import NamedTuple, Protocol

from .batch import Batch
from .vocabulary import Vocabulary

Tokens = list[int]


class Pairs(NamedTuple):
    """Sources and their targets, in one order; ``len(pairs.sources)`` is their number."""

    sources: list[Tokens]
    targets: list[Tokens]


class Data(Protocol):
    """A source of training batches, with pairs held out to look at on the way and perhaps some to judge by at the end.

    Nothing in it moves on: what comes at an update is a function of its number, so a run that was interrupted goes on
    with the batches that it would have had.
    """

    @property
    def source_vocabulary(self) -> Vocabulary:
        """Words of the sources."""

    @property
    def target_vocabulary(self) -> Vocabulary:
        """Words of the targets."""

    @property
    def held_out(self) -> Pairs:
        """Pairs for evaluation while training goes on, never trained on."""

    @property
    def test(self) -> Pairs | None:
        """Pairs for the final figure, neither trained on nor looked at before; None: ``held_out`` has to do."""

    @property
    def description(self) -> str:
        """What it is, in one line for people."""

    def batch(self, step: int, size: int) -> Batch:
        """Training pairs of an update: the same for the same ``step`` and ``size``, whatever was asked for before.

        Parameters
        ----------
        step : int
            Number of the update, from 0.
        size : int
            Number of pairs; data that come to an end may give fewer.

        Returns
        -------
        Batch
        """
