import numpy as np

from numpy_attention.training.schedule import learning_rate


def test_up_in_a_line_and_down_along_a_cosine():
    rates = [learning_rate(step, steps=110, peak=2.0, warmup=10) for step in range(110)]
    np.testing.assert_allclose(rates[:10], np.arange(1, 11) / 10 * 2)
    assert rates[10] == max(rates) == 2.0
    np.testing.assert_allclose(rates[60], 1.0)
    assert np.all(np.diff(rates[10:]) < 0)
    assert 0 < rates[-1] < 1e-3


def test_without_warm_up():
    assert learning_rate(0, steps=5, peak=1.0, warmup=0) == 1.0
