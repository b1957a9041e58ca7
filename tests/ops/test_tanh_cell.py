import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from numpy_attention.ops.tanh_cell import tanh_cell_backward, tanh_cell_forward
from tests.derivatives import assert_vjp


def test_one_step_is_the_equation():
    drive, previous, U = np.array([[0.1, -0.2]]), np.array([[0.5, -1.0]]), np.arange(4.0).reshape(2, 2) / 10
    state, _ = tanh_cell_forward(drive, previous, U)
    np.testing.assert_allclose(state, np.tanh([[0.1 - 0.2, -0.2 + 0.05 - 0.3]]), rtol=1e-14)


@pytest.mark.parametrize("masked", [False, True])
@given(batch=st.integers(1, 4), width=st.integers(1, 4), seed=st.integers(0, 2**32 - 1))
def test_backward_against_the_complex_step(masked, batch, width, seed):
    rng = np.random.default_rng(seed)
    mask = rng.random(batch) < 0.5 if masked else None
    inputs = {  # at most 2 inside the tanh: near 1 the difference 1 - h^2 would cancel
        "drive": rng.uniform(-1, 1, (batch, width)),
        "previous": rng.uniform(-1, 1, (batch, width)),
        "U": rng.uniform(-1, 1, (width, width)) / width,
    }
    _, cache = tanh_cell_forward(**inputs, mask=mask)
    assert_vjp(
        lambda values: tanh_cell_forward(**values, mask=mask)[0],
        lambda dstate: dict(zip(inputs, tanh_cell_backward(dstate, cache), strict=True)),
        inputs,
        rng,
    )


def test_where_the_mask_is_false_the_state_is_carried_through_unchanged():
    rng = np.random.default_rng(0)
    previous = rng.standard_normal((2, 3))
    state, cache = tanh_cell_forward(
        rng.standard_normal((2, 3)), previous, rng.standard_normal((3, 3)), np.array([True, False])
    )
    np.testing.assert_array_equal(state[1], previous[1])
    assert (state[0] != previous[0]).all()
    dstate = rng.standard_normal((2, 3))
    ddrive, dprevious, _ = tanh_cell_backward(dstate, cache)
    np.testing.assert_array_equal(dprevious[1], dstate[1])
    assert (ddrive[1] == 0).all()


def test_memory_handed_over_is_used():
    out = np.empty((1, 2))
    state, _ = tanh_cell_forward(np.ones((1, 2)), np.ones((1, 2)), np.eye(2), out=out)
    assert state is out
    np.testing.assert_allclose(out, np.tanh(2))
