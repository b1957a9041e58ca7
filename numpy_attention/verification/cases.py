"""The cases in which the whole model is checked: cell, alignment, direction, shape of batch and scale of weights."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np

from .._typing import Array
from ..data.batch import Batch
from ..model.seq2seq import Seq2Seq
from ..ops.attention import ALIGNMENTS
from ..ops.cells import CELLS

__all__ = ["ALIGNMENTS", "CELLS", "LENGTHS", "SCALES", "Case", "every_case", "make_batch", "make_model", "make_params"]

# Large weights saturate the tanh, small ones leave it almost linear.
SCALES = {"small": 0.2, "ordinary": 1.0, "large": 3.0}
# Source and target lengths of the sequences of a batch. EOS makes U one more than the longest target.
LENGTHS = {
    "ragged": ((4, 2, 1), (2, 0, 4)),
    "U != T": ((3, 3), (3, 1)),
    "T = 1": ((1, 1), (2, 3)),
    "B = 1": ((4,), (2,)),
    "U = 1": ((3, 1), (0, 0)),
}


class Case(NamedTuple):
    """One model, shape of batch and scale of weights."""

    alignment: str
    bidirectional: bool
    lengths: str = "ragged"
    scale: str = "ordinary"
    cell: str = "tanh"

    @property
    def model(self) -> str:
        """Cell, alignment and direction, in words."""
        directions = "both directions" if self.bidirectional else "one direction"
        return f"{self.cell}, {self.alignment}, {directions}"

    def __str__(self) -> str:
        return f"{self.model}, {self.lengths}, {self.scale} weights"


def every_case(alignments: Iterable[str] = ALIGNMENTS, cells: Iterable[str] = CELLS) -> Iterator[Case]:
    """Every case of these alignments and cells."""
    for cell, alignment, bidirectional, lengths, scale in itertools.product(
        cells, alignments, (False, True), LENGTHS, SCALES
    ):
        yield Case(alignment, bidirectional, lengths, scale, cell)


def make_model(alignment: str, bidirectional: bool, cell: str = "tanh", **sizes: int) -> Seq2Seq:
    """E = 2, H = 3, A = 4, D = 5, H' = 3 or 6 and vocabularies of 7 and 8: all different, but ``dot`` needs D = H'."""
    D = 5 if alignment != "dot" else 6 if bidirectional else 3
    sizes = {"source_vocabulary": 8, "target_vocabulary": 7, "embedding_size": 2, "hidden_size": D} | sizes
    return Seq2Seq(
        **sizes, encoder_size=3, alignment_size=4, alignment=alignment, bidirectional=bidirectional, cell=cell
    )


def make_params(model: Seq2Seq, scale: float = 1.0, seed: int = 0) -> dict[str, Array]:
    """Initial weights times ``scale``, and random biases: zero biases would hide mistakes."""
    rng = np.random.default_rng([seed, 1])
    params = model.init(seed)
    for name, value in params.items():
        value *= scale
        if name.endswith(".b"):
            value += 0.5 * scale * rng.standard_normal(value.shape)
    return params


def make_batch(model: Seq2Seq, lengths: str = "ragged", seed: int = 0) -> Batch:
    """Random tokens, of the lengths that ``lengths`` names in LENGTHS."""
    rng = np.random.default_rng([seed, 2])
    sources, targets = LENGTHS[lengths]
    return Batch.from_sequences(
        [rng.integers(3, model.source_vocabulary, length).tolist() for length in sources],
        [rng.integers(3, model.target_vocabulary, length).tolist() for length in targets],
    )
