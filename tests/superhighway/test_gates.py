"""The gradient that gates carry, against walks written out step by step and against the products of the gates."""

import itertools

import numpy as np
import pytest

from numpy_attention import Batch
from numpy_attention.model.encoder import DIRECTIONS
from numpy_attention.ops.cells import CELLS
from numpy_attention.superhighway import paths as module
from numpy_attention.superhighway.gates import (
    carried,
    carried_profiles,
    describe_carried,
    study_gates,
    study_gates_initial,
)
from numpy_attention.superhighway.paths import gradient_paths
from numpy_attention.superhighway.profile import fit_decay, gradient_profile, quartiles, without_attention
from numpy_attention.verification.cases import ALIGNMENTS, make_batch, make_model, make_params
from tests.superhighway.oracle import Oracle

every_model = pytest.mark.parametrize(
    ("alignment", "bidirectional", "cell"),
    [
        pytest.param(*names, marks=[] if names[0] == "additive" else [pytest.mark.slow])
        for names in itertools.product(ALIGNMENTS, (False, True), CELLS)
    ],
)
SOURCES, TARGETS = [[3, 4, 5, 6], [6, 3], [4]], [[5, 4], [], [3, 4, 5]]


def case(alignment, bidirectional, cell, lengths="ragged"):
    model = make_model(alignment, bidirectional, cell=cell)
    return model, make_params(model), make_batch(model, lengths)


def walks(model, params, batch, entered):
    """Per direction and sequence: states, gates, U and e_t of the real positions, in the order of reading."""
    _, cache = model.forward(params, batch)
    for number, (prefix, turn) in enumerate(DIRECTIONS[model.bidirectional].items()):
        U, direction = params[f"{prefix}.U"], cache.encoder.directions[prefix]
        half = slice(number * len(U), (number + 1) * len(U))
        for b, mask in enumerate(batch.source_mask):
            at = np.flatnonzero(mask[turn])  # the steps at which this direction reads a token
            states = direction.s[[at[0], *(at + 1)], b : b + 1]
            gates = [None if direction.gates[t] is None else direction.gates[t][b : b + 1] for t in at]
            yield U, (b, np.flatnonzero(mask)[turn], half), states, gates, entered[0, b, mask][turn][:, half]


def walked_back(cell, U, states, gates, entered, *, lstm_by_c=False):
    """Parts by gates and by matrix, (T, states H) each, one step after the other: the definition, with nothing shared."""
    backward = CELLS[cell].step_backward
    T, H = entered.shape
    by_gates, by_matrix = (np.zeros((T, states.shape[2])) for _ in range(2))
    for t in reversed(range(1, T)):
        e = np.zeros((1, states.shape[2]))
        e[0, :H] = entered[t]
        step = states[t], states[t + 1], gates[t]
        here = e + by_gates[t]
        whole = backward(here, *step, U)[2]
        if lstm_by_c:  # only c carries: the half of h is set to zero
            kept = whole.copy()
            kept[:, :H] = 0
        else:
            kept = backward(here, *step, np.zeros_like(U))[2]
        by_gates[t - 1] = kept
        by_matrix[t - 1] = whole - kept + backward(by_matrix[t : t + 1], *step, U)[2]
    return by_gates, by_matrix


@every_model
def test_the_parts_agree_with_a_walk_step_by_step_and_add_up_to_what_the_oracle_finds(alignment, bidirectional, cell):
    model, params, batch = case(alignment, bidirectional, cell)
    found, oracle = carried(model, params, batch), Oracle(model, params, batch)
    whole = np.abs(found.total).max()
    total = np.stack([oracle.total(), oracle.cell()][: CELLS[cell].states])
    assert found.total.shape == total.shape
    assert np.abs(found.entered + found.gates + found.matrix - total).max() <= 1e-12 * whole
    assert np.abs(found.total - total).max() <= 1e-12 * whole
    assert found.gates.any() == (cell != "tanh")
    assert found.matrix.any()
    paths = gradient_paths(model, params, batch)
    assert np.abs(found.entered[0] - paths.context - paths.key - paths.bridge).max() <= 1e-14 * whole
    assert not found.entered[1:].any()  # the decoder reads no c
    for part in found:
        assert not part[:, ~batch.source_mask].any()
    for U, (b, positions, half), *rest in walks(model, params, batch, found.entered):
        for part, expected in zip((found.gates, found.matrix), walked_back(cell, U, *rest), strict=True):
            walked = expected.reshape(len(expected), -1, len(U)).transpose(1, 0, 2)
            assert np.abs(part[:, b, positions, half] - walked).max() <= 1e-13 * whole


@pytest.mark.parametrize("bidirectional", [False, True])
def test_of_an_lstm_it_is_the_walk_on_which_c_alone_carries(bidirectional):
    model, params, batch = case("additive", bidirectional, "lstm")
    found = carried(model, params, batch)
    assert not found.gates[0].any()
    for U, (b, positions, half), *rest in walks(model, params, batch, found.entered):
        by_c, rest_of_it = walked_back("lstm", U, *rest, lstm_by_c=True)
        H = len(U)
        whole = np.abs(found.total).max()
        assert np.abs(found.gates[1, b, positions, half] - by_c[:, H:]).max() <= 1e-14 * whole
        assert np.abs(found.matrix[0, b, positions, half] - rest_of_it[:, :H]).max() <= 1e-14 * whole
        assert np.abs(found.matrix[1, b, positions, half] - rest_of_it[:, H:]).max() <= 1e-14 * whole


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("cell", ["gru", "lstm"])
def test_it_is_what_entered_later_times_the_product_of_the_gates_in_between(bidirectional, cell):
    model, params, batch = case("additive", bidirectional, cell)
    found = carried(model, params, batch)
    for U, (b, positions, half), _, gates, entered in walks(model, params, batch, found.entered):
        H, T = len(U), len(entered)
        keep = np.concatenate([gate[:, H : 2 * H] for gate in gates])  # z or f
        slope = np.ones((T, H))
        if cell == "lstm":  # from h_j to c_j: h_j = o_j tanh(c_j)
            slope = np.concatenate([gate[:, 2 * H : 3 * H] * (1 - gate[:, 4 * H :] ** 2) for gate in gates])
        for t in range(T):
            expected = sum(keep[t + 1 : j + 1].prod(axis=0) * slope[j] * entered[j] for j in range(t + 1, T))
            np.testing.assert_allclose(found.gates[-1, b, positions[t], half], expected, rtol=1e-12, atol=1e-18)


def test_a_gru_that_keeps_everything_carries_all_of_the_gradient_by_its_gate():
    model = make_model("none", False, cell="gru")
    params, batch = make_params(model), make_batch(model, "B = 1")
    H = len(params["encoder.U"])
    params["encoder.b"][H : 2 * H] = 1e3
    found = carried(model, params, batch)
    np.testing.assert_allclose(found.gates[0, 0, :-1], np.tile(found.entered[0, 0, -1], (3, 1)), rtol=1e-15)
    assert not found.matrix.any()
    assert (carried_profiles(model, params, batch)["keep"] == 1).all()


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("bidirectional", [False, True])
def test_profiles_are_norms_of_each_sequences_own_mean_loss(bidirectional, cell, monkeypatch):
    monkeypatch.setattr(module, "LARGEST", 1)  # a sequence at a time
    model = make_model("additive", bidirectional, cell=cell)
    params, batch = make_params(model), Batch.from_sequences(SOURCES, TARGETS)
    found = carried_profiles(model, params, batch)
    np.testing.assert_allclose(found["h"], gradient_profile(model, params, batch), rtol=1e-13)
    for row, (source, target) in enumerate(zip(SOURCES, TARGETS, strict=True)):
        alone = carried(model, params, Batch.from_sequences([source], [target]))
        for name, part in (("state", alone.total), ("gates", alone.gates), ("matrix", alone.matrix)):
            expected = np.sqrt((part[:, 0] ** 2).sum(axis=(0, 2)))[::-1]
            np.testing.assert_allclose(found[name][row, : len(source)], expected, rtol=1e-12)
            assert np.isnan(found[name][row, len(source) :]).all()
        keep = found["keep"][row, : len(source)]
        assert np.isnan(keep).all() if cell == "tanh" else ((keep > 0) & (keep < 1)).all()


def test_a_study_is_the_quartiles_over_sequences_and_draws_of_both_models():
    model = make_model("additive", False, cell="lstm")
    draws, batch = [model.init(seed) for seed in range(3)], Batch.from_sequences(SOURCES, TARGETS)
    vanilla = without_attention(model, draws[0])[0]
    shared = [without_attention(model, params)[1] for params in draws]
    found = study_gates((model, draws), (vanilla, shared), batch)
    for name, (each, values) in {"attention": (model, draws), "vanilla": (vanilla, shared)}.items():
        profiles = [carried_profiles(each, params, batch) for params in values]
        pooled = {key: np.concatenate([profile[key] for profile in profiles]) for key in profiles[0]}
        np.testing.assert_array_equal(found[name]["norms"], quartiles(pooled["state"]))
        np.testing.assert_array_equal(found[name]["matrix"], quartiles(pooled["matrix"]))
        np.testing.assert_array_equal(found[name]["h_rate"], quartiles(fit_decay(pooled["h"]).rate))
        first = np.array([3, 1, 0] * 3), np.arange(9)
        share = pooled["gates"][first[::-1]] / pooled["state"][first[::-1]]
        np.testing.assert_allclose(found[name]["gates_share"], quartiles(share))
        np.testing.assert_allclose(found[name]["keep"], quartiles(np.nanmean(pooled["keep"], axis=1)))
    initial = study_gates_initial(model, range(3), batch)
    for name in ("attention", "vanilla"):
        for key, values in found[name].items():
            np.testing.assert_array_equal(initial[name][key], values)
    first = [3, 1, 0] * 3
    with_attention, without = (
        np.concatenate([carried_profiles(each, params, batch)["state"] for params in values])[np.arange(9), first]
        for each, values in ((model, draws), (vanilla, shared))
    )
    np.testing.assert_allclose(found["first_ratio"], quartiles(with_attention / without))


def test_a_cell_without_gates_has_none_to_describe():
    model, params, batch = case("none", False, "tanh")
    found = describe_carried(carried_profiles(model, params, batch))
    assert np.isnan(found["keep"]).all()
    np.testing.assert_array_equal(found["gates_share"], 0)
