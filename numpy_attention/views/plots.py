"""Figures, drawn by matplotlib, which is imported when a function is called.

Every function takes arrays and returns a ``matplotlib.figure.Figure`` that belongs to the caller: nothing is shown,
saved or kept.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .._typing import Array

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito's colours, which the colour-blind can tell apart; a curve of one of these names has the same colour in
# every figure.
COLOURS = {
    "attention": "#0072B2",
    "superhighway": "#0072B2",
    "context": "#0072B2",
    "key": "#009E73",
    "vanilla": "#D55E00",
    "bottleneck": "#D55E00",
    "bridge": "#D55E00",
    "recurrent": "#E69F00",
    "total": "#000000",
    "attention cut out": "#CC79A7",
}
GUIDE = "#888888"
LABELS = 60  # so many words along an axis can be read; of more, the positions are numbered


def plot_attention(attention: Array, source_words: Sequence[str], output_words: Sequence[str]) -> Figure:
    """Attention weights as shades: the source across, the output down.

    Parameters
    ----------
    attention : (steps, T) array
        Weights; each row sums to 1.
    source_words : sequence of T str
        Label of each column.
    output_words : sequence of str
        Label of each row, that of the end of the sequence included.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    ValueError
        If the labels do not fit the weights.

    Examples
    --------
    >>> import numpy as np
    >>> figure = plot_attention(np.array([[0.1, 0.9], [0.6, 0.4]]), ["a", "b"], ["b", "a"])
    >>> figure.axes[0].get_xlabel()
    'source'
    """
    return plot_maps({"attention weights": attention}, source_words, output_words)


def plot_maps(maps: Mapping[str, Array], source_words: Sequence[str], output_words: Sequence[str]) -> Figure:
    """Matrices of (output, source) side by side on the same axes, each with a colour scale of its own from 0.

    Parameters
    ----------
    maps : dict of (steps, T) arrays
        By title; values of at least 0.
    source_words : sequence of T str
    output_words : sequence of str

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    ValueError
        If there is no matrix, or the labels do not fit one.
    """
    if not maps:
        raise ValueError("maps: expected at least one matrix, got none")
    for title, values in maps.items():
        if np.shape(values) != (len(output_words), len(source_words)):
            raise ValueError(
                f"{title}: expected a row per output word and a column per source word, ({len(output_words)}, "
                f"{len(source_words)}), got {np.shape(values)}"
            )
    from matplotlib.figure import Figure

    side = min(6.5, max(3.2, 0.22 * max(len(source_words), len(output_words)) + 1.2))
    figure = Figure(figsize=((side + 0.9) * len(maps), side + 0.4), layout="constrained")
    panels = figure.subplots(1, len(maps), sharex=True, sharey=True, squeeze=False)[0]
    for axes, (title, values) in zip(panels, maps.items(), strict=True):
        top = float(np.max(values, initial=0))
        image = axes.imshow(values, cmap="viridis", vmin=0, vmax=top or 1, aspect="auto", interpolation="nearest")
        figure.colorbar(image, ax=axes, shrink=0.85, pad=0.02)
        axes.set_title(title, fontsize=11)
        axes.set_xlabel("source")
        _label(axes, source_words, "x")
    panels[0].set_ylabel("output")
    _label(panels[0], output_words, "y")
    return figure


def plot_curves(
    panels: Mapping[str, Mapping[str, Array]],
    xlabel: str,
    ylabel: str,
    *,
    x: Array | None = None,
    log: bool = True,
    log_x: bool = False,
    guides: Sequence[str] = (),
    partners: Mapping[str, str] | None = None,
) -> Figure:
    """Curves with their quartiles in panels with the same vertical axis, up to three of them in a row.

    Parameters
    ----------
    panels : dict of dicts of arrays
        By the panel's title, then by the curve's name: (N,) values, or (3, N) with lower quartile, median and upper
        quartile, the outer two drawn as a band. Curves in one figure may differ in N.
    xlabel, ylabel : str
    x : (N,) array, optional
        Horizontal positions; 0, 1, 2, ... by default.
    log : bool
        Logarithmic vertical axis; values that are not above 0 are left out.
    log_x : bool
        Logarithmic horizontal axis.
    guides : sequence of str
        Names of curves to draw dashed and grey, for comparison.
    partners : dict of str, optional
        Curves to draw dashed in the colour of another one, and not to name in the legend: their names, and its name.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    ValueError
        If there is nothing to draw.

    Examples
    --------
    >>> import numpy as np
    >>> figure = plot_curves({"decay": {"vanilla": np.array([1.0, 0.5, 0.25])}}, "distance", "norm")
    >>> figure.axes[0].get_yscale()
    'log'
    """
    if not panels or not all(panels.values()):
        raise ValueError("panels: expected at least one curve in each, got none")
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    partners = partners or {}
    down = -(-len(panels) // 3)
    across = -(-len(panels) // down)
    figure = Figure(figsize=(max(5.6, 4.3 * across), 4.0 * down), layout="constrained")
    grid = figure.subplots(down, across, sharey=True, squeeze=False)
    all_axes = list(grid.flat)
    for axes in all_axes[len(panels) :]:
        axes.set_visible(False)
    names = list(dict.fromkeys(name for curves in panels.values() for name in curves))
    colours = _colours([name for name in names if name not in partners], guides)
    for axes, (title, curves) in zip(all_axes, panels.items(), strict=False):
        for name, values in curves.items():
            colour, dashed = colours[partners.get(name, name)], name in guides or name in partners
            _draw(axes, f"_{name}" if name in partners else name, values, x, colour, log, dashed=dashed)
        axes.set_title(title, fontsize=11)
        axes.set_xlabel(xlabel)
        axes.grid(alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
        if log:
            axes.set_yscale("log")
        if log_x:
            axes.set_xscale("log")
        else:
            axes.xaxis.set_major_locator(MaxNLocator(integer=True, steps=[1, 2, 5, 10]))
    for axes in grid[:, 0]:
        axes.set_ylabel(ylabel)
    if not log:
        all_axes[0].set_ylim(bottom=0)
    drawn = all_axes[: len(panels)]
    most = max(drawn, key=lambda axes: len(axes.lines))
    if len(most.lines) == len(names):  # one legend for all
        figure.legend(*most.get_legend_handles_labels(), loc="outside right center", frameon=False)
    else:
        for axes in drawn:
            axes.legend(fontsize=9, framealpha=0.7)
    return figure


def save_figure(figure: Figure, stem: Path) -> list[Path]:
    """Write a figure as PNG and as SVG; the same figure gives the same bytes.

    Parameters
    ----------
    figure : matplotlib.figure.Figure
    stem : Path
        Without the ending.

    Returns
    -------
    files : list of Path
    """
    import matplotlib

    files = [stem.with_name(f"{stem.name}.{ending}") for ending in ("png", "svg")]
    # Text stays text in the SVG, and its identifiers and metadata carry neither chance nor the date.
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": stem.name}):
        figure.savefig(files[0], dpi=130)
        figure.savefig(files[1], metadata={"Date": None})
    return files


def _colours(names: Sequence[str], guides: Sequence[str]) -> dict[str, Any]:
    """A colour for every curve: the one in COLOURS or, for all others, one from a scale."""
    from matplotlib import colormaps

    series = [name for name in names if name not in COLOURS and name not in guides]
    scale = colormaps["viridis"](np.linspace(0, 0.88, max(2, len(series))))
    return COLOURS | dict.fromkeys(guides, GUIDE) | dict(zip(series, scale, strict=False))


def _draw(axes: Axes, name: str, values: Array, x: Array | None, colour: Any, log: bool, *, dashed: bool) -> None:
    lower, middle, upper = values if values.ndim == 2 else (values, values, values)
    place = np.arange(len(middle)) if x is None else x
    if log:
        lower, middle, upper = (np.where(curve > 0, curve, np.nan) for curve in (lower, middle, upper))
    few = len(middle) <= 12 or np.isfinite(middle).sum() < 3  # a single value makes no line
    marker = "o" if few and not dashed else None
    style = "--" if dashed else "-"
    axes.plot(place, middle, style, color=colour, marker=marker, markersize=4, linewidth=1.6, label=name)
    if values.ndim == 2:
        axes.fill_between(place, lower, upper, color=colour, alpha=0.2, linewidth=0)


def _label(axes: Axes, words: Sequence[str], side: str) -> None:
    """Words along an axis, or numbers if there are too many."""
    if len(words) > LABELS:
        return
    size = 9 if len(words) <= 25 else 6
    ticks = np.arange(len(words))
    if side == "y":
        axes.set_yticks(ticks, words, fontsize=size)
    else:
        turned = 90 if max(map(len, words)) > 2 else 0
        axes.set_xticks(ticks, words, fontsize=size, rotation=turned)


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
    left.legend(loc="upper right")
    right.legend(loc="lower right")
    return figure
