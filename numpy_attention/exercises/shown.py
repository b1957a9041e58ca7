"""A judgement as text, for a terminal and for a notebook; and :func:`check`, which judges functions of a notebook."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

import numpy as np

from .._text import brief, printable
from .course import BY_NAME
from .judge import Judgement, Picture, judged

WIDTH = 80
COLUMNS, ROWS = 36, 16  # of a picture, at the most
SIGNS = {"solved": "✓", "wrong": "✗", "failed": "!", "refused": "!", "open": "·"}
COLOURS = {"solved": "green", "wrong": "red", "failed": "red", "refused": "red", "open": "grey"}


def headline(judgement: Judgement) -> tuple[str, str]:
    """The sign and the verdict, and the exercise."""
    word = judgement.verdict or judgement.status.upper()
    return f"{SIGNS[judgement.status]} {word:13}", f"{judgement.name}: {BY_NAME[judgement.name].title}"


def details(judgement: Judgement) -> list[str]:
    """What is said of an answer, in lines that fit; then the pictures, and where to read."""
    lines = []
    for line in map(printable, judgement.told):
        lines.append(f"    {line}" if line.startswith("  ") else filled(line))  # what is set in columns keeps them
    lines += [drawn(picture) for picture in judgement.pictures if picture.shape]
    if judgement.pictures or judgement.verdict == "CANNOT PROVE":
        lines.append(filled(f"Read: {BY_NAME[judgement.name].read}."))
    return "\n".join(lines).splitlines()


def filled(text: str) -> str:
    """A sentence in lines that fit, set in."""
    return textwrap.fill(text, WIDTH, initial_indent="    ", subsequent_indent="      ")


def drawn(picture: Picture) -> str:
    """Wrong entries as squares, right ones as dots; matrices of a larger array side by side."""
    wrong = np.array(picture.wrong).reshape(picture.shape)
    matrices = wrong.reshape(-1, *np.atleast_2d(wrong).shape[-2:])[:, :ROWS, :COLUMNS]
    width = max(2 * matrices.shape[2], len(picture.name) + 3 * (wrong.ndim - 2)) + 2
    shown = matrices[: max(1, (WIDTH - 6) // width)]
    lines = [[" ".join("■" if each else "·" for each in row) for row in rows] for rows in zip(*shown, strict=True)]
    if wrong.ndim > 2:
        places = list(np.ndindex(wrong.shape[:-2]))[: len(shown)]
        lines.insert(0, [f"{picture.name}[{', '.join(map(str, place))}]" for place in places])
    cut = ", the first entries" if shown.size < wrong.size else ""
    rows = ("      " + "".join(part.ljust(width) for part in line).rstrip() for line in lines)
    return "\n".join([f"    {picture.name} {wrong.shape}{cut}: ■ wrong, · right", *rows])


@dataclass(frozen=True, repr=False)
class Checked:
    """What the judge says of functions; ``print`` shows all of it, and so does a notebook.

    Attributes
    ----------
    judgement : Judgement
    """

    judgement: Judgement

    @property
    def ok(self) -> bool:
        """True if the exercise is solved."""
        return self.judgement.ok

    def __repr__(self) -> str:
        word, told = headline(self.judgement)[0].split(maxsplit=1)[1].strip(), self.judgement.told
        return f"{self.judgement.name}: {word}" + (f", {printable(told[0])}" if told else "")

    def __str__(self) -> str:
        return "\n".join(["".join(headline(self.judgement)), *details(self.judgement)])

    def _repr_html_(self) -> str:
        first, title = headline(self.judgement)
        colour = COLOURS[self.judgement.status]
        lines = [f'<b style="color:{colour}">{escape(first)}</b>{escape(title)}', *map(escape, details(self.judgement))]
        return f"<pre>{chr(10).join(lines)}</pre>"


def check(
    name: str, functions: Callable[..., Any] | Iterable[Callable[..., Any]] | Mapping[str, Callable[..., Any]]
) -> Checked:
    """Judge functions that are defined in a notebook, or anywhere else in Python.

    They run here, in this process: without a time limit, and whatever they do. ``numpy-attention learn check`` judges a
    file in a process of its own, and refuses what no answer may do.

    Parameters
    ----------
    name : str
        Of the exercise, such as ``"dense"``.
    functions : function, list of functions, or dict of functions
        What the exercise asks for, by the names that it asks for. The last exercise is trained by the command alone:
        here its function is judged.

    Returns
    -------
    Checked
        ``checked.ok`` is True if the exercise is solved.

    Raises
    ------
    ValueError
        If there is no such exercise, or functions are missing.

    Examples
    --------
    >>> def tanh_backward(dz, z):
    ...     return dz * (1 - z)
    >>> check("tanh", tanh_backward)
    tanh: REFUTED, tanh_backward: it is the right gradient but for one mistake: a term or a factor is left out.
    """
    if name not in BY_NAME:
        raise ValueError(f"name: expected one of {', '.join(BY_NAME)}, got {brief(name)}")
    several = [functions] if callable(functions) else functions
    if not isinstance(several, Iterable):
        raise ValueError(f"functions: expected a function, a list or a dict of functions, got {brief(several)}")
    by_name = several if isinstance(several, Mapping) else {getattr(each, "__name__", ""): each for each in several}
    exercise = BY_NAME[name]
    missing = [each for each in exercise.functions if not callable(by_name.get(each))]
    if missing:
        raise ValueError(f"functions: expected {', '.join(exercise.functions)}, got no {' and no '.join(missing)}")
    answers = {each: by_name[each] for each in exercise.functions}
    code = getattr(answers[exercise.functions[0]], "__code__", None)
    return Checked(judged(exercise, answers, Path(getattr(code, "co_filename", "notebook.py"))))
