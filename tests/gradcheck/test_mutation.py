"""The score of a check: it rises with the check, equivalent mutants are left out, and misuse gets one line."""

import functools

import numpy as np
import pytest

from numpy_attention.gradcheck import check_vjp
from numpy_attention.gradcheck.mutation import mutation_score, mutations

X, W = np.random.default_rng(3).standard_normal((2, 3, 3))


def forward(x, W):
    z = np.tanh(x @ W)
    return z, (x, W, z)


def backward(dz, cache):
    x, W, z = cache
    da = dz * (1 - z * z)
    return da @ W.T, x.T @ da


def shapes_alone(forward, backward, inputs):
    """A check that many courses make: the shapes, and nothing else."""
    out, cache = forward(*inputs)
    return all(g.shape == x.shape for g, x in zip(backward(np.ones(out.shape), cache), inputs, strict=True))


def one_entry_at_ones(forward, backward, inputs):
    """Another one: one entry, by a difference, to one per cent, with a cotangent of ones."""
    out, cache = forward(*inputs)
    moved = inputs[0].copy()
    moved[0, 0] += 1e-5
    difference = (forward(moved, *inputs[1:])[0] - out).sum() / 1e-5
    return abs(backward(np.ones(out.shape), cache)[0][0, 0] - difference) < 1e-2 * abs(difference)


def test_ours_catches_every_mistake():
    report = mutation_score(forward, backward, (X, W))
    assert (report.score, report.missed) == (1.0, ())
    assert report.caught >= 20
    assert "mutation score" in str(report)


def test_weak_checks_miss_what_they_do_not_look_at():
    shapes, entry = (mutation_score(forward, backward, (X, W), check) for check in (shapes_alone, one_entry_at_ones))
    assert shapes.score < entry.score < 1
    assert any(mutant.mistake == "sign" for mutant in shapes.missed)
    missed = {(mutant.mistake, mutant.before) for mutant in entry.missed}
    assert ("sign", "x.T @ da") in missed  # it looks at the other gradient alone
    assert ("sign", "da @ W.T") not in missed
    assert "MISSED  line" in str(entry)


def test_a_change_that_is_no_mistake_is_proved_and_left_out():
    def doubled(dz, z):
        return (dz + dz) * (1 - z * z) / 2 * np.ones(z.shape)

    report = mutation_score(lambda x: (np.tanh(x), np.tanh(x)), doubled, (X,))
    assert report.score == 1
    assert any("np.ones(z.shape)" in mutant.before for mutant in report.equivalent)


def test_a_lambda_and_a_closure_are_mutated_too():
    scale = 3.0
    found = mutations(lambda d, x: scale * d * x)
    assert {mutant.after for mutant in found} >= {"-(scale * d * x)", "scale * d", "x"}
    assert found[0].function(1.0, 2.0) == -6.0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((forward, lambda d, c: (d, d), (X, W)), "backward: expected one that is proved right"),
        ((forward, backward, (X, W), lambda *_: False), "check: expected one that accepts the backward itself"),
        (
            (forward, functools.partial(backward), (X, W)),
            "backward: expected a function written in Python, got partial",
        ),
    ],
)
def test_misuse_is_one_line(arguments, message):
    with pytest.raises(ValueError, match=message) as caught:
        mutation_score(*arguments)
    assert "\n" not in str(caught.value)


def test_a_check_may_return_a_report_or_raise():
    def asserting(*operation):
        check_vjp(*operation, method="complex-step", show_progress=False).raise_if_failed()

    assert mutation_score(forward, backward, (X, W), asserting).score == 1


def by_while(dz, cache):
    x, W, z = cache
    dx, dW = np.zeros_like(x), np.zeros_like(W)
    i = 0
    while i < len(x):
        da = dz[i] * (1 - z[i] * z[i])
        dx[i] = da @ W.T
        dW += np.outer(x[i], da)
        i += 1
    return dx, dW


def test_mutants_that_never_end_are_caught():
    endless = [each for each in mutations(by_while) if str(each).endswith(("i += 1 -> i = 1", "i < len(x) | True"))]
    assert "line 9, assigned: i += 1 -> i = 1" in map(str, endless)
    z, cache = forward(X, W)
    with pytest.raises(RuntimeError, match="an endless loop"):
        endless[-1].function(np.ones(z.shape), cache)
    report = mutation_score(forward, by_while, (X, W), check=small_check)
    assert report.score == 1.0


def small_check(forward, backward, inputs):
    """Both gradients along one direction each."""
    out, cache = forward(*inputs)
    along = np.random.default_rng(0).standard_normal((3, *out.shape))
    gradients = backward(along[2], cache)
    for place, (gradient, step) in enumerate(zip(gradients, along[:2], strict=True)):
        up, down = ([x + sign * 1e-5 * step * (place == n) for n, x in enumerate(inputs)] for sign in (1, -1))
        difference = (forward(*up)[0] - forward(*down)[0]) / 2e-5
        if not abs(np.sum(gradient * step) - np.sum(along[2] * difference)) < 1e-6:
            return False
    return True
