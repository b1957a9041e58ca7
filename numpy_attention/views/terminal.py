"""Pictures for a terminal, made of characters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from .._typing import Array

SHADES = ((0.7, "█"), (0.5, "▓"), (0.3, "▒"), (0.1, "░"), (0.0, " "))
LEGEND = "blank below 0.1, ░ from 0.1, ▒ from 0.3, ▓ from 0.5, █ from 0.7"
LONGEST_LABEL = 16
MARKS = "●○▲△■□"  # of the curves, in their order


def attention_map(attention: Array, source: Sequence[str], output: Sequence[str], width: int = 80) -> str:
    """Attention weights as shaded cells: the source across, the output down.

    Parameters
    ----------
    attention : (steps, T) array
        Weights between 0 and 1.
    source : sequence of T str
        Label of each column.
    output : sequence of str
        Label of each row.
    width : int
        Columns of the terminal. If the source is too long for it, each cell shows the largest of several weights.

    Returns
    -------
    picture : str
        Lines without a line break at the end.

    Raises
    ------
    ValueError
        If the labels do not fit the weights.

    Examples
    --------
    >>> import numpy as np
    >>> print(attention_map(np.array([[0.0, 1.0], [0.6, 0.4]]), ["a", "b"], ["b", "a"]))
      a b
    b   ██
    a ▓▓▒▒
    """
    if attention.shape != (len(output), len(source)):
        raise ValueError(
            f"attention: expected a row per output label and a column per source label, ({len(output)}, "
            f"{len(source)}), got {attention.shape}"
        )
    margin = max(map(len, output), default=0) + 1
    room = max(1, width - margin)
    cell = 2 if 2 * len(source) <= room else 1
    block = -(-len(source) * cell // room)  # weights across that share a cell, and as many down
    starts_across = range(0, len(source), block)
    starts_down = range(0, len(output), block)
    weights = np.maximum.reduceat(np.maximum.reduceat(attention, starts_down, axis=0), starts_across, axis=1)
    lines = _column_labels([source[start] for start in starts_across], margin, cell)
    for start, row in zip(starts_down, weights, strict=True):
        shades = "".join(_shade(weight) * cell for weight in row)
        lines.append(output[start].ljust(margin) + shades)
    if block > 1:
        lines.append(f"each cell is the largest of {block} x {block} weights")
    return "\n".join(line.rstrip() for line in lines)


def _column_labels(labels: Sequence[str], margin: int, cell: int) -> list[str]:
    """Labels of the columns in one line or, if one is longer than a character, each written downwards."""
    if max(map(len, labels), default=0) <= 1:
        return [" " * margin + "".join(label.ljust(cell) for label in labels)]
    labels = [label if len(label) <= LONGEST_LABEL else label[: LONGEST_LABEL - 1] + "…" for label in labels]
    height = max(map(len, labels))
    standing = [label.rjust(height) for label in labels]  # their last letters touch the columns
    return [" " * margin + "".join(label[row].ljust(cell) for label in standing) for row in range(height)]


def curves_chart(curves: Mapping[str, Array], xlabel: str, width: int = 80, height: int = 14) -> str:
    """Curves over 0, 1, 2, ... on a logarithmic scale: a mark per column, a legend below.

    Parameters
    ----------
    curves : dict of (N,) arrays
        By name, of equal length; values that are not above 0 or not finite are left out. Where two curves meet, the
        first one is drawn.
    xlabel : str
    width : int
        Columns of the terminal.
    height : int
        Lines between the highest and the lowest power of ten, both included; at least 2.

    Returns
    -------
    picture : str
        Lines without a line break at the end.

    Raises
    ------
    ValueError
        If there is no curve, more than there are marks, or they are not of equal length.

    Examples
    --------
    >>> import numpy as np
    >>> print(curves_chart({"halves": 0.5 ** np.arange(8), "stays": np.ones(8)}, "step", width=25, height=4))
     1e0 │●●●●○○○○○○○○○○○○○○○
         │    ●●●●●●●●
         │            ●●●●●●●
    1e-3 │
         └───────────────────
          0                 7
          step    ● halves  ○ stays
    """
    lengths = {len(curve) for curve in curves.values()}
    if len(lengths) != 1 or 0 in lengths or len(curves) > len(MARKS):
        raise ValueError(f"curves: expected 1 to {len(MARKS)} of equal length, got lengths {sorted(lengths)}")
    (length,) = lengths
    shown = np.concatenate([curve[(curve > 0) & np.isfinite(curve)] for curve in curves.values()])
    if not len(shown):
        return "nothing above 0 to show"
    top, bottom = int(np.ceil(np.log10(shown.max()))), int(np.floor(np.log10(shown.min())))
    top += top == bottom
    every = -(-3 * (top - bottom) // height)  # powers of ten between labels that are three lines apart or more
    labels = {
        round((top - power) / (top - bottom) * (height - 1)): f"1e{power}" for power in range(top, bottom - 1, -every)
    }
    margin = max(map(len, labels.values())) + 1
    room = max(2, min(width - margin - 1, 2 * max(length, 20)))
    grid = [[" "] * room for _ in range(height)]
    column = np.round(np.linspace(0, length - 1, room)).astype(int)
    for mark, curve in reversed(list(zip(MARKS, curves.values(), strict=False))):
        for across, value in enumerate(curve[column]):
            if value > 0 and np.isfinite(value):
                down = round((top - float(np.log10(value))) / (top - bottom) * (height - 1))
                grid[down][across] = mark
    lines = [labels.get(number, "").rjust(margin - 1) + " │" + "".join(row) for number, row in enumerate(grid)]
    lines.append(" " * margin + "└" + "─" * room)
    lines.append(" " * (margin + 1) + "0" + str(length - 1).rjust(room - 1))
    legend = "  ".join(f"{mark} {name}" for mark, name in zip(MARKS, curves, strict=False))
    lines.append(" " * (margin + 1) + f"{xlabel}    {legend}")
    return "\n".join(line.rstrip() for line in lines)


def _shade(weight: float) -> str:
    return next(shade for least, shade in SHADES if weight >= least or least == 0)
