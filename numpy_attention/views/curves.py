"""Curves of a training run, drawn by matplotlib, which is imported when a function is called."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def plot_learning(
    steps: Sequence[int], losses: Mapping[str, Sequence[float]], accuracies: Mapping[str, Sequence[float]]
) -> Figure:
    """Losses on a logarithmic scale and accuracies in per cent, over the updates.

    Parameters
    ----------
    steps : sequence of N int
        Updates made.
    losses : dict of sequences of N float
        By name, in nats per token.
    accuracies : dict of sequences of N float
        By name, between 0 and 1.

    Returns
    -------
    matplotlib.figure.Figure

    Examples
    --------
    >>> figure = plot_learning([10, 20], {"held out": [1.0, 0.1]}, {"tokens": [0.5, 0.9]})
    >>> [axes.get_ylabel() for axes in figure.axes]
    ['loss (nats per token)', 'accuracy (%)']
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    for name, values in losses.items():
        left.plot(steps, values, marker=".", label=name)
    left.set_yscale("log")
    left.set_ylabel("loss (nats per token)")
    for name, values in accuracies.items():
        right.plot(steps, [100 * value for value in values], marker=".", label=name)
    right.set_ylim(-2, 102)
    right.set_ylabel("accuracy (%)")
    for axes in (left, right):
        axes.set_xlabel("updates")
        axes.grid(alpha=0.3)
        axes.legend()
    return figure
