"""The exact method: what is right is proved, what is wrong never is, and what cannot be decided says why."""

import functools
import threading

import numpy as np
import pytest
import scipy.special
from hypothesis import given, settings
from hypothesis import strategies as st

from numpy_attention.gradcheck import check_gradients, check_hessian, check_vjp
from numpy_attention.gradcheck.exact.arrays import ExactArray
from numpy_attention.gradcheck.exact.field import BITS, Field, Gauss, random_prime
from numpy_attention.gradcheck.exact.numbers import Exact
from numpy_attention.gradcheck.proofs import BUDGET
from numpy_attention.gradcheck.vjp import prove_vjp

rng = np.random.default_rng(0)
X = rng.standard_normal((3, 4))
POSITIVE = rng.uniform(0.2, 0.8, (3, 4))


def prove(forward, backward, inputs=X, **options):
    return check_vjp(forward, backward, inputs, method="exact", show_progress=False, **options)


def unary(function, derivative, inputs=X):
    """An elementwise function and its derivative as an operation."""
    return prove(lambda x: (function(x), x), lambda d, x: d * derivative(x), inputs)


DERIVATIVES = {
    "exp": (np.exp, np.exp),
    "log": (np.log, lambda x: 1 / x),
    "sqrt": (np.sqrt, lambda x: 0.5 * x**-0.5),
    "tanh": (np.tanh, lambda x: 1 - np.tanh(x) ** 2),
    "sin": (np.sin, np.cos),
    "cos": (np.cos, lambda x: -np.sin(x)),
    "tan": (np.tan, lambda x: 1 + np.tan(x) ** 2),
    "sinh": (np.sinh, np.cosh),
    "cosh": (np.cosh, np.sinh),
    "arctan": (np.arctan, lambda x: 1 / (1 + x * x)),
    "arcsin": (np.arcsin, lambda x: 1 / np.sqrt(1 - x * x)),
    "arccos": (np.arccos, lambda x: -1 / np.sqrt(1 - x * x)),
    "arcsinh": (np.arcsinh, lambda x: 1 / np.sqrt(1 + x * x)),
    "arctanh": (np.arctanh, lambda x: 1 / (1 - x * x)),
    "expm1": (np.expm1, np.exp),
    "log1p": (np.log1p, lambda x: 1 / (1 + x)),
    "square": (np.square, lambda x: 2 * x),
    "reciprocal": (np.reciprocal, lambda x: -1 / x**2),
    "power": (lambda x: x**3, lambda x: 3 * x**2),
    "half power": (lambda x: x**1.5, lambda x: 1.5 * np.sqrt(x)),
    "power of a quarter": (lambda x: x**0.25, lambda x: 0.25 * x**0.25 / x),
    "logistic": (scipy.special.expit, lambda x: scipy.special.expit(x) * (1 - scipy.special.expit(x))),
    "logistic by tanh": (lambda x: 1 / (1 + np.exp(-x)), lambda x: 0.25 * (1 - np.tanh(x / 2) ** 2)),
    "softplus": (lambda x: np.logaddexp(0, x), lambda x: 1 / (1 + np.exp(-x))),
    "log of exp": (lambda x: np.log(np.exp(x)), lambda x: x / x),
}


@pytest.mark.parametrize("name", DERIVATIVES)
def test_a_function_and_its_derivative_are_proved(name):
    assert unary(*DERIVATIVES[name], POSITIVE).verdict == "PROVED"


@pytest.mark.parametrize("name", DERIVATIVES)
@pytest.mark.parametrize("change", ["factor", "offset", "sign"])
def test_a_change_too_small_to_be_measured_is_never_proved(name, change):
    function, derivative = DERIVATIVES[name]
    wrong = {
        "factor": lambda x: derivative(x) * (1 + 2.0**-52),
        "offset": lambda x: derivative(x) + 2.0**-1000,
        "sign": lambda x: -derivative(x),
    }[change]
    assert unary(function, wrong, POSITIVE).verdict == ("REFUTED" if change == "sign" else "CANNOT PROVE")


BRANCHES = {
    "relu": (lambda x: np.maximum(x, 0), lambda x: x > 0),
    "where": (lambda x: np.where(x > 0.1, x * x, 3 * x), lambda x: np.where(x > 0.1, 2 * x, 3)),
    "abs": (np.abs, np.sign),
    "clip": (lambda x: np.clip(x, -0.5, 0.5), lambda x: (x > -0.5) & (x < 0.5)),
    "rounded": (lambda x: x * np.floor(4 * x), lambda x: np.floor(4 * x)),
}


@pytest.mark.parametrize("name", BRANCHES)
def test_decisions_follow_the_floats(name):
    assert unary(*BRANCHES[name]).verdict == "PROVED"


def test_a_backward_wrong_in_one_branch_is_refuted_where_a_point_takes_it():
    right_above = (lambda x: np.maximum(x, 0.2 * x), lambda x: np.ones_like(x))
    assert unary(*right_above, POSITIVE).verdict == "PROVED"
    assert unary(*right_above, -POSITIVE).verdict == "REFUTED"


def test_points_count_the_paths_that_they_take():
    pair = (lambda x: (np.maximum(x, 0), x), lambda d, x: d * (x > 0))
    proof = prove(*pair, np.array([0.5, -0.5]), points=40).proof
    assert (proof.points, len(set(proof.paths))) == (40, 4)
    assert "4 different paths, taken at 40 points" in str(proof)


def test_sorting_and_indexing_follow_the_floats():
    def forward(x):
        order = np.argsort(x, axis=1)
        return np.cumsum(np.sort(x, axis=1), axis=1), order

    def backward(d, order):
        dx = np.zeros(d.shape)
        np.put_along_axis(dx, order, np.cumsum(d[:, ::-1], axis=1)[:, ::-1], axis=1)
        return dx

    assert prove(forward, backward).verdict == "PROVED"


def dense(x, W, b):
    return np.tanh(x @ W + b), (x, W, np.tanh(x @ W + b))


def dense_backward(d, cache):
    x, W, z = cache
    da = d * (1 - z * z)
    return da @ W.T, x.T @ da, da.sum(axis=0)


def dense_inputs(rng, B, K, N):
    return rng.standard_normal((B, K)), rng.standard_normal((K, N)), rng.standard_normal(N)


def test_every_shape_up_to_three():
    report = prove(dense, dense_backward, dense_inputs, every_shape=True)
    assert report.verdict == "PROVED"
    assert report.proof.shapes == 27
    assert "for each of 27 sets of shapes" in str(report)


def test_a_backward_wrong_at_one_shape_alone_is_not_proved():
    def wrong(d, cache):
        dx, dW, db = dense_backward(d, cache)
        return dx, dW, db if d.shape != (3, 1) else db + 1

    report = prove(dense, wrong, dense_inputs, every_shape=True)
    assert (report.verdict, report.ok) == ("REFUTED", False)
    assert "At B = 3, K = 1, N = 1." in str(report)
    assert report.parameters[2].verdict == "wrong"


def test_inputs_that_ignore_their_sizes_prove_nothing_for_every_shape():
    report = prove(dense, dense_backward, lambda B: (X, X.T.copy(), np.ones(3)), every_shape=True)
    assert report.verdict == "CANNOT PROVE"
    assert "the inputs have the same shapes for all B" in str(report)


def test_every_shape_needs_a_function_of_sizes():
    with pytest.raises(ValueError, match="every_shape: expected inputs as a function of their sizes, got arrays"):
        prove(dense, dense_backward, (X, X.T.copy(), np.ones(3)), every_shape=True)


def test_the_report_says_what_is_proved_and_what_is_measured():
    report = check_vjp(dense, dense_backward, dense_inputs)
    assert report.ok
    assert "gradient check: PROVED" in str(report)
    assert "The algebra is right: proved for these shapes and the path taken. A wrong backward would pass" in str(
        report
    )
    assert "The arithmetic is accurate to" in str(report)
    assert 0 < report.proof.bound < 1e-20


def test_the_input_with_the_wrong_gradient_is_named():
    def wrong(d, cache):
        dx, dW, db = dense_backward(d, cache)
        return dx, 2 * dW, db

    report = prove(dense, wrong, dense_inputs)
    assert (report.verdict, report.proof.wrong) == ("REFUTED", ("input 1",))
    assert report.parameters[1].diagnosis == "2 times the true gradient: a constant factor = 2"


@pytest.mark.parametrize("seed", range(5))
def test_a_gradient_that_is_right_to_rounding_alone_is_not_accused(seed):
    x = np.random.default_rng(seed).standard_normal((2, 7))

    def backward(d, x):
        return np.repeat(d[:, None] / 7, 7, axis=1)

    rounded = check_vjp(lambda x: (x.sum(axis=1) * (1 / 7), x), backward, x)
    assert (rounded.verdict, rounded.proof.verdict) == ("ok", "CANNOT PROVE")
    assert "0.14285714285714285 (test_exact.py, line" in str(rounded)
    assert check_vjp(lambda x: (x.mean(axis=1), x), backward, x).verdict == "PROVED"


REFUSED = {
    "solve": (lambda x: np.linalg.solve(x[:3, :3], x[:, 3]), "np.linalg.solve has no exact form"),
    "scipy": (scipy.special.gammaln, "scipy.special.gammaln has no exact form"),
    "single precision": (lambda x: x.astype(np.float32).astype(np.float64), "a float cannot hold an exact number"),
    "a float": (lambda x: x * float(x[0, 0]), "a float cannot hold an exact number"),
    "fft": (lambda x: np.fft.rfft(x).real, "has no exact form"),
    "an error": (lambda x: x if x.dtype.kind != "O" else 1 / 0, "the code raises ZeroDivisionError"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_has_no_exact_form_is_named_with_its_place(name):
    function, reason = REFUSED[name]
    report = check_vjp(lambda x: (function(x), x.shape), lambda d, shape: np.zeros(shape), POSITIVE, method="exact")
    assert (report.ok, report.proof.verdict) == (False, "CANNOT PROVE")
    assert reason in report.proof.reason
    assert "test_exact.py, line" in report.proof.reason


def test_a_point_on_a_kink_is_refused():
    tie = np.array([0.5, 0.5, 0.25])
    report = check_vjp(lambda x: (np.max(x), x), lambda d, x: d * (x == np.max(x)), tie, method="exact")
    assert "two different numbers are equal here (0.5), a kink: move the point" in report.proof.reason


def test_a_backward_that_returns_floats_is_not_proved():
    def backward(d, cache):
        return np.frombuffer(np.arange(12.0).tobytes()).reshape(3, 4)

    report = check_vjp(lambda x: (np.exp(x), None), backward, X, method="exact")
    assert "given exact numbers, the backward returns floats as the gradient of input 0" in report.proof.reason
    assert not report.ok


def test_a_refusal_that_the_code_catches_is_still_one():
    def forward(x):
        try:
            return np.linalg.det(x[:3, :3]) * x, x
        except Exception:  # another way, which is not the one that floats take
            return x, x

    report = check_vjp(forward, lambda d, x: d, X, method="exact")
    assert report.proof.verdict == "CANNOT PROVE"
    assert "np.linalg.det has no exact form" in report.proof.reason


def test_code_that_is_right_for_exact_numbers_alone_is_wrong():
    report = check_vjp(lambda x: (np.exp(x), np.exp(x)), lambda d, y: d * y if y.dtype == object else 2 * d * y, X)
    assert (report.proof.verdict, report.verdict, report.ok) == ("PROVED", "wrong", False)


def test_single_precision_is_not_proved():
    report = check_vjp(lambda x: (2 * x, None), lambda d, cache: 2 * d, X.astype(np.float32), method="exact")
    assert "input 0 is float32" in report.proof.reason


def test_what_is_too_large_is_refused_and_measured():
    big = rng.standard_normal((60, 60))
    report = check_vjp(lambda x: (x @ x, x), lambda d, x: d @ x.T + x.T @ d, big, mode="directional")
    assert report.verdict == "ok"
    assert "more than 400,000 operations at these sizes; smaller ones prove as much" in report.proof.reason


def test_buffers_of_floats_hold_exact_numbers_in_the_code_that_is_run():
    def forward(x):
        out = np.empty((x.shape[0], x.shape[1] - 1))
        for t in range(out.shape[1]):
            out[:, t] = x[:, t] * x[:, t + 1]
        return out, x

    def backward(d, x):
        dx = np.zeros(x.shape, dtype=np.float64)
        for t in range(d.shape[1]):
            dx[:, t] += d[:, t] * x[:, t + 1]
            dx[:, t + 1] += d[:, t] * x[:, t]
        return dx

    assert prove(forward, backward).verdict == "PROVED"
    assert type(np.zeros(2)) is np.ndarray


def test_compiled_code_gets_the_arrays_that_it_asks_for():
    def forward(x):
        noise = np.random.default_rng(0).standard_normal(x.shape)  # makes its array by NumPy's empty
        return x * noise, noise

    # The noise fills all digits of a float, but both passes use the same.
    assert prove(forward, lambda d, noise: d * noise).verdict == "PROVED"


def test_other_threads_get_floats_meanwhile():
    found, inside, done = [], threading.Event(), threading.Event()

    def other():
        inside.wait(10)
        found.append(np.zeros(3).dtype)
        done.set()

    def forward(x):
        inside.set()
        done.wait(10)
        return np.zeros(x.shape) + x, None

    thread = threading.Thread(target=other)
    thread.start()
    assert prove(forward, lambda d, cache: d).verdict == "PROVED"
    thread.join()
    assert found == [np.float64]


def test_a_function_of_the_gradients_is_proved_and_numbers_are_measured():
    W = rng.standard_normal((4, 4))

    def loss(p):
        return np.sum(np.tanh(p["W"] @ p["b"]) ** 2)

    def gradients(p):
        z = np.tanh(p["W"] @ p["b"])
        da = 2 * z * (1 - z * z)
        return {"W": np.outer(da, p["b"]), "b": p["W"].T @ da}

    params = {"W": W, "b": rng.standard_normal(4)}
    assert check_gradients(loss, params, gradients).verdict == "PROVED"
    assert check_gradients(loss, params, gradients(params)).verdict == "ok"
    numbers = check_gradients(loss, params, gradients(params), method="exact")
    assert numbers.verdict == "CANNOT PROVE"
    assert "a proof needs the function that computes the gradients" in str(numbers)
    doubled = check_gradients(loss, params, lambda p: {name: 2 * g for name, g in gradients(p).items()})
    assert doubled.verdict == "REFUTED"


def test_a_loss_with_a_modulus_is_measured_by_differences_where_it_cannot_be_proved():
    x = np.array([0.3, -0.4, 2.0])
    right = check_gradients(lambda x: np.sum(np.abs(x)), x, np.sign(x))
    assert (right.verdict, right.method) == ("ok", "finite-difference")
    assert "The complex step does not apply" in str(right)
    assert check_gradients(lambda x: np.sum(np.abs(x)), x, -np.sign(x)).verdict == "wrong"


def test_the_symmetry_of_second_derivatives_is_proved_or_refuted():
    x = np.array([0.3, -0.5, 0.7])
    right = check_hessian(lambda x: np.tanh(x.sum()) * np.ones_like(x), x)
    assert (right.ok, right.proof.verdict) == (True, "PROVED")
    assert "Hessian: PROVED" in str(right)
    wrong = check_hessian(np.cumsum, x)
    assert (wrong.ok, wrong.proof.verdict) == (False, "REFUTED")


# Square roots: a finite field cannot tell which of two is positive.


def root_of_product(backward):
    """sqrt(a b) of negative numbers, and a gradient that is a multiple of ``backward(a, b)``."""
    negative = np.array([-2.0, -1.5]), np.array([-3.0, -0.5])
    return (
        lambda a, b: (np.sqrt(a * b), (a, b)),
        lambda d, cache: (0.5 * d * backward(*cache), 0.5 * d / backward(*cache)),
        negative,
    )


def split_root(a, b):
    return np.sqrt(-b) / np.sqrt(-a)


# By name: forward, a wrong backward, inputs.
WRONG_ROOTS = {
    "of a square": (lambda x: (np.sqrt(x * x), x), lambda d, x: d * 1.0, np.array([-2.0])),
    "of squares": (lambda x: (np.sqrt(x**2), x), lambda d, x: d * np.array([1, -1]), np.array([-2.0, -1.0])),
    "std of two": (
        lambda x: (x.std(axis=1), x),
        lambda d, x: d[:, None] * np.array([0.5, -0.5]),
        np.array([[1.0, 2.0], [0.5, 3.0]]),
    ),
    "of a product, split": root_of_product(split_root),
    "of a product and a quotient": root_of_product(lambda a, b: np.sqrt(b / a)),
}


@pytest.mark.parametrize("name", WRONG_ROOTS)
@pytest.mark.parametrize("seeds", [12, pytest.param(300, marks=pytest.mark.slow)])
def test_a_wrong_sign_of_a_square_root_is_never_proved(name, seeds):
    unsure = "CANNOT PROVE" if name == "of a product and a quotient" else "REFUTED"
    assert {prove_vjp(*WRONG_ROOTS[name], seed=seed).verdict for seed in range(seeds)} == {unsure}


RIGHT_ROOTS = {
    "of a square": (lambda x: (np.sqrt(x * x), x), lambda d, x: d * np.sign(x), np.array([-2.0, 3.0])),
    "std of two": (
        lambda x: (x.std(axis=1), x),
        lambda d, x: d[:, None] * np.array([0.5, -0.5]),
        np.array([[2.0, 1.0], [3.0, 0.5]]),
    ),
    "of a product, split": root_of_product(lambda a, b: -split_root(a, b)),
    "of an inverse": (lambda x: (np.sqrt(1 / x), x), lambda d, x: -0.5 * d / (x * np.sqrt(x)), POSITIVE),
    "squared": (lambda x: (np.sqrt(x + 1) ** 2 * x, x), lambda d, x: d * (2 * x + 1), POSITIVE),
    "inside of a root": (
        lambda x: (np.sqrt(np.sqrt(x) + 1), x),
        lambda d, x: 0.25 * d / np.sqrt(np.sqrt(x) + 1) / np.sqrt(x),
        POSITIVE,
    ),
}


@pytest.mark.parametrize("name", RIGHT_ROOTS)
def test_a_square_root_with_the_right_sign_is_proved(name):
    assert {prove_vjp(*RIGHT_ROOTS[name], seed=seed).verdict for seed in range(12)} == {"PROVED"}


def test_a_square_root_squared_is_what_it_is_the_root_of():
    forward, _, x = RIGHT_ROOTS["squared"]
    proof = prove_vjp(forward, lambda d, x: 2 * d * x, x)
    assert (proof.verdict, proof.wrong) == ("REFUTED", ("input 0",))


def test_what_leaves_the_sign_of_a_square_root_open_says_so(monkeypatch):
    proof = prove_vjp(*WRONG_ROOTS["of a product and a quotient"])
    assert "its square roots may depend on one another, which leaves their signs open" in str(proof)
    forward, backward, x = RIGHT_ROOTS["inside of a root"]
    nested = prove_vjp(forward, lambda d, x: 2 * backward(d, x), x)
    assert "it needs s^2 = x for square roots inside of square roots" in str(nested)
    monkeypatch.setitem(BUDGET, "exact", 400_000)
    many = prove_vjp(*RIGHT_ROOTS["squared"][:2], np.linspace(1, 2, 700))
    assert "operations to show that its 700 square roots are independent; smaller sizes prove as much" in str(many)


# exp of multiples.


@pytest.mark.parametrize("multiple", [2, 4, 8, 16, 0.25, 0.125])
@pytest.mark.parametrize("function", ["exp", "tanh"])
def test_a_function_of_a_multiple_keeps_what_is_known(function, multiple):
    f, derivative = DERIVATIVES[function][:2]
    assert (
        unary(
            lambda x: f(-x) + f(multiple * x), lambda x: -derivative(-x) + multiple * derivative(multiple * x)
        ).verdict
        == "PROVED"
    )


def test_exp_of_a_multiple_is_a_power():
    assert unary(lambda x: np.exp(-x) + np.exp(-4 * x), lambda x: -np.exp(-x) - 4 * np.exp(-x) ** 4).verdict == "PROVED"


# What the code keeps when the run is over.


class Centred:
    """A layer with a running mean, and a running mean of all as a scalar."""

    def __init__(self):
        self.mean, self.level, self.calls = np.zeros(4), 0.0, 0

    def forward(self, x):
        mean = x.mean(axis=0)
        self.calls += 1
        self.mean = 0.9 * self.mean + 0.1 * mean
        self.level = 0.9 * self.level + 0.1 * x.mean()
        return x - mean, None

    def backward(self, d, cache):
        return d - d.mean(axis=0)


def test_a_layer_that_keeps_state_is_proved_and_measured_and_stays_usable():
    layer = Centred()
    assert prove_vjp(layer.forward, layer.backward, X).verdict == "PROVED"
    assert isinstance(layer.mean, ExactArray)
    expected = (1 - 0.9**layer.calls) * X.mean(axis=0)
    np.testing.assert_allclose(layer.mean.astype(np.float64), expected)
    np.testing.assert_allclose(np.concatenate([layer.mean, layer.mean])[:4], expected)
    assert float(layer.mean[0]) == pytest.approx(expected[0])
    assert prove_vjp(layer.forward, layer.backward, X).verdict == "PROVED"
    layer.forward(X)
    assert (type(layer.mean), layer.mean.dtype) == (np.ndarray, np.float64)
    assert layer.level == pytest.approx((1 - 0.9**layer.calls) * X.mean())
    assert check_vjp(layer.forward, layer.backward, X, show_progress=False).verdict == "PROVED"


def test_what_is_kept_can_be_changed_in_place():
    layer = Centred()
    prove_vjp(layer.forward, layer.backward, X)
    before, mean = layer.mean.astype(np.float64), layer.mean
    np.copyto(mean, 2 * before)
    np.testing.assert_allclose(mean.astype(np.float64), 2 * before)
    np.add.at(mean, [0], 1.0)
    np.multiply(mean, 3, out=mean)
    np.testing.assert_allclose(mean.astype(np.float64), 3 * (2 * before + np.eye(4)[0]))


def test_what_is_kept_from_one_run_is_constant_in_the_next():
    kept = []

    def forward(x):
        kept.append(x * 1)
        return x * kept[0] if len(kept) > 1 else x * x, (x, len(kept))

    def backward(d, cache):
        x, count = cache
        return d * kept[0] if count > 1 else 2 * d * x

    assert prove_vjp(forward, backward, X, points=3).verdict == "PROVED"


def test_a_mask_that_is_first_made_in_a_proof_is_one_of_floats_afterwards():
    @functools.lru_cache
    def mask(size):
        return np.tril(np.ones((size, size)))

    def forward(x):
        return x * mask(4), None

    square = rng.standard_normal((4, 4))
    assert check_vjp(forward, lambda d, cache: d * mask(4), square).verdict == "PROVED"
    assert forward(square)[0].dtype == np.float64
    assert mask(4).sum() == 10


def test_exact_numbers_in_another_thread_are_refused():
    def forward(x):
        found = []

        def work():
            try:
                found.append(np.tanh(x))
            except Exception:
                found.append(x)

        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
        return found[0], x

    proof = prove_vjp(forward, lambda d, x: d, X)
    assert "the code computes with exact numbers in another thread" in proof.reason


# The budget.

LARGE = {
    "dot": lambda x: np.dot(x, x.T),
    "dot method": lambda x: x.dot(x.T),
    "einsum": lambda x: np.einsum("ik,jk->ij", x, x),
    "einsum with an ellipsis": lambda x: np.einsum("...k,jk->...j", x, x),
    "inner": lambda x: np.inner(x, x),
    "broadcast": lambda x: (x[:, None] * x[None])[:2],
    "outer": lambda x: np.multiply.outer(x[:, 0], x)[:2],
    "matmul of a stack": lambda x: (x[:, None, None] @ x[None, :, :, None])[:2],
}


@pytest.mark.parametrize("name", LARGE)
def test_the_budget_counts_what_is_computed(name, monkeypatch):
    monkeypatch.setitem(BUDGET, "exact", 400_000)
    x = np.ones((100, 50))
    forward = LARGE[name]
    proof = prove_vjp(lambda x: (forward(x), None), lambda d, cache: np.zeros((100, 50)), x)
    assert "operations at these sizes; smaller ones prove as much" in proof.reason


# The field itself.


@given(st.integers(0, 10**6), st.integers(1, 2**126), st.integers(1, 2**126))
@settings(max_examples=50, deadline=None)
def test_every_element_has_a_square_root(seed, a, b):
    p = random_prime(seed % 5, BITS)
    field = Field(p, seed, 1)
    for value in (a % p, -a % p):
        root = field.root(value)
        assert root * root % p == value
        assert root * field.inverse(root) % p == 1
    pair = Gauss(a % p, b % p, p)
    assert pair * field.inverse(pair) == 1
    assert pair - pair == 0


def test_primes_are_what_they_should_be():
    for seed in range(4):
        p = random_prime(seed, BITS)
        assert p.bit_length() == BITS
        assert p % 4 == 3
        assert all(pow(a, p - 1, p) == 1 for a in range(2, 50))


def test_derivatives_of_powers_and_quotients_are_those_of_polynomials():
    field = Field(random_prime(0, BITS), 0, 10)
    x = Exact(field, 2.0, field.draw(), 1, 1, 0)
    p, v = field.prime, x.value
    assert (x**5).slope == 5 * v**4 % p
    assert (1 / x).slope == -pow(v, -2, p) % p
    assert ((x + 1) / (x - 1)).slope == -2 * pow((v - 1) ** 2, -1, p) % p
    assert (x**-0.5 * x**0.5).value == 1
