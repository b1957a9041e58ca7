"""A pytest fixture that checks a layer at shapes that Hypothesis draws, and shrinks to the smallest that fail.

In ``conftest.py``: ``from numpy_attention.gradcheck.pytest_plugin import check_layer``. A test is then one line::

    def test_dense(check_layer):
        check_layer(dense_forward, dense_backward, x=("B", "K"), W=("K", "N"), b=("N",))
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest

from .vjp import check_vjp

LARGEST = 4  # of a size that is drawn
EXAMPLES = 20


@pytest.fixture
def check_layer() -> Callable[..., None]:
    """A function ``check_layer(forward, backward, **shapes)``; see :func:`check_shapes`."""
    return check_shapes


def check_shapes(
    forward: Callable[..., Any],
    backward: Callable[..., Any],
    *,
    options: Mapping[str, Any] | None = None,
    examples: int = EXAMPLES,
    seed: int = 0,
    **shapes: tuple[str | int, ...],
) -> None:
    """Check a layer at many shapes.

    Parameters
    ----------
    forward, backward : callable
        As for :func:`check_vjp`; the inputs are given by name.
    options : dict, optional
        Further arguments of :func:`check_vjp`, such as ``{"batch_axis": 0, "shared": ["W"]}``.
    examples : int
        Number of sets of shapes.
    seed : int
        Of the inputs.
    **shapes : tuples of letters and numbers
        The shape of each input; a letter stands for one size everywhere, from 1 to 4.

    Raises
    ------
    AssertionError
        With the report at the smallest shapes at which the check fails.
    """
    letters = sorted({each for shape in shapes.values() for each in shape if isinstance(each, str)})

    def check(sizes: Mapping[str, int]) -> None:
        rng = np.random.default_rng([seed, *sizes.values()])
        inputs = {
            name: rng.standard_normal([sizes[each] if isinstance(each, str) else each for each in shape])
            for name, shape in shapes.items()
        }
        report = check_vjp(forward, backward, inputs, seed=seed, show_progress=False, **(options or {}))
        told = ", ".join(f"{letter} = {size}" for letter, size in sizes.items())
        assert report.ok, f"at {told}:\n{report}"

    try:
        from hypothesis import HealthCheck, given, settings
        from hypothesis import strategies as st
    except ModuleNotFoundError:
        for largest in range(1, LARGEST + 1):
            check({letter: 1 + (largest + place) % LARGEST for place, letter in enumerate(letters)})
        return
    drawn = st.fixed_dictionaries({letter: st.integers(1, LARGEST) for letter in letters})
    quiet = settings(
        max_examples=examples,
        deadline=None,
        database=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
    )
    quiet(given(drawn)(check))()
