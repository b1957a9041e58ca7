"""Make exercises.ipynb: the first three exercises of ``numpy-attention learn`` as a notebook, from the same texts.

Run it from anywhere: ``python docs/notebooks/make_exercises.py``. It needs no Jupyter.
"""

import json
from itertools import pairwise
from pathlib import Path

from numpy_attention.exercises.course import EXERCISES, Exercise

NOTEBOOK = Path(__file__).with_name("exercises.ipynb")
FIRST = EXERCISES[:3]
START = """\
# Write the backward pass yourself

Three exercises, each judged by a proof: an answer is run, unchanged, in exact arithmetic, and compared with the
derivative by equality. They are the first ones of a course of sixteen, which builds a whole model with attention.

Write where it says `NotImplementedError`, run that cell, and then the one below it. In names, `dx` is the gradient of
the loss with respect to `x`.

In a notebook your functions run in the notebook's own process: there is no time limit, and nothing is refused. Stop a
loop that does not end with the notebook's own button."""
END = """\
# The other thirteen

They are files, which the command line judges:

```sh
numpy-attention learn start exercises
numpy-attention learn check exercises dense
```

Your answers from here fit there. docs/exercises.md tells more. `check` knows the other exercises too."""


def _cells(exercise: Exercise) -> list[tuple[str, str]]:
    """The cells of one exercise: its text, its hints, its gaps, and the check."""
    head, _, functions = exercise.blank.partition("\nimport numpy as np\n")
    lines = [line.removeprefix("#").removeprefix(" ") for line in head.splitlines()]
    text = "\n".join(line for line in lines if not line.startswith(("Check it:", "A hint:")))
    names = ", ".join(exercise.functions)
    hints = [
        f"<details><summary>Hint {number}</summary>\n\n{_paragraphs(hint)}\n\n</details>"
        for number, hint in enumerate(exercise.hints, start=1)
    ]
    return [
        ("markdown", f"## {text.strip()}"),
        ("markdown", "\n\n".join(hints)),
        ("code", functions.strip()),
        ("code", f'check("{exercise.name}", [{names}])'),
    ]


def _paragraphs(hint: str) -> str:
    """Every line a paragraph of its own, but for those of a block of code."""
    lines = hint.splitlines()
    gaps = ("\n" if each.startswith(" ") and last.startswith(" ") else "\n\n" for last, each in pairwise(lines))
    return "".join(part for pair in zip(lines, (*gaps, ""), strict=True) for part in pair)


def notebook() -> str:
    """The notebook's file."""
    cells = [("markdown", START), ("code", "import numpy as np\n\nfrom numpy_attention.exercises import check")]
    for exercise in FIRST:
        cells += _cells(exercise)
    made = []
    for kind, source in [*cells, ("markdown", END)]:
        more = {"execution_count": None, "outputs": []} if kind == "code" else {}
        made.append({"cell_type": kind, "metadata": {}, "source": source.splitlines(keepends=True), **more})
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    metadata = {"kernelspec": kernel, "language_info": {"name": "python"}}
    return json.dumps({"cells": made, "metadata": metadata, "nbformat": 4, "nbformat_minor": 4}, indent=1) + "\n"


if __name__ == "__main__":
    NOTEBOOK.write_text(notebook(), encoding="utf-8")
