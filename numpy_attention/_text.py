"""Text for people: values and words from outside, made safe and short enough to print."""

from __future__ import annotations

import reprlib
import unicodedata
from typing import Any

LONGEST = 80  # characters of a value in a message
MOST_BITS = 14_000  # of a number that is shown: Python writes none of more than 4,300 digits

# Turn the order of what follows on the line around: embeddings, overrides and isolates. The marks that joined scripts
# and right-to-left texts need (U+200C to U+200F) stay.
_TURNS = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
_UNSEEN = ("Cc", "Cs", "Zl", "Zp")  # control characters, surrogates, separators of lines and paragraphs


def printable(text: str) -> str:
    r"""``text`` with everything that could steer a terminal or break its line escaped, as in a Python literal.

    Everything that comes from data, files or arguments goes through here before it is printed.

    Examples
    --------
    >>> printable("caf\xe9 \x1b[31mred\n")
    'café \\x1b[31mred\\n'
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(map(_escaped, text))


def _escaped(character: str) -> str:
    if character in _TURNS or unicodedata.category(character) in _UNSEEN:
        return character.encode("unicode_escape").decode("ascii")
    return character


def brief(value: Any) -> str:
    """``repr(value)`` on one line, shortened to what a message has room for.

    Examples
    --------
    >>> brief("three")
    "'three'"
    >>> brief([1] * 1000)
    '[1, 1, 1, 1, 1, 1, ...]'
    """
    try:
        whole = not (isinstance(value, int) and value.bit_length() > MOST_BITS)
        text = _SHORT.repr(value) if whole else f"<{type(value).__name__}>"
    except Exception:  # a repr that fails
        text = f"<{type(value).__name__}>"
    text = printable(" ".join(text.split("\n")))
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 3]}..."


_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = LONGEST
_SHORT.maxlong = 40
