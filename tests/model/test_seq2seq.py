import itertools
import re
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from numpy_attention import Batch, Seq2Seq
from numpy_attention.ops import attention
from numpy_attention.ops.cells import CELLS
from numpy_attention.verification import cases
from numpy_attention.verification.cases import ALIGNMENTS, LENGTHS, SCALES, make_batch, make_params
from tests.derivatives import assert_finite_differences_agree, assert_gradients_agree, complex_step, largest

MODELS = list(itertools.product(ALIGNMENTS, (False, True), CELLS))
every_model = pytest.mark.parametrize(("alignment", "bidirectional", "cell"), MODELS)
# Every cell, alignment and direction in a few models.
some_models = pytest.mark.parametrize(
    ("alignment", "bidirectional", "cell"),
    [
        ("additive", False, "tanh"),
        ("stacked", True, "tanh"),
        ("general", True, "gru"),
        ("dot", False, "lstm"),
        ("none", False, "lstm"),
    ],
)


def make_model(alignment, bidirectional, cell="tanh", **sizes):
    return replace(cases.make_model(alignment, bidirectional, **sizes), cell=cell)


def check_every_entry(model, lengths="ragged", scale="ordinary"):
    params, batch = make_params(model, SCALES[scale]), make_batch(model, lengths)
    loss, gradients = model.loss_and_gradients(params, batch)
    assert loss == model.loss(params, batch)
    oracle = complex_step(lambda values: model.loss(values, batch), params)
    assert_gradients_agree(gradients, oracle, own_scale=scale == "ordinary")


@some_models
def test_every_entry_agrees_with_the_complex_step(alignment, bidirectional, cell):
    check_every_entry(make_model(alignment, bidirectional, cell))


@pytest.mark.slow
@every_model
@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("lengths", LENGTHS)
def test_every_entry_of_every_model_agrees_with_the_complex_step(alignment, bidirectional, cell, lengths, scale):
    check_every_entry(make_model(alignment, bidirectional, cell), lengths, scale)


@pytest.mark.slow
@every_model
@pytest.mark.parametrize("lengths", LENGTHS)
def test_every_gradient_agrees_with_finite_differences(alignment, bidirectional, cell, lengths):
    model = make_model(alignment, bidirectional, cell)
    params, batch = make_params(model), make_batch(model, lengths)
    _, gradients = model.loss_and_gradients(params, batch)
    rng = np.random.default_rng(0)
    assert_finite_differences_agree(lambda values: model.loss(values, batch), params, gradients, rng)


@every_model
def test_no_check_is_empty(alignment, bidirectional, cell):
    """Every parameter weighs in somewhere, but for what is zero by structure, which stays at rounding."""
    model = make_model(alignment, bidirectional, cell)
    zero = {"alignment.W"} if alignment == "stacked" else set()
    shares = dict.fromkeys(model.parameter_shapes, 0.0)
    for lengths, seed in itertools.product(LENGTHS, range(3)):
        _, gradients = model.loss_and_gradients(make_params(model, seed=seed), make_batch(model, lengths, seed))
        for name, gradient in gradients.items():
            shares[name] = max(shares[name], largest({name: gradient}) / largest(gradients))
    for name, share in shares.items():
        assert share < 1e-15 if name in zero else share > 1e-3, (name, share)


@every_model
@settings(max_examples=3, deadline=None)
@given(
    sources=st.lists(st.lists(st.integers(0, 4), min_size=1, max_size=3), min_size=1, max_size=3),
    seed=st.integers(0, 2**31),
)
def test_any_batch_agrees_with_the_complex_step_in_a_random_direction(alignment, bidirectional, cell, sources, seed):
    rng = np.random.default_rng(seed)
    model = make_model(alignment, bidirectional, cell)
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
    for cell, bidirectional in (("tanh", True), ("lstm", False)):
        model = make_model("additive", bidirectional, cell, source_vocabulary=40, target_vocabulary=50)
        params, batch = make_params(model), make_batch(model)
        _, gradients = model.loss_and_gradients(params, batch)
        rng = np.random.default_rng(0)
        direction = {name: rng.standard_normal(value.shape) for name, value in params.items()}
        step = {name: value + 1e-30j * direction[name] for name, value in params.items()}
        expected = model.loss(step, batch).imag / 1e-30
        found = sum((gradients[name] * direction[name]).sum() for name in params)
        assert abs(found - expected) <= 1e-12 * sum(np.abs(gradients[name] * direction[name]).sum() for name in params)


@pytest.mark.slow
def test_a_vocabulary_larger_than_the_batch_gives_the_same_gradients_entry_by_entry():
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
def test_padded_columns_change_nothing(alignment, bidirectional, cell):
    model = make_model(alignment, bidirectional, cell)
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
def test_a_batch_is_the_token_weighted_mean_of_its_sequences(alignment, bidirectional, cell):
    model = make_model(alignment, bidirectional, cell)
    params = make_params(model)
    sources, targets = [[3, 4, 5], [6], [3, 3]], [[5, 4], [], [3, 4, 5, 5]]
    alone = [Batch.from_sequences([source], [target]) for source, target in zip(sources, targets, strict=True)]
    tokens = [batch.token_count for batch in alone]
    assert tokens == [3, 1, 5]
    expected = np.average([model.loss(params, batch) for batch in alone], weights=tokens)
    np.testing.assert_allclose(model.loss(params, Batch.from_sequences(sources, targets)), expected, rtol=1e-14)


@every_model
def test_the_parts_of_a_batch_add_up_to_the_whole(alignment, bidirectional, cell):
    model = make_model(alignment, bidirectional, cell)
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


@pytest.mark.parametrize("cell", CELLS)
def test_each_gate_starts_with_an_orthogonal_matrix(cell):
    params = Seq2Seq(9, 9, embedding_size=4, hidden_size=6, encoder_size=5, bidirectional=True, cell=cell).init()
    for name, size in (("encoder.forward.U", 5), ("encoder.backward.U", 5), ("decoder.U", 6)):
        for gate in np.split(params[name], CELLS[cell].gates, axis=1):
            np.testing.assert_allclose(gate @ gate.T, np.eye(size), atol=1e-12)


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize(("cell", "gate"), [("gru", 1), ("lstm", 1)])
@pytest.mark.parametrize(("forget_bias", "value"), [(None, 1.0), (0, 0.0), (-1.5, -1.5)])
def test_the_forget_gate_s_bias_starts_at_forget_bias(bidirectional, cell, gate, forget_bias, value):
    model = Seq2Seq(
        9, 9, hidden_size=6, encoder_size=5, bidirectional=bidirectional, cell=cell, forget_bias=forget_bias
    )
    params = model.init()
    recurrent = {"encoder.forward.b", "encoder.backward.b", "encoder.b", "decoder.b"} & set(params)
    assert len(recurrent) == 3 if bidirectional else 2
    for name, bias in params.items():
        if name in recurrent:
            gates = bias.reshape(CELLS[cell].gates, -1)
            assert (gates[gate] == value).all()
            assert not np.delete(gates, gate, axis=0).any()
        elif name.endswith(".b"):
            assert not bias.any()


@pytest.mark.parametrize("cell", CELLS)
def test_shapes_are_those_of_the_cell(cell):
    gates, states = {"tanh": (1, 1), "gru": (3, 1), "lstm": (4, 2)}[cell]
    model = Seq2Seq(11, 13, 2, 5, encoder_size=3, alignment_size=4, alignment="general", bidirectional=True, cell=cell)
    expected = {"source_embedding": (11, 2), "target_embedding": (13, 2)}
    for direction in ("forward", "backward"):
        for letter, shape in (("W", (2, 3 * gates)), ("U", (3, 3 * gates)), ("b", (3 * gates,))):
            expected[f"encoder.{direction}.{letter}"] = shape
    expected |= {"bridge.W": (6, 5 * states), "bridge.b": (5 * states,), "alignment.W": (5, 6)}
    expected |= {"decoder.W": (2, 5 * gates), "decoder.U": (5, 5 * gates), "decoder.b": (5 * gates,)}
    expected |= {"decoder.C": (6, 5 * gates), "output.W": (5, 13), "output.C": (6, 13), "output.b": (13,)}
    assert model.parameter_shapes == expected
    assert {name: value.shape for name, value in model.init().items()} == expected


def test_the_shapes_of_every_alignment():
    own = {}
    for alignment in ALIGNMENTS:
        model = Seq2Seq(9, 9, hidden_size=6, encoder_size=3, alignment_size=4, alignment=alignment, bidirectional=True)
        own[alignment] = {
            name[-1]: shape for name, shape in model.parameter_shapes.items() if name.startswith("alignment")
        }
    assert own == {
        "additive": {"W": (6, 4), "U": (6, 4), "v": (4,)},
        "location": {"W": (6, 4), "U": (6, 4), "v": (4,), "F": (3, 4)},
        "stacked": {"W": (6, 4), "U": (6, 4), "v": (8,)},
        "general": {"W": (6, 6)},
        "dot": {},
        "none": {},
    }


@every_model
def test_dtypes_are_kept(alignment, bidirectional, cell):
    model = make_model(alignment, bidirectional, cell)
    batch = make_batch(model)
    double = make_params(model)
    single = {name: value.astype(np.float32) for name, value in double.items()}
    loss, gradients = model.loss_and_gradients(single, batch)
    assert {np.dtype(loss), *(gradient.dtype for gradient in gradients.values())} == {np.dtype(np.float32)}
    _, exact = model.loss_and_gradients(double, batch)
    assert largest({name: gradients[name] - exact[name] for name in exact}) <= 1e-5 * largest(exact)
    assert list(gradients) == list(single)


@every_model
def test_one_complex_parameter_among_real_ones_makes_everything_complex(alignment, bidirectional, cell):
    model = make_model(alignment, bidirectional, cell)
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


def check_dropout_and_smoothing(model, rate, label_smoothing):
    params, batch = make_params(model), make_batch(model)
    masks = model.dropout_masks(batch, rate, np.random.default_rng(1))

    def both(values):
        return model.loss_and_gradients(values, batch, dropout=masks, label_smoothing=label_smoothing)

    loss, gradients = both(params)
    forward = {"dropout": masks, "label_smoothing": label_smoothing}
    assert_gradients_agree(gradients, complex_step(lambda values: model.forward(values, batch, **forward)[0], params))
    assert abs(loss - model.loss(params, batch)) > 1e-3
    assert loss == both(params)[0]


@pytest.mark.parametrize(
    ("model", "rate", "label_smoothing"),
    [
        (("additive", True, "tanh"), 0.4, 0.0),
        (("none", False, "gru"), 0.0, 0.3),
        (("general", False, "lstm"), 0.3, 0.1),
    ],
)
def test_dropout_and_smoothing_agree_with_the_complex_step_at_a_fixed_mask(model, rate, label_smoothing):
    check_dropout_and_smoothing(make_model(*model), rate, label_smoothing)


@pytest.mark.slow
@every_model
@pytest.mark.parametrize(("rate", "label_smoothing"), [(0.4, 0.0), (0.0, 0.3), (0.3, 0.1)])
def test_dropout_and_smoothing_of_every_model_agree_with_the_complex_step_at_a_fixed_mask(
    alignment, bidirectional, cell, rate, label_smoothing
):
    check_dropout_and_smoothing(make_model(alignment, bidirectional, cell), rate, label_smoothing)


@every_model
@pytest.mark.parametrize("rate", [0.0, 0.4])
def test_recomputing_gives_the_same_bits(alignment, bidirectional, cell, rate, monkeypatch):
    model = make_model(alignment, bidirectional, cell)
    params, batch = make_params(model), make_batch(model)
    masks = model.dropout_masks(batch, rate, np.random.default_rng(1)) if rate else None
    for block in (attention.BLOCK, 1):  # all sequences together, or each by itself
        monkeypatch.setattr(attention, "BLOCK", block)
        loss, gradients = model.loss_and_gradients(params, batch, dropout=masks)
        again, found = model.loss_and_gradients(params, batch, dropout=masks, recompute=True)
        assert loss == again
        for name, gradient in gradients.items():
            np.testing.assert_array_equal(found[name], gradient)


def test_blocks_of_one_sequence_give_the_same_gradients(monkeypatch):
    model = make_model("additive", True)
    params, batch = make_params(model), make_batch(model)
    loss, gradients = model.loss_and_gradients(params, batch)
    monkeypatch.setattr(attention, "BLOCK", 1)
    found_loss, found = model.loss_and_gradients(params, batch)
    np.testing.assert_allclose(found_loss, loss, rtol=1e-14)
    assert largest({name: found[name] - gradients[name] for name in params}) <= 1e-14 * largest(gradients)


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


def says(message):
    return pytest.raises(ValueError, match=f"^{re.escape(message)}$")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"alignment": "cosine"}, "alignment: expected one of additive, location, stacked, dot, general, none, got 'cosine'"),
        ({"cell": "mgu"}, "cell: expected one of tanh, gru, lstm, got 'mgu'"),
        ({"cell": None}, "cell: expected one of tanh, gru, lstm, got None"),
        ({"forget_bias": 1.0}, 'forget_bias: expected None for cell "tanh", which has no gate to forget by ("gru" or "lstm" has), got 1.0'),
        ({"cell": "gru", "forget_bias": np.inf}, "forget_bias: expected a finite number, got inf"),
        ({"cell": "lstm", "forget_bias": "much"}, "forget_bias: expected a finite number, got 'much'"),
        ({"hidden_size": 0}, "hidden_size: expected a whole number of at least 1, got 0"),
        ({"embedding_size": -3}, "embedding_size: expected a whole number of at least 1, got -3"),
        ({"encoder_size": 0}, "encoder_size: expected a whole number of at least 1, got 0"),
        ({"alignment_size": 2.5}, "alignment_size: expected a whole number of at least 1, got 2.5"),
        ({"embedding_size": True}, "embedding_size: expected a whole number of at least 1, got True"),
        ({"source_vocabulary": 0}, "source_vocabulary: expected a whole number of at least 1, got 0"),
        ({"target_vocabulary": 2}, "target_vocabulary: expected at least 3, for PAD, BOS and EOS, got 2"),
        ({"bidirectional": "no"}, "bidirectional: expected True or False, got 'no'"),
        (
            {"alignment": "dot", "hidden_size": 5, "encoder_size": 4},
            'hidden_size: alignment "dot" needs a decoder state as wide as the encoder states h_t (4), got 5',
        ),
        (
            {"alignment": "dot", "hidden_size": 4, "encoder_size": 4, "bidirectional": True},
            'hidden_size: alignment "dot" needs a decoder state as wide as the encoder states h_t (8), got 4',
        ),
    ],
)  # fmt: skip
def test_an_impossible_model(arguments, message):
    with says(message):
        Seq2Seq(**({"source_vocabulary": 7, "target_vocabulary": 6} | arguments))


def test_a_model_prints_as_one_line_with_its_settled_sizes():
    model = Seq2Seq(8, 7, embedding_size=4, hidden_size=6, encoder_size=3, bidirectional=True, cell="gru")
    parameters = sum(value.size for value in model.init().values())
    assert repr(model) == (
        "Seq2Seq(8 to 7 tokens, E=4, H=3 in each direction, D=6, A=6, "
        f"cell='gru', alignment='additive': {parameters:,} parameters)"
    )
