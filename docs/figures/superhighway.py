"""The figures of docs/superhighway.md, drawn from the numbers that stand beside them.

    python docs/figures/superhighway.py

reads superhighway/superhighway.json and superhighway/gates.json, and writes the PNG files there. The numbers are from

    numpy-attention superhighway --train --out runs/superhighway
    numpy-attention superhighway --gates --train --out runs/gates
"""

from __future__ import annotations

import json
from contextlib import suppress
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from numpy_attention.superhighway.figures import gates_figures, study_figures
from numpy_attention.superhighway.study import PathStudy

FOLDER = Path(__file__).parent / "superhighway"


def arrays(value: Any) -> Any:
    """The dicts of a JSON file with arrays for its lists of numbers; what was not finite is None there."""
    if isinstance(value, dict):
        return {key: arrays(each) for key, each in value.items()}
    if isinstance(value, list):
        with suppress(ValueError):  # words stay as they are
            return np.array(value, float)
    return value


def read(name: str) -> dict[str, Any]:
    """Results of a command, as it has them before it writes them."""
    found: dict[str, Any] = arrays(json.loads((FOLDER / name).read_text(encoding="utf-8")))
    found["paths"] = {when: PathStudy(**study) for when, study in found.get("paths", {}).items()}
    for kind, number in (("lengths", int), ("radii", float)):
        if kind in found:
            found[kind] = {number(name): row for name, row in found[kind].items()}
    return found


if __name__ == "__main__":
    figures = study_figures(read("superhighway.json")) | gates_figures(read("gates.json"))
    for name, figure in figures.items():
        drawn = BytesIO()
        figure.savefig(drawn, dpi=130)
        image = Image.open(drawn).convert("RGB")
        if not name.startswith("map"):  # a palette makes the file a third as large, but steps in a scale of colours
            image = image.quantize(256)
        image.save(FOLDER / f"{name}.png", optimize=True)
