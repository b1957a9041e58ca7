"""The peers that speed is compared with compute the same loss and gradients as we do."""

import itertools

import numpy as np
import pytest

from numpy_attention.verification.cases import ALIGNMENTS, LENGTHS, make_batch, make_model, make_params

torch = pytest.importorskip("torch", reason="PyTorch is not installed: nothing to compare with")


@pytest.mark.parametrize(("alignment", "bidirectional"), list(itertools.product(ALIGNMENTS, (False, True))))
@pytest.mark.parametrize("lengths", LENGTHS)
def test_pytorch_has_our_loss_and_gradients(alignment, bidirectional, lengths):
    from benchmarks.peers import pytorch_model

    model = make_model(alignment, bidirectional)
    params, batch = make_params(model), make_batch(model, lengths)
    loss, gradients = model.loss_and_gradients(params, batch)
    their_loss, their_gradients = pytorch_model.loss_and_gradients(model, params, batch)
    assert abs(loss - their_loss) <= 1e-10
    assert their_gradients.keys() == gradients.keys()
    for name, gradient in gradients.items():
        np.testing.assert_allclose(their_gradients[name], gradient, rtol=0, atol=1e-10, err_msg=name)
    assert max(np.abs(gradient).max() for gradient in gradients.values()) > 1e-3
