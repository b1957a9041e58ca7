import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from numpy_attention import Batch, Seq2Seq
from numpy_attention.verification.cases import ALIGNMENTS, LENGTHS, SCALES, make_batch, make_model, make_params
from tests.derivatives import assert_finite_differences_agree, assert_gradients_agree, complex_step, largest

every_model = pytest.mark.parametrize(
    ("alignment", "bidirectional"), list(itertools.product(ALIGNMENTS, (False, True)))
)


@every_model
@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("lengths", LENGTHS)
def test_every_gradient_agrees_with_the_complex_step(alignment, bidirectional, lengths, scale):
    model = make_model(alignment, bidirectional)
    params, batch = make_params(model, SCALES[scale]), make_batch(model, lengths)
    loss, gradients = model.loss_and_gradients(params, batch)
    assert loss == model.loss(params, batch)
    oracle = complex_step(lambda values: model.loss(values, batch), params)
    assert_gradients_agree(gradients, oracle, own_scale=scale == "ordinary")


@every_model
@pytest.mark.parametrize("lengths", LENGTHS)
def test_every_gradient_agrees_with_finite_differences(alignment, bidirectional, lengths):
    model = make_model(alignment, bidirectional)
    params, batch = make_params(model), make_batch(model, lengths)
    _, gradients = model.loss_and_gradients(params, batch)
    rng = np.random.default_rng(0)
    assert_finite_differences_agree(lambda values: model.loss(values, batch), params, gradients, rng)


@every_model
def test_no_check_is_empty(alignment, bidirectional):
    """Every parameter weighs in somewhere, but for what is zero by structure, which stays at rounding."""
    model = make_model(alignment, bidirectional)
    zero = {"alignment.W"} if alignment == "stacked" else set()
    shares = dict.fromkeys(model.parameter_shapes, 0.0)
    for lengths, seed in itertools.product(LENGTHS, range(3)):
        _, gradients = model.loss_and_gradients(make_params(model, seed=seed), make_batch(model, lengths, seed))
        for name, gradient in gradients.items():
            shares[name] = max(shares[name], largest({name: gradient}) / largest(gradients))
    for name, share in shares.items():
        assert share < 1e-15 if name in zero else share > 1e-3, (name, share)


@every_model
@settings(max_examples=10, deadline=None)
@given(
    sources=st.lists(st.lists(st.integers(0, 4), min_size=1, max_size=3), min_size=1, max_size=3),
    seed=st.integers(0, 2**31),
)
def test_any_batch_agrees_with_the_complex_step_in_a_random_direction(alignment, bidirectional, sources, seed):
    rng = np.random.default_rng(seed)
    model = make_model(alignment, bidirectional)
    params = make_params(model, seed=seed)
    targets = [rng.integers(0, model.target_vocabulary, rng.integers(0, 4)).tolist() for _ in sources]
    batch = Batch.from_sequences(sources, targets)
    _, gradients = model.loss_and_gradients(params, batch)
    direction = {name: rng.standard_normal(value.shape) for name, value in params.items()}
    step = {name: value + 1e-30j * direction[name] for name, value in params.items()}
    expected = model.loss(step, batch).imag / 1e-30
    found = sum((gradients[name] * direction[name]).sum() for name in params)
    size = sum(np.abs(gradients[name] * direction[name]).sum() for name in params)
    assert abs(found - expected) <= 1e-13 * size


def test_a_vocabulary_larger_than_the_batch_gives_the_same_gradients():
    model = make_model("additive", True, source_vocabulary=40, target_vocabulary=50)
    params, batch = make_params(model), make_batch(model)
    _, gradients = model.loss_and_gradients(params, batch)
    assert_gradients_agree(gradients, complex_step(lambda values: model.loss(values, batch), params))


def test_stacked_attention_cannot_depend_on_the_decoder_state():
    for alignment, same in (("stacked", True), ("additive", False)):
        model = make_model(alignment, False)
        params = make_params(model)
        (translation,) = model.translate(params, [[3, 4, 5, 6]], max_length=4)
        spread = np.ptp(translation.attention, axis=0).max()
        assert len(translation.attention) > 1
        assert spread < 1e-15 if same else spread > 1e-4
        _, gradients = model.loss_and_gradients(params, make_batch(model))
        for gradient in (gradients["alignment.W"], gradients["alignment.v"][:4]):
            assert np.abs(gradient).max() < 1e-15 * largest(gradients) if same else np.abs(gradient).max() > 1e-5


@every_model
def test_padded_columns_change_nothing(alignment, bidirectional):
    model = make_model(alignment, bidirectional)
    params, batch = make_params(model), make_batch(model)
    rng = np.random.default_rng(0)

    def widened(array, more, fill):
        return np.hstack([array, np.broadcast_to(fill, (len(array), more))])

    rows = len(batch.source)
    padded = Batch(
        widened(batch.source, 3, rng.integers(0, model.source_vocabulary, (rows, 3))),  # whatever stands under the mask
        widened(batch.source_mask, 3, False),
        widened(batch.target_input, 2, rng.integers(0, model.target_vocabulary, (rows, 2))),
        widened(batch.target_output, 2, rng.integers(0, model.target_vocabulary, (rows, 2))),
        widened(batch.target_mask, 2, False),
    )
    loss, gradients = model.loss_and_gradients(params, batch)
    same_loss, same_gradients = model.loss_and_gradients(params, padded)
    np.testing.assert_allclose(same_loss, loss, rtol=1e-15)
    assert largest({name: gradients[name] - same_gradients[name] for name in params}) <= 1e-15 * largest(gradients)


@every_model
def test_a_batch_is_the_token_weighted_mean_of_its_sequences(alignment, bidirectional):
    model = make_model(alignment, bidirectional)
    params = make_params(model)
    sources, targets = [[3, 4, 5], [6], [3, 3]], [[5, 4], [], [3, 4, 5, 5]]
    alone = [Batch.from_sequences([source], [target]) for source, target in zip(sources, targets, strict=True)]
    tokens = [batch.token_count for batch in alone]
    assert tokens == [3, 1, 5]
    expected = np.average([model.loss(params, batch) for batch in alone], weights=tokens)
    np.testing.assert_allclose(model.loss(params, Batch.from_sequences(sources, targets)), expected, rtol=1e-14)


@every_model
def test_the_parts_of_a_batch_add_up_to_the_whole(alignment, bidirectional):
    model = make_model(alignment, bidirectional)
    params = make_params(model)
    sources, targets = [[3, 4, 5], [6], [3, 3]], [[5, 4], [], [3, 4, 5, 5]]
    whole = Batch.from_sequences(sources, targets)
    loss, gradients = model.loss_and_gradients(params, whole)
    parts = [Batch.from_sequences(sources[part], targets[part]) for part in (slice(0, 1), slice(1, 3))]
    found = [model.loss_and_gradients(params, part, token_count=whole.token_count) for part in parts]
    np.testing.assert_allclose(sum(part_loss for part_loss, _ in found), loss, rtol=1e-14)
    summed = {name: sum(part[name] for _, part in found) for name in params}
    assert largest({name: summed[name] - gradients[name] for name in params}) <= 1e-14 * largest(gradients)


def test_models_of_one_seed_share_the_values_of_shared_parameters():
    vanilla = make_model("none", True).init(seed=3)
    for alignment in ("additive", "stacked"):
        attention = make_model(alignment, True).init(seed=3)
        extra = {"alignment.W", "alignment.U", "alignment.v", "decoder.C", "output.C"}
        assert set(attention) - set(vanilla) == extra
        for name, value in vanilla.items():
            np.testing.assert_array_equal(attention[name], value)
    assert (make_model("none", True).init(seed=4)["bridge.W"] != vanilla["bridge.W"]).all()


def test_initial_values_are_as_documented():
    params = Seq2Seq(2000, 50, embedding_size=100, hidden_size=80, bidirectional=True).init()
    for name in ("encoder.forward.U", "encoder.backward.U", "decoder.U"):
        np.testing.assert_allclose(params[name] @ params[name].T, np.eye(80), atol=1e-12)
    assert not any(params[name].any() for name in params if name.endswith(".b"))
    for name, rows in (("source_embedding", 100), ("bridge.W", 160), ("alignment.U", 160), ("output.W", 80)):
        np.testing.assert_allclose(params[name].std() * np.sqrt(rows), 1, rtol=0.05)


@every_model
def test_dtypes_are_kept(alignment, bidirectional):
    model = make_model(alignment, bidirectional)
    batch = make_batch(model)
    double = make_params(model)
    single = {name: value.astype(np.float32) for name, value in double.items()}
    loss, gradients = model.loss_and_gradients(single, batch)
    assert {np.dtype(loss), *(gradient.dtype for gradient in gradients.values())} == {np.dtype(np.float32)}
    _, exact = model.loss_and_gradients(double, batch)
    assert largest({name: gradients[name] - exact[name] for name in exact}) <= 1e-5 * largest(exact)
    assert list(gradients) == list(single)


@every_model
def test_one_complex_parameter_among_real_ones_makes_everything_complex(alignment, bidirectional):
    model = make_model(alignment, bidirectional)
    batch, params = make_batch(model), make_params(model)
    for name in params:
        mixed = {**params, name: params[name].astype(complex)}
        loss, gradients = model.loss_and_gradients(mixed, batch)
        assert {np.dtype(loss), *(gradient.dtype for gradient in gradients.values())} == {np.dtype(complex)}


@pytest.mark.parametrize("alignment", ALIGNMENTS)
def test_the_backward_is_complex_analytic_too(alignment):
    """Its own complex step gives second derivatives, and those are symmetric."""
    model = make_model(alignment, True)
    params, batch = make_params(model), make_batch(model)
    rng = np.random.default_rng(0)
    a, b = ({name: rng.standard_normal(value.shape) for name, value in params.items()} for _ in range(2))

    def hessian_times(direction):
        step = {name: value + 1e-30j * direction[name] for name, value in params.items()}
        return {name: gradient.imag / 1e-30 for name, gradient in model.loss_and_gradients(step, batch)[1].items()}

    Ha, Hb = hessian_times(a), hessian_times(b)
    left, right = (sum((x[name] * y[name]).sum() for name in params) for x, y in ((Ha, b), (Hb, a)))
    assert abs(left - right) <= 1e-13 * sum(np.abs(Ha[name] * b[name]).sum() for name in params)


def test_the_parameters_are_left_alone():
    model = make_model("additive", True)
    params, batch = make_params(model), make_batch(model)
    before = {name: value.copy() for name, value in params.items()}
    for value in params.values():
        value.flags.writeable = False
    first = model.loss_and_gradients(params, batch)[1]
    second = model.loss_and_gradients(params, batch)[1]
    for name in params:
        np.testing.assert_array_equal(params[name], before[name])
        np.testing.assert_array_equal(first[name], second[name])
        assert not np.shares_memory(first[name], second[name])


def test_one_sgd_step_lowers_the_loss():
    model = make_model("additive", False)
    params, batch = make_params(model), make_batch(model)
    loss, gradients = model.loss_and_gradients(params, batch)
    assert model.loss({name: params[name] - 1e-2 * gradients[name] for name in params}, batch) < loss


@every_model
@pytest.mark.parametrize(("rate", "label_smoothing"), [(0.4, 0.0), (0.0, 0.3), (0.3, 0.1)])
def test_dropout_and_smoothing_agree_with_the_complex_step_at_a_fixed_mask(
    alignment, bidirectional, rate, label_smoothing
):
    model = make_model(alignment, bidirectional)
    params, batch = make_params(model), make_batch(model)
    masks = model.dropout_masks(batch, rate, np.random.default_rng(1))

    def both(values):
        return model.loss_and_gradients(values, batch, dropout=masks, label_smoothing=label_smoothing)

    loss, gradients = both(params)
    forward = {"dropout": masks, "label_smoothing": label_smoothing}
    assert_gradients_agree(gradients, complex_step(lambda values: model.forward(values, batch, **forward)[0], params))
    assert abs(loss - model.loss(params, batch)) > 1e-3
    assert loss == both(params)[0]


def test_a_rate_of_zero_leaves_everything_in_and_one_step_fits_one_target_token():
    for alignment in ALIGNMENTS:
        model = make_model(alignment, True)
        params, batch = make_params(model), make_batch(model, "U = 1")
        masks = model.dropout_masks(batch, 0.0, np.random.default_rng(0))
        assert model.forward(params, batch, dropout=masks)[0] == model.loss(params, batch)
        mixed = {**params, "decoder.W": params["decoder.W"].astype(complex)}
        assert np.dtype(model.loss(mixed, batch)) == np.dtype(complex)


def test_single_precision_stays_single_with_dropout():
    model = make_model("additive", True)
    params = {name: value.astype(np.float32) for name, value in make_params(model).items()}
    batch = make_batch(model)
    masks = model.dropout_masks(batch, 0.5, np.random.default_rng(0), np.float32)
    loss, gradients = model.loss_and_gradients(params, batch, dropout=masks, label_smoothing=0.1)
    assert {np.dtype(loss), *(gradient.dtype for gradient in gradients.values())} == {np.dtype(np.float32)}
