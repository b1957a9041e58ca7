import copy
import pickle
from dataclasses import asdict

import numpy as np
import pytest

import numpy_attention as na
from numpy_attention.training.optimizers import clip_by_global_norm, decay_weights
from numpy_attention.training.step import batch_gradient, flatten, views
from numpy_attention.verification.cases import make_batch, make_model, make_params


@pytest.fixture
def problem():
    model = make_model("additive", False)
    return model, make_params(model), make_batch(model)


def test_a_step_is_gradient_clipping_decay_and_optimiser_in_this_order(problem):
    model, params, batch = problem
    state = na.TrainingState(params, na.SGD)
    found = na.training_step(model, state, batch, 0.1, clip=0.01, weight_decay=0.5, label_smoothing=0.1)
    loss, gradients = model.loss_and_gradients(params, batch, label_smoothing=0.1)
    gradient, expected = flatten(gradients), flatten(params)
    norm = clip_by_global_norm(gradient, 0.01)
    decay_weights(expected, 0.1, 0.5)
    expected -= 0.1 * gradient
    assert found == (loss, norm)
    assert norm > 0.01
    np.testing.assert_allclose(flatten(state.params), expected, rtol=1e-14)


def test_without_settings_the_gradient_is_as_it_is(problem):
    model, params, batch = problem
    loss, gradients = model.loss_and_gradients(params, batch)
    found, gradient = batch_gradient(model, params, batch)
    assert found == loss
    np.testing.assert_array_equal(gradient, flatten(gradients))
    state = na.TrainingState(params, na.SGD)
    assert na.training_step(model, state, batch, 0.1).gradient_norm == np.linalg.norm(gradient)


def test_a_state_has_parameters_of_its_own_as_views_of_one_vector(problem):
    model, params, batch = problem
    before = {name: value.copy() for name, value in params.items()}
    state = na.TrainingState(params)
    for name, value in state.params.items():
        assert np.shares_memory(value, state.flat)
        np.testing.assert_array_equal(value, params[name])
    na.training_step(model, state, batch, 0.1)
    for name, value in before.items():
        np.testing.assert_array_equal(params[name], value)
        assert (state.params[name] != value).any() or not model.loss_and_gradients(params, batch)[1][name].any()


@pytest.mark.parametrize("spoil", ["gradient", "parameter"])
def test_numbers_that_are_not_finite_are_named_with_the_step(problem, spoil):
    model, params, batch = problem
    state = na.TrainingState(params, na.SGD)
    na.training_step(model, state, batch, 0.01)
    rate, what = 0.01, "the gradient of source_embedding"
    if spoil == "parameter":
        rate, what = np.inf, "source_embedding"
    else:
        model = Spoilt(**asdict(model))
    with pytest.raises(FloatingPointError, match=f"^step 2: {what} is no longer finite; try a smaller learning rate$"):
        na.training_step(model, state, batch, rate)


class Spoilt(na.Seq2Seq):
    def loss_and_gradients(self, *arguments, **keywords):
        loss, gradients = super().loss_and_gradients(*arguments, **keywords)
        gradients["source_embedding"][0] = np.nan
        return loss, gradients


def test_parameters_in_place_of_a_state(problem):
    model, params, batch = problem
    with pytest.raises(ValueError, match="^state: expected a TrainingState, got dict$"):
        na.training_step(model, params, batch, 0.1)


def test_flat_vector_and_views_share_memory():
    arrays = {"a": np.arange(6.0).reshape(2, 3), "b": np.arange(2.0)}
    flat = flatten(arrays)
    parts = views(flat, arrays)
    flat += 1
    assert list(parts) == ["a", "b"]
    np.testing.assert_array_equal(parts["a"], arrays["a"] + 1)
    np.testing.assert_array_equal(parts["b"], arrays["b"] + 1)


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda state: pickle.loads(pickle.dumps(state))])
def test_a_copy_of_a_state_learns_as_the_original_would(problem, copied):
    model, params, batch = problem
    state = na.TrainingState(params, recurrent_rate=0.5)
    na.training_step(model, state, batch, 0.01)
    again = copied(state)
    for _ in range(2):
        na.training_step(model, again, batch, 0.01)
    assert not np.array_equal(again.flat, state.flat)
    for _ in range(2):
        na.training_step(model, state, batch, 0.01)
    for name, value in state.params.items():
        assert np.array_equal(again.params[name], value)
        assert np.shares_memory(again.params[name], again.flat)
