"""Pictures for a terminal, made of characters."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .._typing import Array

SHADES = ((0.7, "█"), (0.5, "▓"), (0.3, "▒"), (0.1, "░"), (0.0, " "))
LEGEND = "blank below 0.1, ░ from 0.1, ▒ from 0.3, ▓ from 0.5, █ from 0.7"


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
        Columns of the terminal. Where the source is too long for it, a cell shows the largest of several weights.

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
    lines = [" " * margin + "".join(source[start][:cell].ljust(cell) for start in starts_across)]
    for start, row in zip(starts_down, weights, strict=True):
        shades = "".join(_shade(weight) * cell for weight in row)
        lines.append(output[start].ljust(margin) + shades)
    if block > 1:
        lines.append(f"each cell is the largest of {block} x {block} weights")
    return "\n".join(line.rstrip() for line in lines)


def _shade(weight: float) -> str:
    return next(shade for least, shade in SHADES if weight >= least or least == 0)
