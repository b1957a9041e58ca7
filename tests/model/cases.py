"""The cases in which the whole model is checked: every alignment, direction, shape of batch and scale of weights."""

from __future__ import annotations

from typing import Any

import numpy as np

from numpy_attention import Batch, Seq2Seq

ALIGNMENTS = ("additive", "stacked", "dot", "none")
SCALES = {"small": 0.2, "ordinary": 1.0, "large": 3.0}
# Source and target lengths of the sequences of a batch. EOS makes U one more than the longest target.
LENGTHS = {
    "ragged": ((4, 2, 1), (2, 0, 3)),
    "even": ((3, 3), (3, 3)),
    "one source token": ((1, 1), (2, 3)),
    "one sequence": ((4,), (2,)),
    "one target token": ((3, 1), (0, 0)),
}


def make_model(alignment: str, bidirectional: bool, **sizes: int) -> Seq2Seq:
    """E, H, D, A and both vocabularies all different, but where ``dot`` needs D = H'."""
    H = 2 if bidirectional else 3
    D = (2 * H if bidirectional else H) if alignment == "dot" else 5
    sizes = {"source_vocabulary": 7, "target_vocabulary": 6, "embedding_size": 2, "hidden_size": D} | sizes
    return Seq2Seq(**sizes, encoder_size=H, alignment_size=4, alignment=alignment, bidirectional=bidirectional)


def make_params(model: Seq2Seq, scale: float = 1.0, seed: int = 0) -> dict[str, Any]:
    """Initial weights times ``scale``, and random biases: zero ones would hide mistakes."""
    rng = np.random.default_rng([seed, 1])
    params = model.init(seed)
    for name, value in params.items():
        value *= scale
        if name.endswith(".b"):
            value += 0.5 * scale * rng.standard_normal(value.shape)
    return params


def make_batch(model: Seq2Seq, lengths: str = "ragged", seed: int = 0) -> Batch:
    rng = np.random.default_rng([seed, 2])
    sources, targets = LENGTHS[lengths]
    return Batch.from_sequences(
        [rng.integers(3, model.source_vocabulary, length).tolist() for length in sources],
        [rng.integers(3, model.target_vocabulary, length).tolist() for length in targets],
    )
