import numpy as np
import pytest

from numpy_attention.data.batch import prefix_mask
from numpy_attention.model.bridge import bridge_backward, bridge_forward
from tests.derivatives import assert_vjp

MASK = prefix_mask(np.array([3, 1]), 4)


@pytest.mark.parametrize("bidirectional", [False, True])
def test_forward_is_the_equation_and_backward_agrees_with_the_complex_step(bidirectional):
    rng = np.random.default_rng(0)
    inputs = {
        "annotations": rng.standard_normal((2, 4, 6)),
        "bridge.W": rng.standard_normal((6, 5)),
        "bridge.b": rng.standard_normal(5),
    }

    def forward(values):
        return bridge_forward(values, values["annotations"], MASK, bidirectional)

    state, cache = forward(inputs)
    h = inputs["annotations"]
    last = np.array([h[0, 2], h[1, 0]])
    if bidirectional:
        last = np.hstack([last[:, :3], h[:, 0, 3:]])
    np.testing.assert_allclose(state, np.tanh(last @ inputs["bridge.W"] + inputs["bridge.b"]), rtol=1e-14)

    def backward(dstate):
        gradients, dannotations = bridge_backward(dstate, cache)
        assert not dannotations[~MASK].any()
        return {**gradients, "annotations": dannotations}

    assert_vjp(lambda values: forward(values)[0], backward, inputs, rng)
