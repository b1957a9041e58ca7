"""Each pattern of error is named, and patterns that are not there are not."""

import numpy as np
import pytest

from numpy_attention.gradcheck import check_gradients

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

    assert of(1.3) == ""
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


def test_no_pattern_no_diagnosis():
    assert diagnosis(TRUE + rng.standard_normal((3, 3))) == ""
    assert diagnosis(TRUE) == ""


def test_a_factor_close_to_one_is_told_from_it_and_from_factors_that_are_one():
    factors = {"T": 1, "B": 3}
    assert diagnosis((1 + 1e-6) * TRUE, factors=factors) == "1 + 1.0e-06 times the true gradient: a constant factor"
    assert diagnosis((1 - 2e-5) * TRUE, factors=factors) == "1 - 2.0e-05 times the true gradient: a constant factor"
    assert diagnosis(3 * (1 + 1e-8) * TRUE, factors=factors) == "3 times the true gradient: a constant factor"
    assert diagnosis(-TRUE, factors=factors) == "-1 times the true gradient: a constant factor = -1"
