"""The problems that are timed: sizes, and the model, parameters and batch of each."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from numpy_attention import Batch, Seq2Seq

FIRST = 3  # token ids below are PAD, BOS and EOS


class Size(NamedTuple):
    """Sequences, source positions, target positions (EOS included); sizes of the layers; both vocabularies."""

    B: int
    T: int
    U: int
    E: int
    H: int
    D: int
    A: int
    V: int
    ragged: bool = False  # lengths drawn evenly, from 1 to T and to U

    def described(self) -> str:
        """Its letters and numbers, for a page."""
        width = f"E = H = D = A = {self.H}" if self.E == self.H == self.D == self.A else ""
        width = width or f"E = {self.E}, H = {self.H}, D = {self.D}, A = {self.A}"
        ragged = f", lengths drawn evenly from 1 to {self.T} and 1 to {self.U}" if self.ragged else ""
        return f"B = {self.B}, T = {self.T}, U = {self.U}, {width}, V = {self.V}{ragged}"


def square(B: int, T: int, width: int, V: int, ragged: bool = False) -> Size:
    """Sources and targets of the same length, layers of the same width."""
    return Size(B, T, T, width, width, width, width, V, ragged)


SIZES = {
    "small": square(32, 10, 64, 20),
    "medium": square(64, 20, 128, 30),
    "large": square(128, 50, 256, 60),
    "long": square(16, 200, 256, 60),
    "ragged": square(64, 20, 128, 30, ragged=True),
}
QUICK = {"tiny": square(4, 5, 8, 12), "tiny ragged": square(6, 7, 8, 12, ragged=True)}


class SearchSize(NamedTuple):
    """What is translated, and how."""

    sources: int
    length: int
    V: int
    E: int
    width: int  # H = D = A
    max_length: int
    beam_size: int


class Problem(NamedTuple):
    """What every side is handed."""

    model: Seq2Seq
    params: dict[str, np.ndarray]
    batch: Batch


def make_problem(size: Size, dtype: Any = np.float32, *, sequences: int | None = None, alignment: str = "additive"):
    """The same numbers in every process; ``sequences`` takes the first few of the batch alone.

    The first sequence has the full lengths, so that a ragged batch has the shape of its size.
    """
    model = Seq2Seq(size.V, size.V, size.E, size.D, encoder_size=size.H, alignment_size=size.A, alignment=alignment)
    rng = np.random.default_rng(0)
    sources, targets = np.full(size.B, size.T), np.full(size.B, size.U - 1)  # EOS is the last of the U
    if size.ragged:
        sources[1:], targets[1:] = rng.integers(1, size.T + 1, size.B - 1), rng.integers(0, size.U, size.B - 1)
    batch = Batch.from_sequences(
        [rng.integers(FIRST, size.V, length).tolist() for length in sources[:sequences]],
        [rng.integers(FIRST, size.V, length).tolist() for length in targets[:sequences]],
    )
    return Problem(model, model.init(0, dtype), batch)
