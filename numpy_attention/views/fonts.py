"""Fonts that have the letters of a picture, chosen among the installed ones."""

from __future__ import annotations

import unicodedata
import warnings
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import cache
from pathlib import Path

from .._text import printable

BOX = "\u25a1"  # stands for a letter that no font has


def lettering(texts: Iterable[str]) -> tuple[Callable[[str], str], list[str]]:
    r"""Make texts from outside drawable: a function to pass each of them through, and the fonts to draw them with.

    The function escapes control characters and puts a box for a letter that no installed font has, of which a warning
    names the script and the Debian package with a font for it.

    Joined scripts and those that run from right to left are laid out by matplotlib, from version 3.11 on. An older one
    draws their letters one by one from left to right.

    Parameters
    ----------
    texts : iterable of str
        All of a picture.

    Returns
    -------
    drawable : function of str to str
    families : list of str
        For matplotlib's ``fontfamily``.

    Examples
    --------
    >>> drawable, families = lettering(["caf\xe9", "tab\t"])
    >>> drawable("tab\t"), families
    ('tab\\t', ['sans-serif'])
    """
    from matplotlib import rcParams

    families = tuple(rcParams["font.family"])
    more, boxes = _choose(frozenset(map(ord, printable("".join(texts)))), families)
    if boxes:
        warnings.warn(_without_font(map(chr, sorted(boxes))), stacklevel=4)
    table = dict.fromkeys(boxes, BOX)
    return lambda text: printable(text).translate(table), [*families, *more]


@cache
def _choose(letters: frozenset[int], families: tuple[str, ...]) -> tuple[list[str], frozenset[int]]:
    """More families, as few as will do, for letters that ``families`` lack; and the letters that no family has."""
    from matplotlib.font_manager import FontProperties, findfont

    for family in families:
        letters -= _having(findfont(FontProperties(family=[family])), letters)
    if not letters:
        return [], letters
    having = {family: _having(file, letters) for family, file in _installed().items()}
    chosen = []
    while letters and having:
        best = max(having, key=lambda family: (len(having[family] & letters), "Sans" in family))
        if not having[best] & letters:
            break
        chosen.append(best)
        letters -= having[best]
    return chosen, letters


def _having(file: str, letters: frozenset[int]) -> frozenset[int]:
    """Those of ``letters`` that a font has; some fonts have blanks in place of letters."""
    from matplotlib.ft2font import FT2Font

    font = FT2Font(file)
    found = filter(font.get_char_index, letters)
    return frozenset(each for each in found if font.load_char(each).width or unicodedata.category(chr(each))[0] in "ZC")


def _installed() -> dict[str, str]:
    """A file of every family; matplotlib's list is kept on disk, and fonts have come and gone since."""
    from matplotlib.font_manager import findSystemFonts, fontManager

    for file in sorted({*findSystemFonts()}.difference(entry.fname for entry in fontManager.ttflist)):
        with suppress(Exception):  # a font of a kind that matplotlib cannot draw
            fontManager.addfont(file)
    entries = sorted(fontManager.ttflist, key=lambda entry: entry.fname, reverse=True)
    there = (entry for entry in entries if Path(entry.fname).exists())
    # A font of last resort has a box for every letter.
    return {entry.name: entry.fname for entry in there if "resort" not in entry.name.lower()}


def _without_font(letters: Iterable[str]) -> str:
    """The warning: letters without a font, by script, and where to get one."""
    scripts: dict[tuple[str, str], list[str]] = {}
    for letter in letters:
        scripts.setdefault(_script(letter), []).append(letter)
    listed = (f"{script} {' '.join(each[:3])} (Debian: {package})" for (script, package), each in scripts.items())
    return f"drawn as boxes, as no installed font has them: {', '.join(listed)}"


def _script(letter: str) -> tuple[str, str]:
    """Script of a letter, and a Debian package of fonts that has it."""
    if unicodedata.category(letter) in ("So", "Sk"):
        return "symbols", "fonts-symbola"
    script = unicodedata.name(letter, "unknown").split()[0]
    wide = unicodedata.east_asian_width(letter) in "FW"
    return script if script == "CJK" else script.capitalize(), "fonts-noto-cjk" if wide else "fonts-noto-core"
