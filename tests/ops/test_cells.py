import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from numpy_attention.ops.cells import CELLS
from tests import equations
from tests.derivatives import assert_vjp

FEWER = settings(max_examples=settings.default.max_examples // 5)  # for every one of several
every_cell = pytest.mark.parametrize("name", CELLS)


def case(name, rng, batch=3, H=4):
    """At most 2 inside the tanh: near 1 the difference 1 - h^2 would cancel."""
    cell = CELLS[name]
    return {
        "a": rng.uniform(-1, 1, (batch, cell.gates * H)),
        "s": rng.uniform(-1, 1, (batch, cell.states * H)),
        "U": rng.uniform(-1, 1, (H, cell.gates * H)) / H,
    }


def kept(new, gates):
    """What a step hands to its backward; the plain cell needs no gates."""
    return (new,) if gates is None else (new, gates)


@every_cell
def test_one_step_is_the_equations(name):
    inputs = case(name, np.random.default_rng(0))
    new, _ = CELLS[name].step(**inputs)
    expected = [equations.step(name, a, s, inputs["U"]) for a, s in zip(inputs["a"], inputs["s"], strict=True)]
    np.testing.assert_allclose(new, expected, rtol=1e-13)


@every_cell
@FEWER
@given(batch=st.integers(1, 4), H=st.integers(1, 4), seed=st.integers(0, 2**32 - 1))
def test_backward_against_the_complex_step(name, batch, H, seed):
    """dp is the gradient of the product s U: s^T dp is that of U."""
    rng = np.random.default_rng(seed)
    inputs = case(name, rng, batch, H)
    s, U = inputs["s"], inputs["U"]
    new, gates = CELLS[name].step(**inputs)

    def backward(dnew):
        da, dp, ds = CELLS[name].step_backward(dnew, s, new, gates, U)
        return {"a": da, "s": ds, "U": s[:, :H].T @ dp}

    assert_vjp(lambda values: CELLS[name].step(**values)[0], backward, inputs, rng)


@every_cell
def test_dtypes_are_kept_and_inputs_are_left_alone(name):
    for dtype in (np.float32, np.float64, np.complex128):
        inputs = {letter: value.astype(dtype) for letter, value in case(name, np.random.default_rng(0)).items()}
        new, gates = CELLS[name].step(**inputs)
        for array in (*inputs.values(), *kept(new, gates)):
            array.flags.writeable = False
        again, _ = CELLS[name].step(**inputs)
        np.testing.assert_array_equal(again, new)
        gradients = CELLS[name].step_backward(new, inputs["s"], new, gates, inputs["U"])
        assert {array.dtype for array in (*kept(new, gates), *gradients)} == {np.dtype(dtype)}


@every_cell
def test_a_gradient_of_zero_stays_zero_and_the_state_s_gradient_is_fresh(name):
    """The decoder adds to ds in place: it must not be the array that came in."""
    inputs = case(name, np.random.default_rng(0))
    new, gates = CELLS[name].step(**inputs)
    dnew = np.zeros_like(new)
    da, dp, ds = CELLS[name].step_backward(dnew, inputs["s"], new, gates, inputs["U"])
    assert not any(gradient.any() for gradient in (da, dp, ds))
    for array in (dnew, da, dp, *kept(new, gates), *inputs.values()):
        assert not np.shares_memory(ds, array)


@pytest.mark.parametrize("name", [name for name, cell in CELLS.items() if cell.forget is not None])
def test_the_forget_gate_says_how_much_of_the_state_is_kept(name):
    """Open, it hands the kept part of the state on unchanged, and its gradient with it."""
    cell, H = CELLS[name], 4
    inputs = case(name, np.random.default_rng(0), H=H)
    inputs["a"][:, cell.forget * H : (cell.forget + 1) * H] = 1e3
    if name == "lstm":
        inputs["a"][:, :H] = -1e3  # nothing comes in
    new, gates = cell.step(**inputs)
    kept = slice((cell.states - 1) * H, None)  # h of a GRU, c of an LSTM
    np.testing.assert_allclose(new[:, kept], inputs["s"][:, kept], rtol=1e-15, atol=1e-15)
    dnew = np.zeros_like(new)
    dnew[:, kept] = np.random.default_rng(1).standard_normal(dnew[:, kept].shape)
    ds = cell.step_backward(dnew, inputs["s"], new, gates, inputs["U"])[2]
    np.testing.assert_array_equal(ds[:, kept], dnew[:, kept])


@every_cell
def test_huge_inputs_do_not_overflow(name):
    inputs = case(name, np.random.default_rng(0))
    for huge in (1e4, -1e4):
        new, gates = CELLS[name].step(inputs["a"] * huge, inputs["s"], inputs["U"])
        assert all(np.abs(array).max() <= 2 for array in kept(new, gates))  # a GRU keeps the product s U too
        assert all(
            np.isfinite(each).all() for each in CELLS[name].step_backward(new, inputs["s"], new, gates, inputs["U"])
        )
