"""The problems that are timed: sizes, and the model, parameters and batch of each."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from numpy_attention import Batch, Seq2Seq

FIRST = 3  # token ids below are PAD, BOS and EOS


class Size(NamedTuple):
    """Sequences, source positions, target positions (EOS included); sizes of the layers; size of both vocabularies."""

    B: int
    T: int
    U: int
    E: int
    H: int
    D: int
    A: int
    V: int
    ragged: bool = False  # lengths drawn evenly from 1 to T and from 1 to U

    def __str__(self) -> str:
        layers = "E = H = D = A = {H}" if self.E == self.H == self.D == self.A else "E = {E}, H = {H}, D = {D}, A = {A}"
        ragged = ", lengths drawn evenly from 1 to {T} and 1 to {U}" if self.ragged else ""
        return ("B = {B}, T = {T}, U = {U}, " + layers + ", V = {V}" + ragged).format(**self._asdict())


def square(B: int, T: int, width: int, V: int, ragged: bool = False) -> Size:
    """Sources and targets of the same length, layers of the same width."""
    return Size(B=B, T=T, U=T, E=width, H=width, D=width, A=width, V=V, ragged=ragged)


SIZES = {
    "small": square(32, 10, 64, 20),
    "medium": square(64, 20, 128, 30),
    "large": square(128, 50, 256, 60),
    "long": square(16, 200, 256, 60),
    "ragged": square(64, 20, 128, 30, ragged=True),
}
QUICK = {"tiny": square(4, 5, 8, 12), "tiny ragged": square(6, 7, 8, 12, ragged=True)}


class SearchSize(NamedTuple):
    """Sources to be translated, sizes of the model, and settings of the search."""

    sources: int
    length: int
    V: int
    E: int
    width: int  # H = D = A
    max_length: int
    beam_size: int


class Problem(NamedTuple):
    """The same for every side."""

    model: Seq2Seq
    params: dict[str, np.ndarray]
    batch: Batch


def make_problem(size: Size, dtype: Any = np.float32, *, sequences: int | None = None) -> Problem:
    """Model, parameters and batch: the same numbers in every process.

    The first sequence has the full lengths, so that a ragged batch has the shape of its size. ``sequences`` keeps the
    first few sequences only.
    """
    model = Seq2Seq(size.V, size.V, size.E, size.D, encoder_size=size.H, alignment_size=size.A)
    rng = np.random.default_rng(0)
    sources, targets = np.full(size.B, size.T), np.full(size.B, size.U - 1)  # EOS is the last of the U
    if size.ragged:
        sources[1:], targets[1:] = rng.integers(1, size.T + 1, size.B - 1), rng.integers(0, size.U, size.B - 1)
        targets = np.sort(targets)[::-1]  # longest first, as our batches are
    batch = Batch.from_sequences(
        [rng.integers(FIRST, size.V, length).tolist() for length in sources[:sequences]],
        [rng.integers(FIRST, size.V, length).tolist() for length in targets[:sequences]],
    )
    return Problem(model, model.init(0, dtype), batch)
