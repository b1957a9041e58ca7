"""One step of a model, forward and backward, with its numbers: in the terminal, or as a page."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

from .._text import brief

if TYPE_CHECKING:
    from ..run import Run
    from .walk import Explanation


def explain(
    run: Run | str | os.PathLike[str] | None = None,
    text: str | Sequence[str] | None = None,
    *,
    target: str | Sequence[str] | None = None,
    step: int = 1,
    out: str | os.PathLike[str] | None = None,
) -> Explanation:
    """Walk through one step of a model on one sentence, forward and backward, with all numbers.

    Parameters
    ----------
    run : Run or path, optional
        A trained run. By default the small model that comes with the package, which reverses sequences.
    text : str or sequence of str, optional
        The source. By default the first one that the run's data hold out.
    target : str or sequence of str, optional
        What should be written. By default the right answer: of a task, what its rule says, otherwise what the data have
        for this source. Where that is not known, the model's own greedy output.
    step : int
        Number of the target step that is printed, from 1; a page has all of them.
    out : path, optional
        HTML file to write a page into, on which every step can be walked and changed.

    Returns
    -------
    Explanation
        ``print`` it; a notebook shows the page.

    Raises
    ------
    ValueError
        If there is no such run or step, a text is empty, too long, or has words that the vocabulary has not, or ``out``
        is no HTML file in a folder that exists.
    OSError
        If the page cannot be written.

    Examples
    --------
    >>> import numpy_attention as na
    >>> told = na.explain(text="a b c", step=2)
    >>> told
    Explanation('a b c' -> 'c b a <eos>', step 2 of 4)
    >>> print(str(told)[:64])
    source  a b c
    target  c b a <eos> (the right answer of its task)
    """
    from pathlib import Path

    from .sentence import find_sentence
    from .walk import Explanation

    if not isinstance(out, (str, os.PathLike, type(None))):
        raise ValueError(f"out: expected a path, got {brief(out)}")
    path = None if out is None else Path(out)
    if path is not None and (path.suffix.lower() != ".html" or path.is_dir() or not path.parent.is_dir()):
        raise ValueError(f"out: expected a file that ends in .html, in a folder that exists, got {path}")
    told = Explanation(find_sentence(run, text, target), step)
    if path is not None:
        from .page import of_sentence, write_page

        write_page(path, *of_sentence(told.sentence))
    return told
