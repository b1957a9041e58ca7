import itertools
from dataclasses import replace

import numpy as np
import pytest

from numpy_attention import Batch
from numpy_attention.model import decoder
from numpy_attention.model.encoder import DIRECTIONS
from numpy_attention.ops.attention import softmax_backward
from numpy_attention.ops.cells import CELLS
from numpy_attention.ops.cross_entropy import cross_entropy_backward
from numpy_attention.superhighway import paths as module
from numpy_attention.superhighway.paths import (
    attention_weights,
    context_by_decoder_steps,
    gradient_by_target,
    gradient_origins,
    gradient_paths,
    mean_path_length,
    origins_by_encoder_steps,
)
from numpy_attention.verification.cases import ALIGNMENTS, LENGTHS, make_batch, make_model, make_params
from tests.superhighway.oracle import Oracle

# In the quick run every cell with the additive alignment, and every alignment with the tanh cell.
QUICK = [("additive", False, cell) for cell in CELLS] + [(alignment, False, "tanh") for alignment in ALIGNMENTS]
QUICK.append(("additive", True, "tanh"))
every_model = pytest.mark.parametrize(
    ("alignment", "bidirectional", "cell"),
    [
        pytest.param(*names, marks=[] if names in QUICK else [pytest.mark.slow])
        for names in itertools.product(ALIGNMENTS, (False, True), CELLS)
    ],
)
PATHS = ("context", "key", "bridge", "recurrent")


def case(alignment, bidirectional, lengths="ragged", *, cell="tanh", masked=False):
    model = make_model(alignment, bidirectional, cell=cell)
    params, batch = make_params(model), make_batch(model, lengths)
    if masked:  # source columns that are padded everywhere, with tokens under the mask, and a hole in the target
        more = np.full((len(batch.source), 2), 4)
        target_mask = batch.target_mask.copy()
        target_mask[0, 0] = False
        batch = replace(
            batch,
            source=np.hstack([batch.source, more]),
            source_mask=np.hstack([batch.source_mask, more < 0]),
            target_mask=target_mask,
        )
    return model, params, batch


def assert_close(found, expected, whole, tolerance=1e-12):
    assert found.shape == expected.shape
    assert whole > 0
    assert np.abs(found - expected).max() <= tolerance * whole


@every_model
@pytest.mark.parametrize(
    "lengths", [pytest.param(name, marks=[] if name == "ragged" else [pytest.mark.slow]) for name in LENGTHS]
)
def test_each_part_and_the_total_agree_with_an_oracle_of_their_own(alignment, bidirectional, cell, lengths):
    model, params, batch = case(alignment, bidirectional, lengths, cell=cell, masked=lengths == "ragged")
    found, oracle = gradient_paths(model, params, batch), Oracle(model, params, batch)
    total = oracle.total()
    whole = np.abs(total).max()
    assert_close(found.total, total, whole)
    for name in PATHS:
        assert_close(getattr(found, name), oracle.path(name), whole)
    assert_close(found.cell, oracle.cell(), whole)
    assert found.cell.any() == (cell == "lstm" and lengths != "T = 1")


@every_model
def test_the_parts_add_up_and_padded_positions_have_exactly_none(alignment, bidirectional, cell):
    model, params, batch = case(alignment, bidirectional, cell=cell, masked=True)
    found = gradient_paths(model, params, batch)
    parts = sum(getattr(found, name) for name in PATHS)
    assert_close(parts, Oracle(model, params, batch).total(), np.abs(found.total).max(), 1e-13)
    assert_close(parts, found.total, np.abs(found.total).max(), 1e-13)
    assert (~batch.source_mask).any()
    for part in found:
        assert not part[~batch.source_mask].any()
    everything = (
        *gradient_origins(model, params, batch),
        *origins_by_encoder_steps(model, params, batch),
        gradient_by_target(model, params, batch),
        context_by_decoder_steps(model, params, batch),
    )
    for part in everything:
        assert not part[..., ~batch.source_mask, :].any()


@every_model
def test_a_path_that_does_not_exist_is_zero_and_one_that_does_is_not(alignment, bidirectional, cell):
    model, params, batch = case(alignment, bidirectional, cell=cell)
    found = gradient_paths(model, params, batch)
    half = found.total.shape[2] // 2 if bidirectional else found.total.shape[2]
    assert found.context.any() == found.key.any() == (alignment != "none")
    for b, length in enumerate(batch.source_mask.sum(axis=1)):
        forward, backward = np.arange(length) == length - 1, np.arange(length) == 0
        for at_end, columns in ((forward, slice(0, half)), (backward, slice(half, None))):
            bridge, recurrent = found.bridge[b, :length, columns], found.recurrent[b, :length, columns]
            assert not bridge[~at_end].any()
            assert not recurrent[at_end].any()
            if bridge.size:
                assert (bridge[at_end] != 0).all()
                assert (recurrent[~at_end] != 0).all()


@every_model
def test_the_scores_gradients_sum_to_zero_at_every_step(alignment, bidirectional, cell, monkeypatch):
    """Softmax ignores a shift that all scores share."""
    model, params, batch = case(alignment, bidirectional, cell=cell, masked=True)
    _, cache = model.forward(params, batch)
    scores = []
    monkeypatch.setattr(decoder, "softmax_backward", lambda *args: scores.append(softmax_backward(*args)) or scores[-1])
    decoder.decoder_backward(cross_entropy_backward(1.0, cache.loss), cache.decoder)
    assert len(scores) == (batch.target_mask.shape[1] if alignment != "none" else 0)
    de = np.array(scores or [np.zeros(batch.source.shape)])
    assert de.any() == (alignment != "none")
    assert np.abs(de.sum(axis=2)).max() <= 1e-14 * np.abs(de).max()
    assert not de[:, ~batch.source_mask].any()


@every_model
def test_origins_agree_with_oracles_of_their_own(alignment, bidirectional, cell):
    model, params, batch = case(alignment, bidirectional, cell=cell, masked=True)
    found, oracle = gradient_origins(model, params, batch), Oracle(model, params, batch)
    whole = np.abs(oracle.total()).max()
    for name in found._fields:
        assert_close(getattr(found, name), oracle.origin(name), whole)
    assert found.superhighway.any() == (alignment != "none")


@every_model
def test_the_number_of_encoder_steps_agrees_with_the_oracle_entrance_by_entrance(
    alignment, bidirectional, cell, monkeypatch
):
    monkeypatch.setattr(module, "LARGEST", 100)  # a few copies at a time, and a rest
    model, params, batch = case(alignment, bidirectional, cell=cell)
    found, oracle = origins_by_encoder_steps(model, params, batch), Oracle(model, params, batch)
    length, width = batch.source.shape[1], oracle.width
    half = width // 2 if bidirectional else width
    whole = np.abs(oracle.total()).max()
    for name in found._fields:
        entered = np.stack([oracle.origin(name, position) for position in range(length)])
        expected = np.zeros_like(entered)
        for entrance, t in itertools.product(range(length), repeat=2):
            for columns, steps in ((slice(0, half), entrance - t), (slice(half, width), t - entrance)):
                if steps >= 0:
                    expected[steps, :, t, columns] = entered[entrance, :, t, columns]
                else:
                    assert not entered[entrance, :, t, columns].any()
        assert_close(getattr(found, name), expected, whole)


@every_model
def test_each_target_steps_own_loss_agrees_with_the_oracle(alignment, bidirectional, cell, monkeypatch):
    monkeypatch.setattr(module, "LARGEST", 500)
    model, params, batch = case(alignment, bidirectional, cell=cell, masked=True)
    found, expected = gradient_by_target(model, params, batch), Oracle(model, params, batch).by_target()
    whole = np.abs(expected).max()
    assert_close(found, expected, whole)
    assert not found[~batch.target_mask.T].any()
    assert_close(found.sum(axis=0), gradient_paths(model, params, batch).total, whole, 1e-13)


@every_model
def test_the_number_of_decoder_steps_agrees_with_the_oracle_context_by_context(
    alignment, bidirectional, cell, monkeypatch
):
    monkeypatch.setattr(module, "LARGEST", 500)
    model, params, batch = case(alignment, bidirectional, cell=cell, masked=True)
    found, oracle = context_by_decoder_steps(model, params, batch), Oracle(model, params, batch)
    expected = np.zeros_like(found)
    for u in range(len(found)):
        from_losses = oracle.context_of(u)
        assert not from_losses[:u].any()  # no loss reaches a later context
        expected[: len(found) - u] += from_losses[u:]
    whole = np.abs(oracle.total()).max()
    assert_close(found, expected, whole)
    assert found.any() == (alignment != "none")


@every_model
def test_the_gradient_of_the_encoders_bias_is_what_the_total_makes_of_it(alignment, bidirectional, cell):
    """A second way from the total back to training: db = sum_t da_t, a_t being read by the step to [h_t ; c_t] alone."""
    model, params, batch = case(alignment, bidirectional, cell=cell)
    found = gradient_paths(model, params, batch)
    _, cache = model.forward(params, batch)
    _, gradients = model.loss_and_gradients(params, batch)
    for number, (prefix, turn) in enumerate(DIRECTIONS[bidirectional].items()):
        direction, U = cache.encoder.directions[prefix], params[f"{prefix}.U"]
        half = slice(number * len(U), (number + 1) * len(U))
        parts = [found.total, found.cell] if cell == "lstm" else [found.total]
        dstate = np.concatenate([part[:, :, half] for part in parts], axis=2).transpose(1, 0, 2)[turn]
        steps = zip(dstate, direction.s, direction.s[1:], direction.gates, strict=False)
        da = [CELLS[cell].step_backward(*step, U)[0] for step in steps]
        if cell == "tanh":  # the equation itself
            np.testing.assert_allclose(da, dstate * (1 - direction.s[1:] ** 2), rtol=1e-13)
        np.testing.assert_allclose(np.sum(da, axis=(0, 1)), gradients[f"{prefix}.b"], rtol=1e-11, atol=1e-15)


def test_attention_weights_are_those_of_every_step():
    model, params, batch = case("additive", False)
    alpha = attention_weights(model.forward(params, batch)[1])
    assert alpha.shape == (*batch.target_mask.shape[::-1], batch.source.shape[1])
    np.testing.assert_allclose(alpha.sum(axis=2), 1)
    model, params, batch = case("none", False)
    assert attention_weights(model.forward(params, batch)[1]).shape == (0, *batch.source.shape)


def test_mean_path_length():
    by_steps = np.zeros((3, 2, 2, 2))
    by_steps[0, 0, 0] = [3, 4]  # norm 5, no step
    by_steps[2, 0, 0] = [0, -15]  # norm 15, two steps
    by_steps[1, 1, 1] = [1, 0]
    np.testing.assert_allclose(mean_path_length(by_steps), [[1.5, np.nan], [np.nan, 1]])


def test_the_mean_length_of_the_only_path_is_its_length():
    model, params, batch = case("none", False, "B = 1")
    steps = mean_path_length(origins_by_encoder_steps(model, params, batch).bottleneck)
    np.testing.assert_array_equal(steps, [[3, 2, 1, 0]])


def test_the_loss_may_be_divided_by_another_number():
    model, params, batch = case("additive", False)
    one, ten = (gradient_paths(model, params, batch, token_count=count) for count in (1, 10))
    for part, tenth in zip(one, ten, strict=True):
        np.testing.assert_allclose(part, 10 * tenth, rtol=1e-13)
    np.testing.assert_allclose(one.total / batch.token_count, gradient_paths(model, params, batch).total, rtol=1e-13)


@pytest.mark.parametrize("dtype", [np.float32, complex])
def test_other_dtypes(dtype):
    model, params, batch = case("additive", True)
    exact = gradient_paths(model, params, batch)
    found = gradient_paths(model, {name: value.astype(dtype) for name, value in params.items()}, batch)
    for part, expected in zip(found, exact, strict=True):
        assert part.dtype == dtype
        np.testing.assert_allclose(part, expected, atol=1e-6 * np.abs(exact.total).max())


def test_one_position_has_no_recurrent_path():
    model, params, batch = case("dot", False, "T = 1")
    found = gradient_paths(model, params, batch)
    assert not found.recurrent.any()
    assert not np.abs(found.key).max() > 1e-15  # the one weight is 1 whatever the score
    assert found.context.all()
    assert found.bridge.all()


@pytest.mark.parametrize(
    "function", [gradient_paths, gradient_origins, origins_by_encoder_steps, gradient_by_target, context_by_decoder_steps]
)  # fmt: skip
def test_bad_input_is_one_clear_line(function):
    model, params, batch = case("additive", False)
    for name in ("encoder.U", "output.C"):
        for bad in (np.nan, np.inf):
            broken = params | {name: np.where(np.arange(params[name].shape[1]) == 1, bad, params[name])}
            with pytest.raises(ValueError, match=rf"^params: expected finite values, {name}\[0, 1\] is {bad}$"):
                function(model, broken, batch)
    with pytest.raises(
        ValueError, match=rf"^source: expected token ids below the vocabulary's size {model.source_vocabulary}, got 9 "
    ):
        function(model, params, Batch.from_sequences([[3, 9]], [[3]]))
    with pytest.raises(ValueError, match=r"^params: expected decoder.C of shape \(\d, \d\), it is missing$"):
        function(model, {name: value for name, value in params.items() if name != "decoder.C"}, batch)


def test_paths_and_origins_print_as_one_line():
    model = make_model("additive", False)
    params, batch = make_params(model), make_batch(model)
    paths, origins = gradient_paths(model, params, batch), gradient_origins(model, params, batch)
    shape = paths.total.shape
    names = "context, key, bridge, recurrent, cell, total"
    assert repr(paths) == f"GradientPaths({names}; each float64 of shape {shape})"
    assert repr(origins) == f"Origins(bottleneck, superhighway; each float64 of shape {shape})"
