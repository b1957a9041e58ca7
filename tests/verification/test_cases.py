"""The matrix has every cell that it should have, and its sizes cannot be mistaken for one another."""

import itertools

import numpy as np
import pytest

from numpy_attention.verification.cases import (
    ALIGNMENTS,
    SCALES,
    every_case,
    make_batch,
    make_model,
    make_params,
)


def test_every_case_is_there_once_and_makes_the_model_that_it_names():
    cases = list(every_case())
    assert len(cases) == len(set(cases)) == 3 * 6 * 2 * 5 * 3
    assert len({str(case) for case in cases}) == len(cases)
    assert {case.alignment for case in every_case(["dot"])} == {"dot"}
    assert {case.cell for case in every_case(["dot"], ["gru"])} == {"gru"}
    model = make_model("general", True, "lstm")
    assert (model.alignment, model.bidirectional, model.cell) == ("general", True, "lstm")


@pytest.mark.parametrize(("alignment", "bidirectional"), list(itertools.product(ALIGNMENTS, (False, True))))
def test_sizes_are_all_different(alignment, bidirectional):
    model = make_model(alignment, bidirectional)
    width = model.encoder_size * (2 if bidirectional else 1)
    sizes = [
        model.embedding_size,
        model.encoder_size,
        model.alignment_size,
        model.source_vocabulary,
        model.target_vocabulary,
        model.hidden_size,
    ]
    if bidirectional:
        sizes.append(width)
    if alignment == "dot":
        assert model.hidden_size == width
        sizes.remove(width)
    assert len(set(sizes)) == len(sizes)


def test_lengths_are_what_they_are_called():
    def shape(lengths):
        batch = make_batch(make_model("additive", False), lengths)
        return batch, batch.source.shape, batch.target_input.shape[1]

    batch, (B, T), U = shape("ragged")
    assert len({B, T, U}) == 3
    assert not batch.source_mask.all()
    assert not batch.target_mask.all()
    batch, (_, T), U = shape("U != T")
    assert U != T
    assert batch.source_mask.all()
    assert shape("T = 1")[1][1] == 1
    assert shape("B = 1")[1][0] == 1
    assert shape("U = 1")[2] == 1


def test_biases_are_random_and_weights_scaled():
    model = make_model("additive", True)
    ordinary, large = make_params(model), make_params(model, SCALES["large"])
    for name, value in ordinary.items():
        assert np.ptp(value) > 0
        np.testing.assert_allclose(large[name], SCALES["large"] * value)
    assert not np.array_equal(make_params(model, seed=1)["output.b"], ordinary["output.b"])
