"""check_vjp: right operations pass, and for each law there is an operation that breaks just that law."""

from typing import NamedTuple

import numpy as np
import pytest

from numpy_attention.gradcheck import check_vjp
from numpy_attention.gradcheck.laws import snapshot
from numpy_attention.gradcheck.parameters import private_stream

rng = np.random.default_rng(4)
SCORES = rng.standard_normal((3, 5))
MASK = np.arange(5) < np.array([5, 3, 1])[:, None]
INPUTS = {"scores": SCORES, "mask": MASK}


class Cache(NamedTuple):
    alpha: np.ndarray


def forward(scores, mask):
    largest = np.where(mask, scores.real, -np.inf).max(axis=1, keepdims=True)
    exponential = np.exp(np.where(mask, scores - largest, -np.inf))
    alpha = exponential / exponential.sum(axis=1, keepdims=True)
    return alpha, Cache(alpha)


def backward(dalpha, cache):
    alpha = cache.alpha
    return alpha * (dalpha - (alpha * dalpha).sum(axis=1, keepdims=True))


def broken(report):
    return [law.name for law in report.laws if not law.ok]


@pytest.mark.parametrize("mode", ["full", "directional"])
def test_a_right_operation_passes_and_keeps_all_laws(mode):
    report = check_vjp(forward, backward, INPUTS, batch_axis=0, mode=mode)
    assert report.ok, report
    assert [law.name for law in report.laws] == [
        "shapes and dtypes",
        "inputs untouched",
        "cotangent untouched",
        "cache untouched",
        "zero cotangent gives zero",
        "linear in the cotangent",
        "same answer twice",
        "no leak between sequences",
    ]
    assert "Laws that hold" in str(report)


@pytest.mark.parametrize("mode", ["full", "directional"])
def test_five_hundredths_of_a_percent_is_rejected(mode):
    report = check_vjp(forward, lambda d, c: 1.0005 * backward(d, c), INPUTS, batch_axis=0, mode=mode)
    assert report.parameters[0].diagnosis == "1.0005 times the true gradient: a constant factor"
    assert (report.verdict, report.measured, broken(report)) == ("REFUTED", "wrong", [])


def test_a_backward_that_is_right_only_for_ones_is_rejected():
    # With a cotangent of ones the gradient of a softmax is zero, and everything proportional to it looks right.
    report = check_vjp(forward, lambda d, c: 3 * backward(d, c), INPUTS)
    assert (report.verdict, report.measured) == ("REFUTED", "wrong")
    assert np.allclose(backward(np.ones((3, 5)), forward(SCORES, MASK)[1]), 0)


def writes_to_input(scores, mask):
    result = forward(scores, mask)
    scores += 1.0  # afterwards, and softmax does not see a shift: the values stay right
    return result


def writes_to_cotangent(dalpha, cache):
    gradient = backward(dalpha, cache)
    dalpha *= 2
    return gradient


def writes_to_cache(dalpha, cache):
    gradient = backward(dalpha, cache)
    cache.alpha[:] = 0
    return gradient


calls = []


def remembers(dalpha, cache):
    calls.append(1)
    return backward(dalpha, cache) + (1e-9 if len(calls) == 6 else 0.0)


def ones_for_zero(dalpha, cache):
    return backward(dalpha, cache) if dalpha.any() else np.ones((3, 5))


def clips(dalpha, cache):
    # The cotangents drawn for the gradient are below the bound; the combination of two is not.
    return backward(np.clip(dalpha, -BOUND, BOUND), cache)


DRAWN = [private_stream(0, purpose).standard_normal((3, 5)) for purpose in ("cotangents", "other cotangents")]
BOUND = np.abs(DRAWN).max() * 1.001


def rounds_to_single(dalpha, cache):
    return backward(dalpha, cache).astype(np.float32)


def leaks(dalpha, cache):
    dscores = backward(dalpha, cache)
    dscores[1] += 1e-14 * dalpha[0]  # below the tolerance of the gradient itself
    return dscores


@pytest.mark.parametrize(
    ("forward_", "backward_", "law", "message"),
    [
        (writes_to_input, backward, "inputs untouched", r"inputs\['scores'\] changed"),
        (forward, writes_to_cotangent, "cotangent untouched", r"dout\[0\] changed"),
        (forward, writes_to_cache, "cache untouched", r"cache\.alpha changed"),
        (forward, remembers, "same answer twice", r"the gradient of scores at \[\d, \d\] is .*, expected "),
        (
            forward,
            ones_for_zero,
            "zero cotangent gives zero",
            r"the gradient of scores at \[0, 0\] is 1, expected 0",
        ),
        (forward, clips, "linear in the cotangent", "the gradient of scores"),
        (forward, leaks, "no leak between sequences", "the cotangent of sequence 0 reaches sequence 1 of scores"),
    ],
)
def test_each_law_has_an_operation_that_breaks_it_alone(forward_, backward_, law, message):
    calls.clear()
    report = check_vjp(forward_, backward_, INPUTS, batch_axis=0)
    assert [row.verdict for row in report.parameters] == ["ok"]
    assert broken(report) == [law]
    assert (report.verdict, report.ok) == ("wrong", False)
    with pytest.raises(AssertionError, match=f"BROKEN LAW, {law}: {message}"):
        report.raise_if_failed()


def test_dtypes_and_shapes():
    report = check_vjp(forward, rounds_to_single, INPUTS)
    assert broken(report) == ["shapes and dtypes"]
    assert "the gradient of scores is float32, expected float64" in str(report)
    report = check_vjp(forward, lambda d, c: backward(d, c)[:1], INPUTS, batch_axis=0)
    assert broken(report) == ["shapes and dtypes"]
    assert report.parameters[0].diagnosis == "has shape (1, 5), expected (3, 5)"
    assert str(report).splitlines()[0] == "gradient check: WRONG"
    assert report.to_dict()["parameters"][0]["share"] is None


def test_single_precision_inputs_ask_for_single_precision_throughout():
    inputs = {"scores": SCORES.astype(np.float32), "mask": MASK}
    assert check_vjp(forward, backward, inputs, batch_axis=0).ok

    def doubles(scores, mask):
        return forward(scores.astype(np.result_type(scores, np.float64)), mask)

    report = check_vjp(doubles, backward, inputs)
    assert report.laws[0].message == (
        "the gradient of scores is float64, expected float32; output 0 is float64, expected float32"
    )


@pytest.mark.parametrize(("wrong", "diagnosis"), [(True, "wrong only where the mask is False"), (False, "")])
def test_a_gradient_in_the_padding(wrong, diagnosis):
    def leaky(dalpha, cache):
        return backward(dalpha, cache) + wrong * np.where(MASK, 0, dalpha)

    assert check_vjp(forward, leaky, INPUTS, mask=MASK).parameters[0].diagnosis == diagnosis


def linear_forward(x, W, tokens, scale):
    return (x @ W * scale, x[tokens]), {"x": x, "W": W, "tokens": tokens, "scale": scale}


def linear_backward(dout, cache):
    dy, drows = dout
    dx = dy @ cache["W"].T * cache["scale"]
    np.add.at(dx, cache["tokens"], drows)
    return dx, cache["x"].T @ dy * cache["scale"]


LINEAR = (rng.standard_normal((4, 3)), rng.standard_normal((3, 2)), np.array([0, 2, 2, 1]), 0.5)


def test_tuples_of_inputs_and_outputs_and_inputs_held_fixed():
    report = check_vjp(linear_forward, linear_backward, LINEAR)
    assert report.ok, report
    assert [row.name for row in report.parameters] == ["input 0", "input 1"]


def test_gradients_by_name():
    names = dict(zip(("x", "W", "tokens", "scale"), LINEAR, strict=True))
    by_name = check_vjp(linear_forward, lambda d, c: dict(zip(("x", "W"), linear_backward(d, c), strict=True)), names)
    assert by_name.ok, by_name
    assert [row.name for row in by_name.parameters] == ["x", "W"]


def test_a_lone_array_and_a_cache_of_any_kind():
    class Memory:
        def __init__(self, y):
            self.y = y
            self.me = self

    def fine(dout, cache):
        return dout * cache.y

    def untidy(dout, cache):
        gradient = dout * cache.y
        cache.y = cache.y + 1
        return gradient

    def exp(x):
        return np.exp(x), Memory(np.exp(x))

    assert check_vjp(exp, fine, SCORES).ok
    report = check_vjp(exp, untidy, SCORES)
    assert broken(report) == ["cache untouched"]
    assert "cache.y changed" in str(report)


def test_a_loss_of_the_imaginary_part_inside_an_operation():
    pair = (lambda x: (np.abs(x), np.sign(x)), lambda d, sign: d * sign)
    assert check_vjp(*pair, SCORES, method="complex-step").verdict == "not analytic"
    assert check_vjp(*pair, SCORES).verdict == "PROVED"
    assert check_vjp(
        lambda x: (np.abs(x), np.sign(x)),
        lambda d, sign: d * sign,
        SCORES + 5 * np.sign(SCORES),
        method="finite-difference",
    ).ok


noise = np.random.default_rng(0)


@pytest.mark.parametrize(
    ("arguments", "options", "error", "message"),
    [
        ((forward, backward, {"scores": MASK, "mask": MASK}), {}, ValueError, "inputs: expected at least one float32"),
        ((forward, backward, "scores"), {}, TypeError, "inputs: expected a dict, a tuple or an array, got str"),
        (
            (forward, backward, {"scores": SCORES * np.nan, "mask": MASK}),
            {},
            ValueError,
            r"inputs\['scores'\]: expected",
        ),
        ((lambda x: x, backward, SCORES), {}, TypeError, r"forward: expected \(output, cache\), got ndarray"),
        ((lambda x: (x, x, x), backward, SCORES), {}, TypeError, "got tuple of length 3"),
        ((lambda x: (x > 0, x), backward, SCORES), {}, TypeError, "forward: expected floating outputs, got bool"),
        ((lambda x: (x + np.inf, x), backward, SCORES), {}, ValueError, "forward: expected a finite output, got inf"),
        (
            (lambda x: (x + noise.standard_normal(), x), backward, SCORES),
            {},
            ValueError,
            "forward: two calls .* output 0",
        ),
        ((forward, lambda d, c: (d, d), INPUTS), {}, ValueError, r"backward: expected 1 gradients \(scores\), got 2"),
        (
            (forward, lambda d, c: {"mask": d}, INPUTS),
            {},
            ValueError,
            "backward: expected gradients of scores, got mask",
        ),
        ((forward, lambda d, c: None, INPUTS), {}, TypeError, "a floating array as gradient of scores, got NoneType"),
        ((forward, lambda d, c: MASK, INPUTS), {}, TypeError, "a floating array as gradient of scores, got bool"),
        ((forward, backward, INPUTS), {"batch_axis": 2}, ValueError, "batch_axis: expected an axis of output 0"),
        ((forward, backward, INPUTS), {"batch_axis": 0, "shared": ["W"]}, ValueError, "shared: expected names of diff"),
        (
            (linear_forward, linear_backward, LINEAR),
            {"batch_axis": 0},
            ValueError,
            r"batch_axis: expected 4 sequences on axis 0 of input 1, got shape \(3, 2\); inputs without",
        ),
    ],
)
def test_bad_input_is_one_clear_line(arguments, options, error, message):
    with pytest.raises(error, match=message) as caught:
        check_vjp(*arguments, **options)
    assert "\n" not in str(caught.value)


def test_a_missing_sum_over_the_batch_is_named():
    def forward(x, W, b):
        return x @ W + b, (x, W)

    def backward(dout, cache):
        x, W = cache
        return dout @ W.T, x.T @ dout, dout[0].copy()

    rng = np.random.default_rng(0)
    inputs = {"x": rng.standard_normal((3, 2)), "W": rng.standard_normal((2, 4)), "b": rng.standard_normal(4)}
    report = check_vjp(forward, backward, inputs, batch_axis=0, shared=["W", "b"])
    x, W, b = report.parameters
    assert (x.verdict, W.verdict, b.verdict) == ("ok", "ok", "wrong")
    assert b.diagnosis == "nothing comes from sequences 1, 2 of the batch: a missing sum"
    # Wrong all over is something else.
    report = check_vjp(
        forward, lambda d, c: (d @ c[1].T, c[0].T @ d, (d**3).sum(axis=0)), inputs, batch_axis=0, shared=["W", "b"]
    )
    assert report.parameters[2].diagnosis == "all 4 entries are wrong; no simple pattern: a missing or wrong term"


def test_a_backward_that_takes_the_cache_first_is_told():
    def dense(x, W):
        return x @ W, (x, W)

    def swapped(cache, dout):
        x, W = cache
        return dout @ W.T, x.T @ dout

    x, W = np.random.default_rng(1).standard_normal((2, 3, 3))
    with pytest.raises(
        TypeError, match=r"backward: expected backward\(dout, cache\), got one that takes the cache first"
    ):
        check_vjp(dense, swapped, (x, W))
    report = check_vjp(lambda x: (np.exp(x), np.exp(x)), lambda y, dout: y * dout**1, x)
    assert report.ok  # a product does not care
    report = check_vjp(lambda x: (x * x, x), lambda x, dout: 2 * x * dout**1 + 0 * x * x, x)
    assert report.ok
    report = check_vjp(lambda x: (x**3, x), lambda x, dout: 3 * x**2 * dout, x)
    assert (report.verdict, report.notes[-1]) == (
        "REFUTED",
        "It is right with its arguments the other way round: expected backward(dout, cache).",
    )


@pytest.mark.parametrize("mode", ["full", "directional"])
def test_the_cotangent_is_not_an_input_drawn_with_the_same_seed(mode):
    rng = np.random.default_rng(0)
    x, W = rng.standard_normal((3, 4)), rng.standard_normal((4, 4))

    def transposed(dy, cache):
        x, W = cache
        return dy @ W.T, dy.T @ x

    report = check_vjp(
        lambda x, W: (x @ W, (x, W)), transposed, {"x": x, "W": W}, batch_axis=0, shared=["W"], mode=mode
    )
    assert {row.name: row.verdict for row in report.parameters} == {"x": "ok", "W": "wrong"}
    assert report.parameters[1].diagnosis == "the transpose of the true gradient"


def test_on_a_kink_nothing_is_called_wrong():
    relu = check_vjp(lambda x: (np.maximum(x, 0), x), lambda d, x: d * (x > 0), np.array([0.0, 1.0, -1.0]))
    assert relu.verdict == "not analytic"
    assert "[0] sits on a kink (left 0, right" in relu.parameters[0].diagnosis
    assert not relu.ok


@pytest.mark.parametrize(
    ("forward", "backward", "x"),
    [
        (lambda x: (np.tanh(x),) * 2, lambda d, z: d * (1 - z * z), np.array([6.0, 7.0, 8.0])),
        (lambda x: (1 / (1 + np.exp(-x)),) * 2, lambda d, y: d * y * (1 - y), np.array([12.0, 14.0])),
    ],
)
def test_digits_that_cancel_are_no_mistake_where_the_algebra_is_proved(forward, backward, x):
    report = check_vjp(forward, backward, x)
    assert (report.verdict, report.measured, report.ok) == ("PROVED", "inconclusive", True)
    assert report.parameters[0].diagnosis.startswith("proved right, but accurate to ")
    assert check_vjp(forward, backward, x, method="complex-step").verdict == "wrong"
    assert check_vjp(forward, lambda d, z: 1.0001 * backward(d, z), x).verdict == "REFUTED"


class Node:
    def __init__(self, number, left, right):
        self.value, self.left, self.right = np.full(2, float(number)), left, right


def test_a_cache_whose_nodes_are_shared_is_looked_into_once():
    node = None
    for number in range(60):  # 2^60 paths
        node = Node(number, node, node)
    found = snapshot(node, "cache")
    assert len(found) == 60
    assert list(found)[:2] == ["cache.value", "cache.left.value"]


def test_a_long_chain_in_a_cache_is_no_recursion():
    node = None
    for number in range(1500):
        node = Node(number, node, None)
    assert len(snapshot(node, "cache")) == 1500


def test_one_array_in_two_places_is_named_at_both():
    shared = np.ones(2)
    assert list(snapshot({"a": shared, "b": [shared]}, "cache")) == ["cache['a']", "cache['b'][0]"]
