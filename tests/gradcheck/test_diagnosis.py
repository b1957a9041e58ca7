"""Each pattern of error is named, and patterns that are not there are not."""

import tracemalloc

import numpy as np
import pytest

from numpy_attention.gradcheck import check_gradients, check_vjp
from numpy_attention.gradcheck.diagnosis import Evidence, _reordered

rng = np.random.default_rng(5)
A = rng.standard_normal((6, 3))
M = rng.standard_normal((3, 3))
W = rng.standard_normal((3, 3))


def loss_function(W):
    return np.sum(np.sin(A @ W) @ M)


TRUE = A.T @ (np.cos(A @ W) * M.sum(axis=1))


def diagnosis(gradient, **options):
    return check_gradients(loss_function, W, gradient, **options).parameters[0].diagnosis


@pytest.mark.parametrize("method", ["complex-step", "finite-difference"])
@pytest.mark.parametrize(
    ("factor", "name"),
    [
        (2, "2 times the true gradient: a constant factor = 2"),
        (0.5, "0.5 times the true gradient: a constant factor = 1/2"),
        (-1, "-1 times the true gradient: a constant factor = -1"),
        (-2, "-2 times the true gradient: a constant factor = -2"),
        (7, "7 times the true gradient: a constant factor = T"),
        (1 / 7, "0.142857 times the true gradient: a constant factor = 1/T"),
        (-1 / 3, "-0.333333 times the true gradient: a constant factor = -1/B"),
        (1.0005, "1.0005 times the true gradient: a constant factor"),
    ],
)
def test_constant_factors(factor, name, method):
    assert diagnosis(factor * TRUE, factors={"T": 7, "B": 3}, method=method) == name


def test_factors_of_equal_value_are_all_named():
    assert diagnosis(2 * TRUE, factors={"B": 2}).endswith("= 2 = B")


def test_a_single_number_has_a_factor_only_if_it_is_a_known_one():
    def of(factor):
        report = check_gradients(lambda x: np.sum(x**3), np.array([2.0]), factor * np.array([12.0]))
        return report.parameters[0].diagnosis

    assert of(1.3) == "the only entry is wrong"
    assert of(2.0) == "2 times the true gradient: a constant factor = 2"


def test_transpose():
    assert diagnosis(TRUE.T.copy()) == "the transpose of the true gradient"


def test_transposed_blocks_of_a_stack():
    x = rng.standard_normal((2, 3, 3))
    gradient = np.cos(x)
    report = check_gradients(lambda x: np.sum(np.sin(x)), x, gradient.swapaxes(1, 2).copy())
    assert report.parameters[0].diagnosis == "the transpose of the true gradient"


def test_missing_terms():
    assert diagnosis(np.zeros((3, 3))) == "the whole gradient is zero: a missing term"
    rows, column = TRUE.copy(), TRUE.copy()
    rows[:2] = 0
    column[:, 1] = 0
    assert diagnosis(rows) == "rows 0, 1 are zero, the rest is right: a missing term"
    assert diagnosis(column) == "column 1 is zero, the rest is right: a missing term"


def test_wrong_in_some_places_only():
    wrong = TRUE.copy()
    wrong[:, 2] += rng.standard_normal(3)
    assert diagnosis(wrong) == "only column 2 is wrong"


def test_entries_of_a_vector():
    x = np.arange(1.0, 9.0)
    wrong = 2 * x
    wrong[[0, 3]] = 0
    found = check_gradients(lambda x: np.sum(x**2), x, wrong).parameters[0].diagnosis
    assert found == "entries 0, 3 are zero, the rest is right: a missing term"


def test_long_lists_are_cut():
    x = np.arange(1.0, 21.0)
    wrong = 2 * x
    wrong[:8] += 1
    found = check_gradients(lambda x: np.sum(x**2), x, wrong).parameters[0].diagnosis
    assert found == "only entries 0, 1, 2, 3, 4, 5, ... (8 in all) are wrong"


@pytest.mark.parametrize("form", ["array", "dict"])
def test_wrong_only_under_the_mask(form):
    mask = np.array([True, True, False])
    x = rng.standard_normal((3, 4))
    params, right = {"x": x, "c": np.ones(5)}, {"x": np.where(mask[:, None], np.cos(x), 0), "c": np.ones(5)}

    def loss(params):
        return np.sum(np.where(mask[:, None], np.sin(params["x"]), 0)) + np.sum(params["c"])

    leak = right["x"] + np.where(mask[:, None], 0, 0.1)
    given = mask if form == "array" else {"x": mask}
    report = check_gradients(loss, params, {**right, "x": leak}, mask=given)
    assert report.parameters[0].diagnosis == "wrong only where the mask is False"
    # Also wrong where the mask is True: it is not the padding's fault.
    leak[0, 0] += 0.1
    assert "mask" not in check_gradients(loss, params, {**right, "x": leak}, mask=given).parameters[0].diagnosis


def test_without_a_pattern_it_says_which_entries_are_wrong():
    noise = rng.standard_normal((3, 3))
    assert diagnosis(TRUE + noise) == "all 9 entries are wrong; no simple pattern: a missing or wrong term"
    corner = TRUE.copy()
    corner[:2, 1:] += noise[:2, 1:]
    assert (
        diagnosis(corner) == "4 of 9 entries are wrong, all in [0:2, 1:3]; no simple pattern: a missing or wrong term"
    )
    assert diagnosis(TRUE) == ""


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        (TRUE[:, ::-1], "the true gradient reversed along axis 1"),
        (TRUE[[2, 0, 1]], "the true gradient with axis 0 in the order 2, 0, 1"),
        (TRUE + 0.25, "off by 0.25 in every entry: a term too many or too few"),
        (TRUE + 0.1 * W, "off by 0.1 times params: a term too many or too few, such as a penalty"),
        (TRUE - TRUE.mean(axis=0), "the error is the same all along axis 0: a mean or a sum over it is missing"),
        (np.where(W > 0, TRUE, 2 * TRUE), "wrong exactly where params is negative: a mask that is missing"),
        (np.where(np.arange(3) == 1, -TRUE, TRUE), "only column 1 is wrong: -1 times the true gradient there"),
    ],
)
def test_more_patterns(wrong, sentence):
    assert diagnosis(np.ascontiguousarray(wrong)).startswith(sentence)


def test_axes_in_another_order_and_windows_that_were_assigned():
    x = rng.standard_normal((2, 3, 6))
    weights = rng.standard_normal((2, 3, 6))

    def loss(x):
        return np.sum(weights[:, :, 1:-1] * x[:, :, 1:-1] ** 2) + np.sum(x**3)

    true = 3 * x**2
    true[:, :, 1:-1] += 2 * weights[:, :, 1:-1] * x[:, :, 1:-1]
    told = check_gradients(loss, x, 3 * x**2).parameters[0].diagnosis
    assert (
        told
        == "24 of 36 entries are wrong, all in [:, :, 1:5], which leaves out both ends: = in place of += where windows overlap?"
    )
    cube = rng.standard_normal((3, 3, 3))
    report = check_gradients(lambda x: np.sum(x**3), cube, 3 * np.ascontiguousarray(cube.transpose(1, 2, 0)) ** 2)
    assert report.parameters[0].diagnosis == "the true gradient with its axes in the order (1, 2, 0)"


def test_the_path_through_a_variance_is_named():
    def norm(x):
        centred = x - x.mean(axis=1, keepdims=True)
        scale = np.sqrt((centred**2).mean(axis=1, keepdims=True) + 1e-5)
        return centred / scale, scale

    def without_variance(dout, scale):
        return (dout - dout.mean(axis=1, keepdims=True)) / scale

    report = check_vjp(norm, without_variance, rng.standard_normal((3, 5)))
    assert report.parameters[0].diagnosis.startswith(
        "along axis 1 the error is linear in input 0: the path through its mean"
    )


LARGE = rng.standard_normal((300, 300))
ROWS = rng.standard_normal((20, 300))


def of_large(W):
    return np.sum(np.tanh(ROWS @ W / 20) ** 2)


def gradient_of_large():
    z = np.tanh(ROWS @ LARGE / 20)
    return ROWS.T @ (2 * z * (1 - z * z)) / 20


def test_one_wrong_entry_of_ninety_thousand_is_found_in_sixty_evaluations():
    wrong = gradient_of_large()
    wrong[17, 203] *= 1.01
    report = check_gradients(of_large, LARGE, wrong, mode="directional")
    assert report.parameters[0].diagnosis == "only the entry [17, 203] is wrong"
    assert report.parameters[0].index == (17, 203)
    assert report.evaluations < 60


@pytest.mark.slow
@pytest.mark.parametrize("method", ["complex-step", "finite-difference"])
@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (
            lambda g: np.where(np.arange(300)[:, None] == 17, 2 * g, g),
            "only row 17 is wrong; in the 8 of 90,000 entries",
        ),
        (lambda g: np.where(np.arange(300) == 5, 0, g), "only column 5 is wrong; in the 8 of 90,000 entries"),
        (lambda g: -g, "in the 64 of 90,000 entries that were looked at: -1 times the true gradient"),
        (lambda g: g.T.copy(), "in the 64 of 90,000 entries that were looked at: the transpose of the true gradient"),
    ],
)
def test_slices_and_patterns_of_a_large_parameter(change, sentence, method):
    report = check_gradients(of_large, LARGE, change(gradient_of_large()), mode="directional", method=method)
    assert report.parameters[0].diagnosis.startswith(sentence)
    assert report.evaluations < (250 if method == "complex-step" else 4000)


KINDS = ["factor", "sign", "entry", "row", "column", "slice", "transpose", "zeroed", "reversed", "noise"]


def _called(axis, number, ndim):
    return f"index {number} of axis {axis}" if ndim > 2 else f"{('row', 'column')[axis]} {number}"


def spoilt(kind, true, rng):
    """A wrong gradient of this kind, and words that name it."""
    wrong, first, last = true.copy(), int(rng.integers(len(true))), int(rng.integers(true.shape[-1]))
    if kind == "factor":
        return wrong * (1 + 0.1 * rng.random()), "times the true gradient: a constant factor"
    if kind == "sign":
        return -wrong, "-1 times the true gradient"
    if kind == "entry":
        wrong.reshape(-1)[int(rng.integers(wrong.size))] += 0.1
        return wrong, "only the entry"
    if kind in ("row", "slice"):
        wrong[first] += 0.1 * rng.standard_normal(wrong[first].shape)
        return wrong, f"{_called(0, first, wrong.ndim)} is wrong"
    if kind == "column":
        wrong[..., last] *= -1
        return wrong, f"{_called(wrong.ndim - 1, last, wrong.ndim)} is wrong: -1 times the true gradient there"
    if kind == "transpose":
        return np.ascontiguousarray(np.swapaxes(wrong, -1, -2)), "the transpose of the true gradient"
    if kind == "zeroed":
        wrong[first] = 0
        return wrong, "zero, the rest is right: a missing term"
    if kind == "reversed":
        return np.ascontiguousarray(wrong[::-1]), "reversed along axis 0"
    return wrong + 0.01 * rng.standard_normal(wrong.shape), "no simple pattern"


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_two_hundred_wrong_gradients_are_located_and_most_are_named(kind):
    named = 0
    for seed in range(20):
        rng = np.random.default_rng([seed, *kind.encode()])
        shape = (5, 4, 4) if kind == "slice" or seed % 3 == 0 else (6, 6)
        x, A = rng.standard_normal(shape), rng.standard_normal(shape)

        def loss(x, A=A):
            return np.sum(np.sin(A * x) * A)

        true = np.cos(A * x) * A * A
        wrong, words = spoilt(kind, true, rng)
        row = check_gradients(loss, x, wrong, mode=("full", "directional")[seed % 2], seed=seed).parameters[0]
        assert row.verdict == "wrong"
        assert wrong[row.index] != true[row.index]  # located
        named += words in row.diagnosis
    assert named >= 15


def test_a_factor_close_to_one_is_told_from_it_and_from_factors_that_are_one():
    factors = {"T": 1, "B": 3}
    assert diagnosis((1 + 1e-6) * TRUE, factors=factors) == "1 + 1.0e-06 times the true gradient: a constant factor"
    assert diagnosis((1 - 2e-5) * TRUE, factors=factors) == "1 - 2.0e-05 times the true gradient: a constant factor"
    assert diagnosis(3 * (1 + 1e-8) * TRUE, factors=factors) == "3 times the true gradient: a constant factor"
    assert diagnosis(-TRUE, factors=factors) == "-1 times the true gradient: a constant factor = -1"


def test_the_order_of_a_large_matrix_is_not_looked_for():
    true = rng.standard_normal((64, 5000))
    case = Evidence("W", true[::-1] + 1, true, 0.0, 1.0, 1.0, 1e-9, {}, None, {})
    tracemalloc.start()
    try:
        assert _reordered(case) == ""
        assert tracemalloc.get_traced_memory()[1] < 10 * true.nbytes
    finally:
        tracemalloc.stop()
