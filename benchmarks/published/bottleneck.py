"""The bottleneck: accuracy against length, with attention and without.

    python -m benchmarks.published.bottleneck [--seeds 3]

Bahdanau, Cho and Bengio (2015), figure 2, in small: models are trained on sequences of 5 to 50 symbols, and tested by
length.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.published.common import options_of, percent, run, where
from benchmarks.results import ROOT, joined, table, wrap
from numpy_attention.sweep import Outcome, grid

NAME = "bottleneck"
SHORTEST, LONGEST, WIDTH = 5, 50, 5
FIGURE = ROOT / "docs" / "figures" / "bottleneck.svg"


def main() -> None:
    options = options_of(__doc__)
    length = [(5, 9)] if options.quick else [(SHORTEST, LONGEST)]
    configs = grid(
        task=["copy", "reverse"],
        length=length,
        cell=["tanh"] if options.quick else ["tanh", "lstm"],
        alignment=["additive", "none"],
        seed=range(options.seeds),
    )
    run(NAME, configs, options, row)


def row(outcome: Outcome) -> dict[str, Any]:
    """Accuracy on the test sequences by length, five lengths together; the last has six."""
    run = outcome.run
    assert run is not None
    test = run.config.data().test
    assert test is not None
    outputs = run.model.translate(run.params, test.sources, max_length=max(map(len, test.targets)) + 1)
    right = np.array([found.tokens == target for found, target in zip(outputs, test.targets, strict=True)])
    lengths = np.array(list(map(len, test.sources)))
    inside = {low: right[(low <= lengths) & (lengths <= last_of(low))] for low in range(SHORTEST, LONGEST, WIDTH)}
    return {"by_length": {str(low): float(found.mean()) for low, found in inside.items() if len(found)}}


def last_of(low: int) -> int:
    """The longest of the lengths that are counted together, by the shortest."""
    return LONGEST if low + WIDTH == LONGEST else low + WIDTH - 1


def section(rows: list[dict[str, Any]]) -> str:
    """The section of the page."""
    lows = list(rows[0]["by_length"])
    lines = []
    for task in ("copy", "reverse"):
        for cell in ("tanh", "lstm"):
            for alignment in ("additive", "none"):
                found = where(rows, task=task, cell=cell, alignment=alignment)
                if found:
                    cells = [percent([each["by_length"][low] for each in found]) for low in lows]
                    lines.append([task, cell, alignment, *cells])
    labels = [f"{low} to {last_of(int(low))}" for low in lows]
    return joined(
        "## The bottleneck: accuracy against length",
        wrap(
            "By `python -m benchmarks.published.bottleneck`. The claim is that of Bahdanau, Cho and Bengio (2015), "
            "figure 2: an encoder that must put a sentence into one vector fails as sentences grow, and attention does "
            f"not. Here every model is trained on sequences of {SHORTEST} to {LONGEST} symbols with default settings, "
            f"{rows[0]['steps']:,} updates. The figures are the share of test sequences, in percent, whose output is "
            "right as a whole; mean over the seeds, with the smallest and the largest."
        ),
        f"![Accuracy against length, with attention and without](figures/{FIGURE.name})",
        table(["task", "cell", "alignment", *labels], lines),
    )


def draw_figure(rows: list[dict[str, Any]], path: Path = FIGURE) -> None:
    """Draw accuracy against length, a panel for each task, bands from the worst to the best seed."""
    import matplotlib

    matplotlib.use("Agg")
    matplotlib.rcParams["svg.hashsalt"] = "bottleneck"  # the same file for the same figures
    import matplotlib.pyplot as plt

    colours = {"additive": "#1f77b4", "none": "#d62728"}
    figure, panels = plt.subplots(1, 2, figsize=(9, 3.4), sharey=True, layout="constrained")
    for panel, task in zip(panels, ("copy", "reverse"), strict=True):
        for cell, style in (("tanh", "-"), ("lstm", "--")):
            for alignment, colour in colours.items():
                found = where(rows, task=task, cell=cell, alignment=alignment)
                if not found:
                    continue
                places = [(int(low) + last_of(int(low))) / 2 for low in found[0]["by_length"]]
                shares = 100 * np.array([list(each["by_length"].values()) for each in found])
                name = f"{cell}, {'attention' if alignment == 'additive' else 'no attention'}"
                panel.plot(places, shares.mean(axis=0), style, color=colour, label=name)
                panel.fill_between(places, shares.min(axis=0), shares.max(axis=0), color=colour, alpha=0.15, lw=0)
        panel.set(title=task, xlabel="length of the source", ylim=(-3, 103))
        panel.spines[["top", "right"]].set_visible(False)
    panels[0].set_ylabel("whole sequences right, %")
    panels[0].legend(frameon=False, loc="center")
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)


if __name__ == "__main__":
    main()
