"""Pictures for a notebook, as self-contained HTML."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from .._text import printable
from .._typing import Array

CELL = "padding:2px 5px;text-align:center;font-family:monospace"


def attention_html(attention: Array | None, source: Sequence[str], output: Sequence[str], text: str) -> str:
    """Output and attention weights as a table of shades: the source across, the output down.

    Parameters
    ----------
    attention : (steps, T) array or None
        Weights between 0 and 1; None gives the output alone.
    source : sequence of T str
    output : sequence of str
        Label of each row.
    text : str
        The output as a whole.

    Returns
    -------
    html : str
        With all words escaped, control characters too.

    Examples
    --------
    >>> attention_html(None, ["a"], ["b"], "1 < 2")
    '<p>1 &lt; 2</p>'
    """
    said = f"<p>{escape(printable(text))}</p>"
    if attention is None:
        return said
    head = "".join(f'<th style="{CELL}">{escape(printable(word))}</th>' for word in source)
    rows = [
        f'<tr><th style="{CELL}">{escape(printable(word))}</th>'
        + "".join(
            f'<td style="{CELL};background:rgba(0,114,178,{weight:.3f})" title="{weight:.3f}"></td>' for weight in row
        )
        + "</tr>"
        for word, row in zip(output, attention.tolist(), strict=True)
    ]
    return f"{said}<table><tr><th></th>{head}</tr>{''.join(rows)}</table>"
