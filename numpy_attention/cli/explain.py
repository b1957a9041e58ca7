"""``numpy-attention explain``: one step of a model, forward and backward, with its numbers."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from .._text import printable
from ..explain import explain
from ..explain.sentence import run_or_text
from .flags import Positional


def explain_command(
    run: Annotated[str | None, Positional("RUN")] = None,
    text: Annotated[str | None, Positional("TEXT")] = None,
    target: str | None = None,
    step: int = 1,
    out: Path | None = None,
) -> int:
    """Walk through one step of a model on one sentence: every quantity beside its equation, forward and then backward.

    Parameters
    ----------
    run : str, optional
        Folder of a trained run. Without one, the small model that comes with the package, which reverses sequences of
        the letters a to h; TEXT may then stand alone.
    text : str, optional
        Source, in quotes; by default the first one that the run's data hold out.
    target : str, optional
        What should be written, in quotes; by default the right answer where it is known, otherwise the model's own
        output.
    step : int
        Number of the target step to print; a page has all of them.
    out : Path, optional
        HTML file to write a page into: every step, with words and weights that can be changed.
    """
    folder, source = run_or_text(run, text)
    told = explain(folder, source, target=target, step=step, out=out)
    print(told if out is None else f"written: {printable(str(out))}")
    return 0
