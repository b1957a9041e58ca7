import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from numpy_attention.ops.embedding import embedding_backward, embedding_forward
from tests.derivatives import assert_vjp


def arrays(rng, vocabulary, E=3, H=4):
    return {
        "embedding": rng.standard_normal((vocabulary, E)),
        "W": rng.standard_normal((E, H)),
        "b": rng.standard_normal(H),
    }


@pytest.mark.parametrize("vocabulary", [5, 1000])
def test_projecting_and_looking_up_commute(vocabulary):
    rng = np.random.default_rng(0)
    inputs, tokens = arrays(rng, vocabulary), rng.integers(0, vocabulary, (2, 6))
    a, cache = embedding_forward(tokens, **inputs)
    np.testing.assert_allclose(a, inputs["embedding"][tokens] @ inputs["W"] + inputs["b"], rtol=1e-13, atol=1e-15)
    assert len(cache.vectors) <= tokens.size  # a large vocabulary is not projected as a whole


@settings(max_examples=settings.default.max_examples // 2)
@given(st.sampled_from([2, 5, 40]), st.integers(1, 3), st.integers(1, 4), st.integers(0, 2**32 - 1))
def test_backward_against_the_complex_step(vocabulary, rows, columns, seed):
    rng = np.random.default_rng(seed)
    inputs, tokens = arrays(rng, vocabulary), rng.integers(0, vocabulary, (rows, columns))
    _, cache = embedding_forward(tokens, **inputs)
    assert_vjp(
        lambda values: embedding_forward(tokens, **values)[0],
        lambda da: dict(zip(inputs, embedding_backward(da, cache), strict=True)),
        inputs,
        rng,
    )


def test_a_token_that_comes_twice_adds_up_and_one_that_does_not_come_gets_nothing():
    rng = np.random.default_rng(0)
    inputs = arrays(rng, 4)
    _, cache = embedding_forward(np.array([1, 1, 3, 1]), **inputs)
    dembedding, _, _ = embedding_backward(np.ones((4, 4)), cache)
    np.testing.assert_allclose(dembedding[1], 3 * dembedding[3], rtol=1e-14)
    assert not dembedding[[0, 2]].any()


def test_single_precision_stays_single():
    inputs = {name: array.astype(np.float32) for name, array in arrays(np.random.default_rng(0), 4).items()}
    a, cache = embedding_forward(np.array([1, 2]), **inputs)
    assert {a.dtype, *(gradient.dtype for gradient in embedding_backward(a, cache))} == {np.dtype(np.float32)}
