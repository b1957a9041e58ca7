"""Figures, drawn by matplotlib, which is imported when a function is called.

Every function takes arrays and returns a ``matplotlib.figure.Figure`` that belongs to the caller: nothing is shown,
saved or kept.
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple
from unicodedata import east_asian_width

import numpy as np

from .._typing import Array
from .fonts import BOX, lettering

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PICTURES = (".png", ".svg", ".pdf")  # endings of files that a picture can be saved as
NEEDS = "pictures need matplotlib: pip install '.[cli]' in the project's folder"

# Okabe and Ito's colours, which the colour-blind can tell apart; a curve of one of these names has the same colour in
# every figure.
COLOURS = {
    "with attention": "#0072B2",
    "entered by contexts and keys": "#0072B2",
    "context": "#0072B2",
    "key": "#009E73",
    "without attention": "#D55E00",
    "entered by the bridge": "#D55E00",
    "bridge": "#D55E00",
    "recurrent": "#E69F00",
    "total": "#000000",
    "tanh": "#000000",
    "attention cut out": "#CC79A7",
}
GUIDE = "#888888"
LABELS = 60  # so many words along an axis can be read; of more, the positions are numbered
LONGEST_LABEL = 24  # characters of a word along an axis
DECADES = 4  # of a logarithmic colour scale


class Map(NamedTuple):
    """A matrix to be drawn as colours."""

    values: Array  # (steps, T), at least 0
    label: str  # of the colour bar
    log: bool = False  # colours up to the largest value, over DECADES at the most; otherwise from 0 to 1


def check_matplotlib() -> None:
    """Raise a ModuleNotFoundError that says how to install matplotlib, if it is not."""
    try:
        import matplotlib  # noqa: F401
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(NEEDS, name="matplotlib") from error


def _new_figure(width: float, height: float) -> Figure:
    check_matplotlib()
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def plot_attention(
    attention: Array, source_words: Sequence[str], output_words: Sequence[str], *, title: str | None = None
) -> Figure:
    """Attention weights as colours from 0 to 1: the source across, the output down.

    Texts are drawn as they are, never as formulas. If the usual font lacks letters, installed ones that have them are
    used. Scripts that are joined or run from right to left need matplotlib 3.11.

    Parameters
    ----------
    attention : (steps, T) array
        Weights; each row sums to 1.
    source_words : sequence of T str
        Label of each column.
    output_words : sequence of str
        Label of each row, that of the end of the sequence included.
    title : str, optional

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    ValueError
        If the labels do not fit the weights.
    ModuleNotFoundError
        If there is no matplotlib.

    Warns
    -----
    UserWarning
        If no installed font has some of the letters.

    Examples
    --------
    >>> import numpy as np
    >>> figure = plot_attention(np.array([[0.1, 0.9], [0.6, 0.4]]), ["a", "b"], ["b", "a"], title="reverse")
    >>> figure.axes[0].get_xlabel()
    'source'
    """
    return _draw_maps({"": Map(attention, "attention weight")}, source_words, output_words, title or "")


def plot_maps(maps: Mapping[str, Map], source_words: Sequence[str], output_words: Sequence[str]) -> Figure:
    """Matrices of (output, source), two in a row, with numbered words along their axes.

    Parameters
    ----------
    maps : dict of Map
        By title.
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
    return _draw_maps(maps, source_words, output_words, numbered=True)


def _draw_maps(
    maps: Mapping[str, Map],
    source_words: Sequence[str],
    output_words: Sequence[str],
    title: str = "",
    *,
    numbered: bool = False,
) -> Figure:
    for values, label, _ in maps.values():
        if np.shape(values) != (len(output_words), len(source_words)):
            raise ValueError(
                f"{label}: expected a row per output word and a column per source word, ({len(output_words)}, "
                f"{len(source_words)}), got {np.shape(values)}"
            )
    across = min(2, len(maps))
    down = -(-len(maps) // across)
    side = min(7 - across, max(3.2, 0.22 * max(len(source_words), len(output_words)) + 1.2))
    longest_source, longest_output = (
        min(LONGEST_LABEL, max(map(len, words), default=0)) for words in (source_words, output_words)
    )
    width = (side + 0.9 + 0.07 * longest_output) * across
    figure = _new_figure(width, (side + 0.4 + 0.07 * longest_source) * down)
    drawable, families = lettering([*source_words, *output_words, title])
    if title:
        figure.suptitle(_wrapped(drawable(title), width), fontsize=11, parse_math=False, fontfamily=families)
    for number, (name, each) in enumerate(maps.items(), start=1):
        axes = figure.add_subplot(down, across, number)
        _draw_map(axes, each)
        axes.set_title(name, fontsize=11)
        axes.set_xlabel("source")
        axes.set_ylabel("output")
        for axis, words in (("x", source_words), ("y", output_words)):
            _label(axes, [*map(drawable, words)], axis, families, numbered)
    return figure


def _draw_map(axes: Axes, map_: Map) -> None:
    """A matrix with its colour bar."""
    from matplotlib.colors import LogNorm, Normalize

    top = np.max(map_.values, initial=0) or 1
    bottom = max(top / 10**DECADES, min(top / 10, np.min(map_.values, initial=top)))
    norm = LogNorm(bottom, top, clip=True) if map_.log else Normalize(0, 1)
    image = axes.imshow(map_.values, cmap="viridis", norm=norm, aspect="auto", interpolation="nearest")
    extend = "min" if map_.log and np.min(map_.values, initial=top) < bottom else "neither"
    axes.figure.colorbar(image, ax=axes, shrink=0.85, pad=0.02, label=map_.label, extend=extend)


def _label(axes: Axes, words: Sequence[str], side: str, families: list[str], numbered: bool) -> None:
    """Words along an axis, or numbers if there are too many."""
    if len(words) > LABELS:
        step = 10 * (1 + len(words) // 200)
        numbers = np.arange(step, len(words) + 1, step)
        getattr(axes, f"set_{side}ticks")(numbers - 1, numbers)
        return
    words = [word if len(word) <= LONGEST_LABEL else f"{word[: LONGEST_LABEL - 1]}…" for word in words]
    turned = side == "x" and max(map(len, words), default=0) > 2
    if numbered:
        apart = "\n" if side == "x" and not turned else " "
        words = [f"{word}{apart}{number}" for number, word in enumerate(words, start=1)]
    size = 9 if len(words) <= 25 else 6
    options: dict[str, Any] = {"fontsize": size, "parse_math": False, "fontfamily": families}
    getattr(axes, f"set_{side}ticks")(np.arange(len(words)), words, rotation=90 if turned else 0, **options)


def _wrapped(text: str, inches: float) -> str:
    """A title of up to three lines; the letters of some scripts are twice as wide as others."""
    width = int(inches * (6 if any(east_asian_width(letter) in "FW" or letter == BOX for letter in text) else 12))
    return "\n".join(textwrap.wrap(text, width, max_lines=3, placeholder=" …"))


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
    across: int = 3,
    sharey: bool | Literal["row"] = True,
) -> Figure:
    """Curves with their quartiles in panels, each with a legend beside it or, if all have the same curves, one for all.

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
    across : int
        Panels in a row, at the most.
    sharey : bool or "row"
        The same vertical axis in all panels, in each of them its own, or in a row the same.

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
    >>> figure = plot_curves({"decay": {"without attention": np.array([1.0, 0.5, 0.25])}}, "distance", "norm")
    >>> figure.axes[0].get_yscale()
    'log'
    """
    if not panels or not all(panels.values()):
        raise ValueError("panels: expected at least one curve in each, got none")
    partners = partners or {}
    down = -(-len(panels) // across)
    across = -(-len(panels) // down)
    figure = _new_figure(max(5.6, 4.3 * across), (4.0 if down == 1 else 3.2) * down)
    from matplotlib.ticker import MaxNLocator

    grid = figure.subplots(down, across, sharey=sharey, squeeze=False)
    drawn, empty = list(grid.flat)[: len(panels)], list(grid.flat)[len(panels) :]
    for axes in empty:
        axes.remove()
    names = list(dict.fromkeys(name for curves in panels.values() for name in curves))
    colours = _colours([name for name in names if name not in partners], guides)
    for axes, (title, curves) in zip(drawn, panels.items(), strict=True):
        for name, values in curves.items():
            colour, dashed = colours[partners.get(name, name)], name in guides or name in partners
            _draw(axes, f"_{name}" if name in partners else name, values, x, colour, log, dashed=dashed)
        axes.set_title(title, fontsize=11)
        axes.grid(alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
        if log:
            axes.set_yscale("log")
        else:
            axes.set_ylim(bottom=0)
        if log_x:
            axes.set_xscale("log")
        else:
            axes.xaxis.set_major_locator(MaxNLocator(integer=True, steps=[1, 2, 5, 10]))
    for axes in drawn[-across:]:
        axes.set_xlabel(xlabel)
    for axes in drawn[::across]:
        axes.set_ylabel(ylabel)
    if any(np.ndim(values) == 2 for curves in panels.values() for values in curves.values()):
        figure.supxlabel("lines are medians, bands reach from the lower to the upper quartile", fontsize=9, color=GUIDE)
    most = max(drawn, key=lambda axes: len(axes.lines))
    if len(most.lines) == len(names):  # one legend for all
        figure.legend(*most.get_legend_handles_labels(), loc="outside right center", frameon=False)
    else:
        for axes in drawn:
            axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=2, fontsize=9, frameon=False)
    return figure


def plot_bands(
    curves: Mapping[str, tuple[Array, Array]], across: str, up: str, *, title: str = "", top: float = 100.0
) -> Figure:
    """Curves of several runs each: the median as a line, and a band from the smallest to the largest.

    Parameters
    ----------
    curves : dict of ((N,) array, (runs, N) array)
        By name: places, and the values of each run there.
    across, up : str
        Labels of the axes.
    title : str
        Drawn as it is, never as a formula.
    top : float
        Largest possible value; the smallest is 0.

    Returns
    -------
    matplotlib.figure.Figure

    Examples
    --------
    >>> import numpy as np
    >>> shares = np.array([[90.0, 80.0], [100.0, 60.0]])
    >>> figure = plot_bands({"copy": (np.array([5, 10]), shares)}, "length", "right (%)")
    >>> figure.axes[0].lines[0].get_ydata()
    array([95., 70.])
    """
    figure = _new_figure(7, 4)
    axes = figure.subplots()
    colours = _colours(list(curves), [])
    for name, (places, values) in curves.items():
        drawable, families = lettering([name])
        label = drawable(name).replace("$", r"\$")
        axes.plot(places, np.median(values, axis=0), marker=".", color=colours[name], label=label)
        axes.fill_between(places, values.min(axis=0), values.max(axis=0), color=colours[name], alpha=0.15, linewidth=0)
    axes.set(xlabel=across, ylabel=up, ylim=(-0.02 * top, 1.02 * top))
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8)
    if title:
        drawable, families = lettering([title])
        axes.set_title(_wrapped(drawable(title), 7), fontsize=11, parse_math=False, fontfamily=families)
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


def plot_learning(
    steps: Sequence[int],
    losses: Mapping[str, Sequence[float]],
    accuracies: Mapping[str, Sequence[float]],
    *,
    rates: Sequence[float] | None = None,
    best: int | None = None,
    title: str = "",
) -> Figure:
    """Losses on a logarithmic scale, accuracies in per cent and the learning rate, over the updates.

    Parameters
    ----------
    steps : sequence of N int
        Updates made.
    losses : dict of sequences of N float
        By name, in nats per token.
    accuracies : dict of sequences of N float
        By name, between 0 and 1.
    rates : sequence of N float, optional
        Learning rates.
    best : int, optional
        The update with the best evaluation, which is marked.
    title : str
        Drawn as it is, never as a formula.

    Returns
    -------
    matplotlib.figure.Figure

    Examples
    --------
    >>> figure = plot_learning([10, 20], {"held out": [1.0, 0.1]}, {"tokens": [0.5, 0.9]}, best=20, title="reverse")
    >>> [axes.get_ylabel() for axes in figure.axes]
    ['loss (nats per token)', 'accuracy (%)']
    """
    percent = {name: [100 * value for value in values] for name, values in accuracies.items()}
    panels: list[tuple[str, Mapping[str, Sequence[float]]]] = [("loss (nats per token)", losses)]
    panels += [("accuracy (%)", percent)]
    panels += [] if rates is None else [("learning rate", {"": rates})]
    width = 4.4 * len(panels)
    figure = _new_figure(width, 3.6)
    for axes, (label, curves) in zip(figure.subplots(1, len(panels)), panels, strict=True):
        for name, values in curves.items():
            axes.plot(steps, values, marker=".", label=name)
        if best is not None:
            axes.axvline(best, color=GUIDE, linestyle="--", linewidth=1, label="best evaluation", zorder=0)
        axes.set_ylabel(label)
        axes.set_xlabel("updates")
        axes.grid(alpha=0.3)
    loss, accuracy, *rate = figure.axes
    loss.set_yscale("log")
    accuracy.set_ylim(-2, 102)
    for axes in rate:
        axes.set_ylim(bottom=0)
    for axes in (loss, accuracy):
        axes.legend(fontsize=9)
    if title:
        drawable, families = lettering([title])
        figure.suptitle(_wrapped(drawable(title), width), fontsize=11, parse_math=False, fontfamily=families)
    return figure
