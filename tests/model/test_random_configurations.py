"""Every gradient of randomly drawn models against the complex step: sizes, settings, lengths and weights are drawn."""

from typing import NamedTuple

import numpy as np
import pytest

from numpy_attention import Batch, Seq2Seq
from numpy_attention.ops.attention import ALIGNMENTS
from numpy_attention.ops.cells import CELLS
from numpy_attention.verification.cases import SCALES, make_params
from tests.derivatives import assert_gradients_agree, complex_step

QUICK, ALL = 10, 200
slow = pytest.mark.slow


class Configuration(NamedTuple):
    model: Seq2Seq
    params: dict[str, np.ndarray]
    batch: Batch
    scale: str


def draw(seed):
    rng = np.random.default_rng([seed, 3])
    cell, alignment, bidirectional = rng.choice(list(CELLS)), rng.choice(list(ALIGNMENTS)), bool(rng.integers(2))
    E, H, A, D = (int(size) for size in rng.integers(1, 6, 4))
    if alignment == "dot":
        D = 2 * H if bidirectional else H
    V_x, V_y = (int(size) for size in rng.integers(4, 12, 2))
    model = Seq2Seq(
        source_vocabulary=V_x,
        target_vocabulary=V_y,
        embedding_size=E,
        hidden_size=D,
        encoder_size=H,
        alignment_size=A,
        cell=str(cell),
        alignment=str(alignment),
        bidirectional=bidirectional,
    )
    scale = str(rng.choice(list(SCALES)))
    sequences, longest = int(rng.integers(1, 5)), int(rng.integers(1, 7))
    sources = [rng.integers(0, V_x, rng.integers(1, longest + 1)).tolist() for _ in range(sequences)]
    targets = [rng.integers(0, V_y, rng.integers(0, longest + 1)).tolist() for _ in range(sequences)]
    return Configuration(model, make_params(model, SCALES[scale], seed), Batch.from_sequences(sources, targets), scale)


@pytest.mark.parametrize("seed", [*range(QUICK), *(pytest.param(seed, marks=slow) for seed in range(QUICK, ALL))])
def test_every_gradient_agrees_with_the_complex_step(seed):
    model, params, batch, scale = draw(seed)
    _, gradients = model.loss_and_gradients(params, batch)
    oracle = complex_step(lambda values: model.loss(values, batch), params)
    assert_gradients_agree(gradients, oracle, own_scale=scale == "ordinary")


def test_every_setting_is_drawn():
    drawn = [draw(seed) for seed in range(200)]
    assert {each.model.cell for each in drawn} == set(CELLS)
    assert {each.model.alignment for each in drawn} == set(ALIGNMENTS)
    assert {each.model.bidirectional for each in drawn} == {False, True}
    assert {each.scale for each in drawn} == set(SCALES)
    assert {each.batch.source.shape[0] for each in drawn} == {1, 2, 3, 4}
    assert {each.batch.source.shape[1] for each in drawn} == {1, 2, 3, 4, 5, 6}
    assert any(not each.batch.source_mask.all() for each in drawn)
    assert len({(each.model.embedding_size, each.model.hidden_size) for each in drawn}) > 20
