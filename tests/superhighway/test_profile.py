import itertools

import numpy as np
import pytest

from numpy_attention import Batch, Seq2Seq
from numpy_attention.ops.cells import CELLS
from numpy_attention.superhighway import paths as module
from numpy_attention.superhighway.profile import (
    Comparison,
    compare,
    fit_decay,
    gradient_profile,
    path_profiles,
    quartiles,
    with_spectral_radius,
    without_attention,
)
from numpy_attention.verification.cases import ALIGNMENTS, make_model, make_params
from tests.superhighway.oracle import Oracle

SOURCES, TARGETS = [[3, 4, 5, 6], [6, 3], [4]], [[5, 4], [], [3, 4, 5]]


@pytest.mark.parametrize(("alignment", "bidirectional"), list(itertools.product(ALIGNMENTS, (False, True))))
def test_a_profile_is_the_norm_by_distance_of_each_sequences_own_mean_loss(alignment, bidirectional, monkeypatch):
    monkeypatch.setattr(module, "LARGEST", 150)  # three, two or one sequence at a time
    model = make_model(alignment, bidirectional)
    params = make_params(model)
    found = gradient_profile(model, params, Batch.from_sequences(SOURCES, TARGETS))
    assert found.shape == (3, 4)
    for row, source, target in zip(found, SOURCES, TARGETS, strict=True):
        total = Oracle(model, params, Batch.from_sequences([source], [target])).total()
        expected = np.linalg.norm(total[0], axis=1)[::-1]
        np.testing.assert_allclose(row[: len(source)], expected, rtol=1e-11)
        assert np.isnan(row[len(source) :]).all()


def test_the_profile_of_a_path_is_that_of_its_part():
    model = make_model("additive", False)
    found = path_profiles(model, make_params(model), Batch.from_sequences(SOURCES, TARGETS))
    assert list(found) == ["context", "key", "bridge", "recurrent", "cell", "total"]
    for row in range(3):
        length = len(SOURCES[row])
        assert (found["bridge"][row, :length] > 0).tolist() == [True] + [False] * (length - 1)
        assert (found["recurrent"][row, :length] > 0).tolist() == [False] + [True] * (length - 1)
        assert (found["context"][row, :length] > 0).all()


def test_the_memory_of_one_pass_does_not_change_the_profile(monkeypatch):
    model = make_model("stacked", False)
    params, batch = make_params(model), Batch.from_sequences(SOURCES, TARGETS)
    together = gradient_profile(model, params, batch)
    monkeypatch.setattr(module, "LARGEST", 1)
    np.testing.assert_allclose(gradient_profile(model, params, batch), together, rtol=1e-13)


def test_a_fitted_exponential_is_found_again_whatever_its_length():
    rate, start, lengths = np.array([0.5, 0.99, 1.02, 1e-6]), np.array([1e-12, 3.0, 7.0, 1.0]), [9, 5, 2, 9]
    norms = start[:, None] * rate[:, None] ** np.arange(9)
    for row, length in zip(norms, lengths, strict=True):
        row[length:] = np.nan
    found = fit_decay(norms)
    np.testing.assert_allclose(found.rate, rate, rtol=1e-12)
    np.testing.assert_allclose(found.half_life, [1, np.log(2) / -np.log(0.99), np.inf, np.log(2) / -np.log(1e-6)])
    np.testing.assert_allclose(found.fit, 1, rtol=1e-12)
    np.testing.assert_allclose(found.first_to_last, rate ** (np.array(lengths) - 1), rtol=1e-12)


def test_the_fit_says_when_an_exponential_does_not_describe_the_profile():
    zigzag, floor = np.array([[1.0, 100.0, 1.0, 100.0, 1.0]]), np.array([[1.0, 0.1, 0.1, 0.1, 0.1]])
    assert fit_decay(zigzag).fit[0] < 1e-12
    np.testing.assert_allclose(fit_decay(floor).fit, 0.5)


def test_zeros_are_left_out_of_the_fit_and_a_single_position_has_none():
    found = fit_decay(np.array([[1.0, 0.5, 0.0, 0.125], [2.0, np.nan, np.nan, np.nan], [0.0, 0.0, 0.0, 1.0]]))
    np.testing.assert_allclose(found.rate, [0.5, np.nan, np.nan])
    np.testing.assert_allclose(found.half_life, [1, np.nan, np.nan])
    np.testing.assert_allclose(found.first_to_last, [0.125, 1, np.inf])


def test_quartiles():
    values = np.array([[5.0, 1.0, 2.0, 4.0, 3.0], [np.nan] * 5]).T
    np.testing.assert_array_equal(quartiles(values), [[2, np.nan], [3, np.nan], [4, np.nan]])
    np.testing.assert_array_equal(quartiles(np.array([7.0])), [7, 7, 7])
    np.testing.assert_array_equal(quartiles(np.array([1.0, np.inf, np.inf, np.inf, np.inf])), [np.inf] * 3)


def test_the_two_models_of_a_comparison_share_their_weights_and_their_seeds_differ():
    model = make_model("additive", True)
    batch = Batch.from_sequences(SOURCES, TARGETS)
    found = compare(model, batch, seeds=[3, 4])
    vanilla = make_model("none", True)
    for number, seed in enumerate([3, 4]):
        rows = slice(3 * number, 3 * number + 3)
        np.testing.assert_array_equal(found.attention[rows], gradient_profile(model, model.init(seed), batch))
        np.testing.assert_array_equal(found.vanilla[rows], gradient_profile(vanilla, vanilla.init(seed), batch))
    given = compare(model, batch, seeds=[], params=model.init(4))
    np.testing.assert_array_equal(given.attention, found.attention[3:])
    first = [3, 1, 0]  # the distance of the first token
    ratio = found.attention[[0, 1, 2], first] / found.vanilla[[0, 1, 2], first]
    np.testing.assert_allclose(found.first_ratio[:3], ratio)


def test_where_nothing_arrives_without_attention_the_ratio_has_no_bound():
    assert Comparison(np.array([[1.0, 0.5]]), np.array([[1.0, 0.0]])).first_ratio == np.inf


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("cell", CELLS)
def test_the_spectral_radius_is_what_was_asked_for_and_nothing_else_changes(bidirectional, cell):
    model = make_model("additive", bidirectional, cell=cell)
    params = make_params(model, scale=0.7)
    scaled = with_spectral_radius(params, 1.3)
    changed = {name for name in params if (params[name] != scaled[name]).any()}
    assert changed == ({"encoder.forward.U", "encoder.backward.U"} if bidirectional else {"encoder.U"})
    for name in changed:
        for gate in np.split(scaled[name], CELLS[cell].gates, axis=1):
            np.testing.assert_allclose(np.abs(np.linalg.eigvals(gate)).max(), 1.3)
    batch = Batch.from_sequences(SOURCES, TARGETS)
    # compare() scales the weights that it draws: the same profile to the bit, and not that of the weights as drawn
    found = compare(model, batch, [0], radius=0.5).attention
    np.testing.assert_array_equal(found, gradient_profile(model, with_spectral_radius(model.init(0), 0.5), batch))
    assert (found != gradient_profile(model, model.init(0), batch))[0].any()


def test_what_makes_the_gradient_vanish_is_the_recurrence():
    """A tanh shrinks what passes it, so below radius 1 the fall per step is steeper than the radius itself."""
    model = Seq2Seq(12, 12, embedding_size=8, hidden_size=16)
    tokens = np.random.default_rng(0).integers(3, 12, (4, 30)).tolist()
    batch = Batch.from_sequences(tokens, tokens)
    for radius in (0.3, 0.6, 0.9):
        found = compare(model, batch, seeds=range(3), radius=radius)
        assert (fit_decay(found.vanilla).rate < radius).all()
        assert (fit_decay(found.attention).rate > 0.95).all()
        assert (found.first_ratio > radius**-25).all()


def test_what_is_left_of_a_gradient_may_be_smaller_than_the_root_of_the_smallest_number():
    model = Seq2Seq(12, 12, embedding_size=8, hidden_size=16, alignment="none")
    batch = Batch.from_sequences([[3, 4, 5, 6] * 50], [[3]])
    norms = gradient_profile(model, with_spectral_radius(model.init(0), 0.05), batch)
    assert 1e-290 < norms[0, -1] < 1e-250
    assert fit_decay(norms).fit > 0.999


@pytest.mark.parametrize("radius", [0, -1, np.nan, np.inf])
def test_a_radius_that_is_none(radius):
    with pytest.raises(ValueError, match="^radius: expected a number above 0, got "):
        with_spectral_radius({"encoder.U": np.eye(2)}, radius)


def test_a_matrix_that_no_factor_can_scale():
    with pytest.raises(ValueError, match="^radius: encoder.U has spectral radius 0, which no factor can change$"):
        with_spectral_radius({"encoder.U": np.zeros((2, 2))}, 0.5)


def test_attention_cannot_be_taken_from_a_model_without_any():
    model = make_model("none", False)
    with pytest.raises(ValueError, match='^model: expected one with attention to take it from, got alignment "none"$'):
        without_attention(model, model.init())
