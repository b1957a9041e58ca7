"""Pictures for a terminal, made of characters."""

from __future__ import annotations

import codecs
import unicodedata
from collections.abc import Mapping, Sequence

import numpy as np

from .._text import printable
from .._typing import Array

SHADES = ((0.7, "█"), (0.5, "▓"), (0.3, "▒"), (0.1, "░"), (0.0, " "))
LEGEND = "blank below 0.1, ░ from 0.1, ▒ from 0.3, ▓ from 0.5, █ from 0.7"
LONGEST_LABEL = 16
ROWS = 30  # of a map: a screen
MARKS = "●○▲△■□"  # of the curves, in their order
PLAIN = "plain"  # error handler of an encoding: shows these where the encoding lacks the ones before
STAND_INS = dict(zip("█▓▒░●○▲△■□│─└✓✗·…", "#+:.*o^v%=|-+vx.~", strict=True))


def _stand_in(error: UnicodeError) -> tuple[str, int]:
    """What is shown for letters that the encoding of the output does not have."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return "".join(STAND_INS.get(letter, "?") for letter in error.object[error.start : error.end]), error.end


codecs.register_error(PLAIN, _stand_in)


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
        Columns of the terminal. If the source is too long for it, or the output longer than 30 rows, each cell shows
        the largest of several weights, and a last line says so.

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
    source, output = ([shortened(printable(label)) for label in labels] for labels in (source, output))
    margin = max(map(columns, output), default=0) + 1
    room = max(1, width - margin)
    wide = any(columns(label) > len(label) for label in source)
    cell = 2 if wide or 2 * len(source) <= room else 1
    across, down = (max(1, count) for count in (-(-len(source) * cell // room), -(-len(output) // ROWS)))
    weights = np.maximum.reduceat(attention, range(0, len(output), down), axis=0)
    weights = np.maximum.reduceat(weights, range(0, len(source), across), axis=1)
    lines = _column_labels(source[::across], margin, cell)
    for label, row in zip(output[::down], weights, strict=True):
        lines.append(filled(label, margin) + "".join(_shade(weight) * cell for weight in row))
    shared = [f"{count} {what}" for count, what in ((down, "steps"), (across, "source positions")) if count > 1]
    if shared:
        lines.append(f"each cell: the largest of {' x '.join(shared)}, named by the first")
    return "\n".join(line.rstrip() for line in lines)


def _column_labels(labels: Sequence[str], margin: int, cell: int) -> list[str]:
    """Labels of the columns in one line or, if one is longer than a character, each written downwards."""
    height = max(map(len, labels), default=0)
    standing = [label.rjust(height) for label in labels]  # their last letters touch the columns
    return [" " * margin + "".join(filled(label[row], cell) for label in standing) for row in range(height)]


def shortened(label: str, most: int = LONGEST_LABEL) -> str:
    """``label``, cut to ``most`` letters if it is longer."""
    return label if len(label) <= most else label[: most - 1] + "…"


def columns(text: str) -> int:
    """Columns that ``text`` takes: two for a letter of the wide scripts, none for an accent that follows its letter."""
    wide = sum(unicodedata.east_asian_width(letter) in ("F", "W") for letter in text)
    return len(text) + wide - sum(unicodedata.combining(letter) > 0 for letter in text)


def filled(text: str, width: int) -> str:
    """``text`` with spaces behind it, up to ``width`` columns."""
    return text + " " * (width - columns(text))


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
