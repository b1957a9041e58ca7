import numpy as np
import pytest

from numpy_attention.model.dropout import dropout_mask, masks_of_part
from numpy_attention.verification.cases import ALIGNMENTS, make_batch, make_model, make_params
from tests.derivatives import largest


@pytest.mark.parametrize("rate", [0.0, 0.1, 0.5, 0.9])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_as_many_are_left_out_as_asked_and_the_mean_stays(rate, dtype):
    mask = dropout_mask(np.random.default_rng(0), (300, 300), rate, dtype)
    assert mask.dtype == dtype
    np.testing.assert_allclose((mask == 0).mean(), rate, atol=0.01)
    np.testing.assert_allclose(mask.mean(), 1, atol=0.05)
    np.testing.assert_allclose(mask[mask > 0], 1 / (1 - rate), rtol=1e-6)


@pytest.mark.parametrize("alignment", ALIGNMENTS)
@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("parts", [2, 3])
def test_the_parts_of_a_batch_with_their_masks_add_up_to_the_whole(alignment, bidirectional, parts):
    model = make_model(alignment, bidirectional)
    params, batch = make_params(model), make_batch(model)
    masks = model.dropout_masks(batch, 0.4, np.random.default_rng(0))
    loss, gradients = model.loss_and_gradients(params, batch, dropout=masks)
    found = []
    for number in range(parts):
        part = batch.part(number, parts)
        assert part.source.shape[1] <= batch.source.shape[1]
        own = masks_of_part(masks, number, parts, part)
        found.append(model.loss_and_gradients(params, part, batch.token_count, dropout=own))
    np.testing.assert_allclose(sum(part_loss for part_loss, _ in found), loss, rtol=1e-14)
    summed = {name: sum(part[name] for _, part in found) for name in params}
    assert largest({name: summed[name] - gradients[name] for name in params}) <= 1e-14 * largest(gradients)


def test_masks_print_as_one_line():
    model = make_model("additive", False)
    batch = make_batch(model)
    (B, T), U = batch.source.shape, batch.target_input.shape[1]
    masks = model.dropout_masks(batch, 0.5, np.random.default_rng(0))
    assert repr(masks) == f"DropoutMasks(B={B}, T={T}, U={U}, float64)"
