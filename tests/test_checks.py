import re
from functools import partial

import numpy as np
import pytest

from numpy_attention import Batch
from numpy_attention._checks import check_choice, check_dtype, check_flag, check_number, check_share, check_size
from numpy_attention.verification.cases import make_batch, make_model, make_params

RNG = np.random.default_rng(0)


def says(message):
    return pytest.raises(ValueError, match=f"^{re.escape(message)}$")


@pytest.mark.parametrize(
    ("check", "good", "bad", "expected"),
    [
        (check_size, [1, np.int64(7), 2**63 - 1], [0, -1, 2.5, True, None], "a whole number of at least 1"),
        (check_flag, [True, False, np.True_], [1, None, "no"], "True or False"),
        (check_share, [0, 0.5, np.float32(0.25)], [1, -0.1, np.nan, True, "half", None], "a number of at least 0 and below 1"),
        (check_number, [0, -1.5, np.float64(3), np.int64(2), np.float32(1e38), 10**300], [np.inf, np.nan, True, "much", None], "a finite number"),
        (partial(check_size, least=0), [0], [-1], "a whole number of at least 0"),
        (partial(check_choice, choices=("one", "two")), ["one", "two"], ["three", 1, None, ["one"]], "one of one, two"),
        (check_dtype, [np.float32, "float64", complex], [np.float16, int, "banana", "longdouble"], "float32, float64 or complex128"),
    ],
)  # fmt: skip
def test_a_check_names_the_argument_and_says_what_was_expected_and_what_came(check, good, bad, expected):
    for value in good:
        check("knob", value)
    for value in bad:
        with says(f"knob: expected {expected}, got {value!r}"):
            check("knob", value)


@pytest.mark.parametrize("number", [10**400, 10**5000], ids=["400", "5000"])
def test_a_number_beyond_the_range_of_floats_gets_one_short_line(number):
    for check, expected in (
        (check_size, "a whole number of at most 9,223,372,036,854,775,807"),
        (check_share, "a number of at least 0 and below 1"),
        (check_number, "a finite number"),
    ):
        with pytest.raises(ValueError, match=f"^knob: expected {expected}, got .{{5,40}}$"):
            check("knob", number)


def drop(params):
    del params["bridge.W"]


def reshape(params):
    params["bridge.W"] = params["bridge.W"].T.copy()


def listed(params):
    params["bridge.b"] = [0.0] * 5


def add(params):
    params["bridge.V"] = np.zeros(3)


def add_many(params):
    params |= {f"bridge.{number:03}": np.zeros(3) for number in range(1000)}


def half(params):
    params["bridge.W"] = params["bridge.W"].astype(np.float16)


def whole(params):
    params["output.b"] = np.zeros(7, int)


def mixed(params):
    params["bridge.W"] = params["bridge.W"].astype(np.float32)


def not_a_number(params):
    params["bridge.W"][2, 4] = np.nan


def infinite(params):
    params["target_embedding"][0, 0] = -np.inf  # PAD, which no lookup of this batch needs


BROKEN = [
    (drop, "params: expected bridge.W of shape (3, 5), it is missing"),
    (reshape, "params: expected bridge.W of shape (3, 5), got shape (5, 3)"),
    (listed, "params: expected bridge.b of shape (5,), got list"),
    (add, "params: expected the model's own parameters alone, got 'bridge.V' as well"),
    (
        add_many,
        "params: expected the model's own parameters alone, got 'bridge.000, bridge.001, bridge.002, b...96, bridge.997, bridge.998, bridge.999' as well",
    ),
    (half, "bridge.W: expected dtype float32, float64 or complex128, got float16"),
    (whole, "output.b: expected dtype float32, float64 or complex128, got int64"),
    (not_a_number, "params: expected finite values, bridge.W[2, 4] is nan"),
    (infinite, "params: expected finite values, target_embedding[0, 0] is -inf"),
]


@pytest.mark.parametrize(("break_it", "message"), BROKEN)
def test_parameters_that_do_not_fit(break_it, message):
    model = make_model("additive", False)
    params = make_params(model)
    break_it(params)
    batch = make_batch(model)
    for use in (
        lambda: model.loss(params, batch),
        lambda: model.loss_and_gradients(params, batch),
        lambda: model.translate(params, [[3]]),
    ):
        with says(message):
            use()


@pytest.mark.filterwarnings("ignore::PendingDeprecationWarning")  # of np.matrix
@pytest.mark.parametrize("kind", [np.matrix, np.ma.masked_array])
def test_matrices_and_masked_arrays_are_no_parameters(kind):
    model = make_model("additive", False)
    params = make_params(model)
    params["bridge.W"] = kind(params["bridge.W"])
    with says(f"params: expected bridge.W of shape (3, 5), got {type(params['bridge.W']).__name__}"):
        model.loss(params, make_batch(model))


def test_arrays_on_disk_are_parameters(tmp_path):
    model = make_model("additive", False)
    params, batch = make_params(model), make_batch(model)
    np.save(tmp_path / "W.npy", params["bridge.W"])
    mapped = params | {"bridge.W": np.load(tmp_path / "W.npy", mmap_mode="r")}
    assert model.loss(mapped, batch) == model.loss(params, batch)


def test_single_and_double_precision_do_not_mix():
    model = make_model("additive", False)
    params = make_params(model)
    mixed(params)
    with pytest.raises(ValueError, match=r"^params: expected one real dtype, got float32 \(bridge\.W\) and float64 "):
        model.loss(params, make_batch(model))


def test_huge_values_are_finite():
    model = make_model("additive", False)
    params = make_params(model)
    params["alignment.W"][0, 0] = 1e200  # its square is not
    assert np.isfinite(model.loss(params, make_batch(model)))


@pytest.mark.parametrize(
    ("sources", "targets", "message"),
    [
        ([[3], [4, 8]], [[3], [3]], "source: expected token ids below the vocabulary's size 8, got 8 in sequence 1 at position 1"),
        ([[3]], [[3, 9]], "target: expected token ids below the vocabulary's size 7, got 9 in sequence 0 at position 2"),
    ],
)  # fmt: skip
def test_tokens_outside_the_vocabulary(sources, targets, message):
    model = make_model("additive", False)
    with says(message):
        model.loss(make_params(model), Batch.from_sequences(sources, targets))


def test_translate_says_what_is_wrong():
    model = make_model("additive", False)
    params = make_params(model)
    with says("sources: expected token ids below the vocabulary's size 8, got 8 in sequence 1 at position 0"):
        model.translate(params, [[3], [8]])
    with says("sources: sequence 1 is empty, every source needs one token"):
        model.translate(params, [[3], []])
    with says("sources: expected a list of sequences of token ids, got None"):
        model.translate(params, None)
    with says("max_length: expected a whole number of at least 1, got 0"):
        model.translate(params, [[3]], max_length=0)
    with says("beam_size: expected a whole number of at least 1, got 0"):
        model.translate(params, [[3]], beam_size=0)
    with says("n_best: expected a whole number of at least 1, got 0"):
        model.translate(params, [[3]], beam_size=2, n_best=0)
    with says("n_best: expected at most beam_size (2), got 3"):
        model.translate(params, [[3]], beam_size=2, n_best=3)
    params["output.b"] = params["output.b"].astype(complex)
    with says("params: search needs real parameters, output.b is complex128"):
        model.translate(params, [[3]])


def test_the_number_of_a_wrong_source_counts_from_the_first():
    model = make_model("additive", False)
    with says("sources: sequence 300 is empty, every source needs one token"):
        model.translate(make_params(model), [[3]] * 300 + [[]])


@pytest.mark.parametrize(
    ("use", "message"),
    [
        (lambda model, params, batch: model.loss(None, batch), "params: expected a dict of arrays, got NoneType"),
        (lambda model, params, batch: model.loss(params, None), "batch: expected a Batch, got NoneType"),
        (lambda model, params, batch: model.loss({**params, 3: 4}, batch), "params: expected the model's own parameters alone, got '3' as well"),
        (lambda model, params, batch: model.loss(params, batch, 2.5), "token_count: expected a whole number of at least 1, got 2.5"),
        (lambda model, params, batch: model.init(dtype="banana"), "dtype: expected float32, float64 or complex128, got 'banana'"),
        (lambda model, params, batch: model.init(seed=True), "seed: expected a whole number of at least 0, got True"),
        (lambda model, params, batch: model.loss_and_gradients(params, batch, label_smoothing=1.0), "label_smoothing: expected a number of at least 0 and below 1, got 1.0"),
        (lambda model, params, batch: model.loss_and_gradients(params, batch, dropout=0.5), "dropout: expected masks from Seq2Seq.dropout_masks, got 0.5"),
        (lambda model, params, batch: model.dropout_masks(batch, -0.1, RNG), "rate: expected a number of at least 0 and below 1, got -0.1"),
        (lambda model, params, batch: model.dropout_masks(batch, 0.1, None), "rng: expected a numpy.random.Generator, got None"),
        (lambda model, params, batch: model.dropout_masks(batch, 0.1, RNG, "banana"), "dtype: expected float32, float64 or complex128, got 'banana'"),
        (lambda model, params, batch: model.dropout_masks(None, 0.1, RNG), "batch: expected a Batch, got NoneType"),
    ],
)  # fmt: skip
def test_arguments_of_another_type(use, message):
    model = make_model("additive", False)
    with says(message):
        use(model, make_params(model), make_batch(model))


def test_init_and_token_count_say_what_is_wrong():
    model = make_model("additive", False)
    with says("seed: expected a whole number of at least 0, got -1"):
        model.init(seed=-1)
    with says("dtype: expected float32, float64 or complex128, got <class 'numpy.float16'>"):
        model.init(dtype=np.float16)
    with says("token_count: expected a whole number of at least 1, got 0"):
        model.loss(make_params(model), make_batch(model), token_count=0)
