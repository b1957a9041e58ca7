"""A loss that the complex step does not apply to never passes, and is never called a wrong gradient."""

from functools import partial

import numpy as np
import pytest

from numpy_attention.gradcheck import NotAnalyticError, complex_step_gradient
from numpy_attention.gradcheck import check_gradients as check

check_gradients = partial(check, method="complex-step")

rng = np.random.default_rng(2)
PARAMS = {"a": rng.standard_normal((3, 4)), "b": rng.standard_normal(5)}
COS = {name: np.cos(p) for name, p in PARAMS.items()}


def smooth(p):
    return sum(np.sum(np.sin(part)) for part in p.values())


def with_abs(p):
    return smooth(p) + 0.1 * np.abs(p["a"])[1, 2]


def with_real(p):
    return smooth(p) + p["b"][3].real ** 2


def with_conj(p):
    return smooth(p) + (p["b"] * p["b"].conj())[0]


def with_norm(p):
    return smooth(p) + np.linalg.norm(p["b"][:1])


@pytest.mark.parametrize("mode", ["full", "directional"])
@pytest.mark.parametrize(
    ("loss", "name", "index", "missing"),
    [
        (with_abs, "a", (1, 2), 0.1 * np.sign(PARAMS["a"][1, 2])),
        (with_real, "b", (3,), 2 * PARAMS["b"][3]),
        (with_conj, "b", (0,), 2 * PARAMS["b"][0]),
        (with_norm, "b", (0,), np.sign(PARAMS["b"][0])),
    ],
)
@pytest.mark.parametrize("right", [True, False])
def test_what_is_lost_in_silence_is_found_and_placed(loss, name, index, missing, right, mode):
    gradients = {key: g.copy() for key, g in COS.items()}
    if right:  # otherwise the gradient has the same gap as the complex step, which then agrees with it
        gradients[name][index] += missing
    report = check_gradients(loss, PARAMS, gradients, mode=mode)
    assert report.verdict == "not analytic"
    found = next(row for row in report.parameters if row.verdict != "ok")
    assert found.name == name
    assert f"not complex-analytic in {name}[{', '.join(map(str, index))}]" in found.diagnosis
    assert "method='finite-difference'" in found.diagnosis
    assert check_gradients(loss, PARAMS, gradients, method="finite-difference").ok == right


def test_a_part_too_small_for_the_directions_is_found_at_the_entry():
    def loss(p):
        return smooth(p) + 1e-9 * np.abs(p["a"]).sum()

    report = check_gradients(loss, PARAMS, {**COS, "a": COS["a"] + 1e-9 * np.sign(PARAMS["a"])})
    assert report.verdict == "not analytic"
    assert "agrees with the given gradient" in report.parameters[0].diagnosis


@pytest.mark.parametrize("mode", ["full", "directional"])
def test_a_discarded_imaginary_part_is_reported_with_its_line(mode):
    def loss(p):
        buffer = np.empty(5)
        buffer[:] = p["b"]
        return smooth({"a": p["a"]}) + np.sum(np.sin(buffer))

    report = check_gradients(loss, PARAMS, COS, mode=mode)
    assert [row.verdict for row in report.parameters] == ["ok", "not analytic"]
    line = loss.__code__.co_firstlineno + 2
    assert f"an imaginary part is discarded in loss (test_analytic.py, line {line})" in report.parameters[1].diagnosis


def test_code_that_refuses_complex_numbers_is_reported_with_its_line():
    def loss(p):
        total = smooth(p)
        return total + np.floor(p["b"]).sum()

    report = check_gradients(loss, PARAMS, COS)
    assert report.parameters[1].verdict == "not analytic"
    assert f"line {loss.__code__.co_firstlineno + 2}" in report.parameters[1].diagnosis
    # While a is perturbed b stays real, so what b goes through does not matter to it.
    assert report.parameters[0].verdict == "ok"


def test_a_buffer_that_cannot_take_the_mixture_gets_everything_complex():
    def loss(p):
        buffer = np.empty(5, dtype=p["b"].dtype)
        buffer[:] = p["a"][0, 0] * p["b"]
        return np.sum(buffer)

    a = np.zeros((3, 4))
    a[0, 0] = PARAMS["b"].sum()
    assert check_gradients(loss, PARAMS, {"a": a, "b": np.full(5, PARAMS["a"][0, 0])}).ok


def test_comparisons_and_maxima_of_complex_values_are_no_obstacle():
    x = rng.standard_normal(20)
    assert check_gradients(lambda x: np.sum(np.maximum(x, 0) ** 2), x, 2 * np.maximum(x, 0)).ok
    assert check_gradients(lambda x: np.sum(np.where(x > 0, x, 0)), x, (x > 0) * 1.0).ok


def test_an_infinite_complex_loss_is_not_analytic():
    def loss(x):
        return np.sum(x) if np.isrealobj(x) else np.inf

    report = check_gradients(loss, np.ones(3), np.ones(3))
    assert report.verdict == "not analytic"
    assert "at the complex parameter params[0] + ih" in report.parameters[0].diagnosis


def test_a_comparison_that_cannot_be_made_is_inconclusive():
    def loss(x):  # finite only at the one point
        return np.sum(x) if np.array_equal(x.real, np.ones(3)) else np.nan

    report = check_gradients(loss, np.ones(3), np.ones(3))
    assert (report.verdict, report.ok) == ("inconclusive", False)
    assert "not finite at any step" in report.parameters[0].diagnosis
    assert check_gradients(loss, np.ones(3), np.ones(3), mode="directional").verdict == "inconclusive"


def test_the_gradient_alone_raises():
    with pytest.raises(NotAnalyticError, match=r"imaginary part is discarded in <lambda>"):
        complex_step_gradient(lambda x: float(np.sum(x)), np.ones(3))
    with pytest.raises(NotAnalyticError, match="<lambda>"):
        complex_step_gradient(lambda x: np.sum(np.floor(x)), np.ones(3))


def test_a_part_that_is_lost_from_a_small_gradient_is_found_though_the_others_are_cleared_at_once():
    def loss(p):
        return np.sum(np.sin(p["a"])) + 1e-7 * np.sum(np.abs(p["b"]) + np.sin(p["b"]))

    # The gradient of b has the same gap as the complex step.
    report = check_gradients(loss, PARAMS, {"a": COS["a"], "b": 1e-7 * COS["b"]})
    assert [row.verdict for row in report.parameters] == ["ok", "not analytic"]


@pytest.mark.parametrize("mode", ["full", "directional"])
def test_a_lost_part_of_a_ten_millionth_is_found_along_the_directions(mode):
    # The gradient has the same gap as the complex step.
    x = np.random.default_rng(8).standard_normal(6)
    report = check_gradients(lambda x: np.sum(np.sin(x)) + 3e-7 * np.sum(np.abs(x)), x, np.cos(x), mode=mode)
    assert report.verdict == "not analytic"


def test_parameters_are_cleared_at_once_or_one_by_one():
    def evaluations(loss, count):
        params = {f"p{i}": np.full(3, 0.5) for i in range(count)}
        return check_gradients(loss, params, {name: np.cos(p) for name, p in params.items()}).evaluations

    # Twice to see that it is repeatable, once more per parameter to try the mixture, once per entry, and one difference.
    assert evaluations(smooth, 10) == 2 + 10 + 30 + 7
    params = {"a": PARAMS["a"], "b": PARAMS["b"]}
    report = check_gradients(with_abs, params, COS)
    assert report.evaluations > 2 + 2 + 17 + 4 + 4


@pytest.mark.parametrize("mode", ["full", "directional"])
@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(("width", "confirmed"), [(1e-5, True), (1e-6, True), (1e-7, True), (1e-9, False)])
def test_a_bend_too_narrow_for_a_real_difference_is_no_fault(width, confirmed, seed, mode):
    def loss(x):
        return np.sum(np.sqrt(x * x + width**2))

    x = np.array([0.1 * width, -0.2 * width, 0.5])
    gradient = x / np.sqrt(x * x + width**2)
    report = check_gradients(loss, x, gradient, mode=mode, seed=seed)
    wrong = check_gradients(loss, x, 1.0005 * gradient, mode=mode, seed=seed)
    if confirmed:
        assert report.ok, report
        assert wrong.parameters[0].diagnosis == "1.0005 times the true gradient: a constant factor"
    else:  # what is not confirmed is neither right nor wrong
        assert (report.verdict, wrong.verdict) == ("inconclusive", "inconclusive")
        assert "the real difference does not settle" in str(report)


def beside_zero(part, right, b):
    """A loss with a smooth part and one that loses its imaginary part; the right gradient, and one without the part."""
    a = np.array([0.3, -0.5])

    def loss(p):
        return np.sum(np.tanh(p["a"])) + np.sum(part(p["b"]))

    return loss, {"a": a, "b": b}, {"a": 1 - np.tanh(a) ** 2, "b": right}


TINY = np.array([1e-6, -2e-6])
UNCONFIRMED = {
    "an L1 penalty at weights of 1e-6": beside_zero(np.abs, np.sign(TINY), TINY),
    "an L1 penalty at weights of 1e-10": beside_zero(np.abs, np.sign(TINY), 1e-4 * TINY),
    "a leaky relu by abs": beside_zero(lambda b: 0.55 * b + 0.45 * np.abs(b), 0.55 + 0.45 * np.sign(TINY), 0.1 * TINY),
    "a division by a norm": beside_zero(
        lambda b: (b / np.linalg.norm(b))[:1], np.array([0.8, -0.6]) * 12e6, 0.04 * TINY
    ),
    "abs beside a constant of 1e9": beside_zero(
        lambda b: np.abs(b) + 1e9, np.array([1.0, -1.0]), np.array([0.3, -0.5])
    ),
}


@pytest.mark.parametrize("mode", ["full", "directional"])
@pytest.mark.parametrize("name", UNCONFIRMED)
def test_what_is_not_confirmed_is_neither_right_nor_wrong(name, mode):
    loss, params, right = UNCONFIRMED[name]
    for gradients in (right, {**right, "b": np.zeros(2)}):
        for method in ("complex-step", "auto"):
            report = check(loss, params, gradients, mode=mode, method=method, show_progress=False)
            assert report.verdict in ("inconclusive", "not analytic"), (method, report)


@pytest.mark.parametrize("mode", ["full", "directional"])
def test_the_edge_of_the_domain_next_to_the_point_is_no_fault(mode):
    # Differences of the usual step leave the domain and have no value.
    x = 10.0 ** -np.arange(7.0)
    report = check_gradients(lambda x: np.sum(np.log(x)), x, 1 / x, mode=mode)
    assert report.ok, report
    assert "settle" not in str(report)
    wrong = check_gradients(lambda x: np.sum(np.log(x)), x, 1.0005 / x, mode=mode)
    assert wrong.verdict == "wrong"
    assert wrong.parameters[0].diagnosis == "1.0005 times the true gradient: a constant factor"


@pytest.mark.parametrize("lost", [False, True])
def test_kinks_all_around_hide_no_lost_part_and_are_none(lost):
    # 2000 rectified numbers: every step of a difference crosses some of their kinks.
    rng = np.random.default_rng(0)
    A, W, weights = rng.standard_normal((500, 30)), rng.standard_normal((30, 4)), np.arange(1.0, 5.0)

    def loss(W):
        return np.sum(np.maximum(A @ W, 0) * weights) / 500 + lost * 1e-3 * np.abs(W[3, 2])

    report = check_gradients(loss, W, A.T @ ((A @ W > 0) * weights) / 500)
    assert report.verdict == ("not analytic" if lost else "ok")
    assert ("params[3, 2]" in report.parameters[0].diagnosis) == lost


@pytest.mark.parametrize("mode", ["full", "directional"])
@pytest.mark.parametrize("slope", [0.0, 0.5, 1.0])
def test_a_kink_is_called_a_kink(slope, mode):
    report = check_gradients(
        lambda x: np.sum(np.maximum(x, 0)), np.array([0.0, 1.0, 2.0]), np.array([slope, 1.0, 1.0]), mode=mode
    )
    assert report.verdict == "not analytic"
    assert report.parameters[0].diagnosis == "params[0] sits on a kink (left 0, right 1): move the point"
