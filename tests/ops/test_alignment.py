import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from numpy_attention.ops import alignment
from numpy_attention.ops.alignment import (
    KINDS,
    AlignmentCache,
    alignment_backward,
    alignment_backward_keys,
    alignment_backward_query,
    alignment_forward,
    alignment_sums,
)
from tests.derivatives import assert_vjp


def arrays(kind, rng, batch=2, length=3, size=4):
    inputs = {"query": rng.standard_normal((batch, size)), "keys": rng.standard_normal((batch, length, size))}
    if kind != "dot":
        inputs["v"] = rng.standard_normal(size if kind == "additive" else 2 * size)
    return inputs


def test_each_kind_is_its_equation():
    rng = np.random.default_rng(0)
    for kind in KINDS:
        inputs = arrays(kind, rng)
        scores, _ = alignment_forward(kind, **inputs)
        assert scores.shape == (2, 3)
        query, key, v = inputs["query"][1], inputs["keys"][1, 2], inputs.get("v")
        expected = {
            "additive": lambda q, k, v: np.tanh(q + k) @ v,
            "stacked": lambda q, k, v: np.concatenate([np.tanh(q), np.tanh(k)]) @ v,
            "dot": lambda q, k, v: q @ k,
        }[kind](query, key, v)
        np.testing.assert_allclose(scores[1, 2], expected, rtol=1e-13)


@pytest.mark.parametrize("kind", KINDS)
@given(batch=st.integers(1, 3), length=st.integers(1, 4), size=st.integers(1, 4), seed=st.integers(0, 2**32 - 1))
def test_backward_against_the_complex_step(kind, batch, length, size, seed):
    rng = np.random.default_rng(seed)
    inputs = arrays(kind, rng, batch, length, size)
    _, cache = alignment_forward(kind, **inputs)
    assert_vjp(
        lambda values: alignment_forward(kind, **values)[0],
        lambda dscores: dict(zip(inputs, alignment_backward(dscores, cache), strict=False)),
        inputs,
        rng,
    )


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("keep", [True, False])
@pytest.mark.parametrize("block", [1, 30, 1 << 16])
def test_the_shared_half_sums_over_the_steps_however_it_is_cut(kind, keep, block, monkeypatch):
    monkeypatch.setattr(alignment, "_BLOCK", block)
    rng = np.random.default_rng(0)
    inputs = arrays(kind, rng, batch=3)
    queries, dscores = rng.standard_normal((5, 3, 4)), rng.standard_normal((5, 3, 3))
    caches = [alignment_forward(kind, queries[u], inputs["keys"], inputs.get("v"), keep=keep)[1] for u in range(5)]
    assert all((cache.z is None) is (kind == "dot" or not keep) for cache in caches)
    sums = alignment_sums(dscores[0], caches[0])
    dqueries = [alignment_backward_query(dscores[u], caches[u], sums) for u in range(5)]
    everything = AlignmentCache(kind, queries, inputs["keys"], inputs.get("v"), None)
    dkeys, dv = alignment_backward_keys(dscores, everything, sums)
    apart = [alignment_backward(dscores[u], caches[u]) for u in range(5)]
    np.testing.assert_allclose(dqueries, [gradients[0] for gradients in apart], rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(dkeys, sum(gradients[1] for gradients in apart), rtol=1e-12, atol=1e-14)
    if kind == "dot":
        assert dv is None
    else:
        np.testing.assert_allclose(dv, sum(gradients[2] for gradients in apart), rtol=1e-12)


def test_stacked_scores_depend_on_the_query_by_a_constant_only():
    rng = np.random.default_rng(0)
    for kind, constant in (("stacked", True), ("additive", False)):
        inputs = arrays(kind, rng)
        other = inputs | {"query": rng.standard_normal((2, 4))}
        difference = alignment_forward(kind, **inputs)[0] - alignment_forward(kind, **other)[0]
        assert np.allclose(difference, difference[:, :1], rtol=0, atol=1e-14) is constant


def test_stacked_query_gets_no_gradient_from_a_softmax():
    rng = np.random.default_rng(0)
    for kind, nothing in (("stacked", True), ("additive", False)):
        _, cache = alignment_forward(kind, **arrays(kind, rng))
        dscores = rng.standard_normal((2, 3))
        dscores -= dscores.mean(axis=1, keepdims=True)  # as behind a softmax: rows sum to 0
        assert bool(np.abs(alignment_backward(dscores, cache)[0]).max() < 1e-15) is nothing


def test_wrong_use_says_what_is_wrong():
    query, keys = np.zeros((1, 2)), np.zeros((1, 3, 2))
    with pytest.raises(ValueError, match=r"^kind: expected one of additive, stacked, dot, got 'cosine'$"):
        alignment_forward("cosine", query, keys, np.zeros(2))
    with pytest.raises(ValueError, match=r'^v: alignment "additive" needs its weights, got None$'):
        alignment_forward("additive", query, keys)
