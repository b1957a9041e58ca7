"""Several runs of ``numpy-attention superhighway --gates --train``, side by side: the medians after training.

    numpy-attention superhighway --gates --train --out runs/gates            (and --seed 1, --seed 2, ...)
    python docs/figures/gates_seeds.py runs/gates runs/gates-1 runs/gates-2

writes superhighway/gates-seeds.json, by seed.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

FIGURES = ("keep", "rate", "first_to_last", "gates_share")
PAGE = Path(__file__).parent / "superhighway" / "gates-seeds.json"


def medians(cell: dict[str, Any]) -> dict[str, Any]:
    """Of one cell: the medians of both models, and of the ratio of their norms at the first state."""
    models = {model: {name: cell[model][name][1] for name in FIGURES} for model in ("vanilla", "attention")}
    return models | {"first_ratio": cell["first_ratio"][1]}


if __name__ == "__main__":
    found = {}
    for folder in map(Path, sys.argv[1:]):
        run = json.loads((folder / "gates.json").read_text(encoding="utf-8"))
        cells = run["gates"]["after training"]
        found[str(run["settings"]["seed"])] = {name: medians(cell) for name, cell in cells.items()}
    PAGE.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
