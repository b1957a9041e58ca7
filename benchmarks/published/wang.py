"""Copy and reverse beside Wang (2023), length by length, and on lengths that were never trained on.

    python -m benchmarks.published.wang [--seeds 3] [--full]

The training strings are made as published: 26 letters, 1,000 strings of each length from 6 to 15. --full takes
the published sizes, updates and learning rate: embeddings of 128, states of 512, 500 epochs in batches of 1,000, 5e-4.
The default takes a quarter of the states.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np

from benchmarks.published.common import SWEEPS, options_of, run, where
from benchmarks.results import joined, table, wrap
from numpy_attention.data.pairs import read_encoded
from numpy_attention.sweep import Outcome, grid

NAME = "wang"
LETTERS = "abcdefghijklmnopqrstuvwxyz"
TRAINED, TESTED = range(6, 16), range(1, 23)
PER_LENGTH = {"": 1000, "-dev": 100, "-test": 1000}
SCALED = {"batch_size": 100, "steps": 6000}
FULL = {
    "embedding_size": 128,
    "hidden_size": 512,
    "alignment_size": 512,
    "batch_size": 1000,
    "steps": 5000,  # 500 epochs of 10 batches
    "learning_rate": 5e-4,
    "recurrent_rate": 1.0,
    "weight_decay": 1e-5,
    "clip": 1.0,
}
# Best of three runs, read off the author's figure: ICGI 2023, code at github.com/jaaack-wang/rnn-seq2seq-learning.
LENGTHS = (2, 3, 5, 6, 8, 10, 12, 14, 15, 16, 18, 20, 22)
PUBLISHED = {
    ("copy", "additive"): (0, 0.98, 0.98, 1, 1, 1, 1, 1, 1, 0.766, 0.547, 0.028, 0.03),
    ("copy", "none"): (0, 0, 0, 0.97, 0.781, 0.497, 0.155, 0.011, 0, 0, 0, 0, 0),
    ("reverse", "additive"): (0.357, 0.949, 1, 1, 1, 1, 1, 1, 1, 0.997, 0.922, 0.540, 0.138),
    ("reverse", "none"): (0.836, 0.996, 1, 1, 1, 1, 1, 0.995, 0.957, 0.060, 0, 0, 0),
}
# Mean over the lengths that are trained on.
PUBLISHED_MEAN = {
    ("copy", "additive"): 1.0,
    ("copy", "none"): 0.43,
    ("reverse", "additive"): 1.0,
    ("reverse", "none"): 0.995,
}


def main() -> None:
    options = options_of(__doc__, full="the published sizes, updates and learning rate")
    folder = options.out or SWEEPS / f"{NAME}{'-full' * options.full}{'-quick' * options.quick}"
    write_files(folder / "strings", few=options.quick)
    configs = []
    for task in ("copy", "reverse"):
        parts = [folder / "strings" / f"{task}{part}.tsv" for part in PER_LENGTH]
        configs += grid(
            task=str(parts[0]),
            dev=parts[1],
            test=parts[2],
            tokens="characters",
            alignment=["additive", "none", "location"],
            seed=range(options.seeds),
            **(FULL if options.full else SCALED),
        )
    options.out = folder
    run(f"{NAME}_full" if options.full else NAME, configs, options, row)


def write_files(folder: Path, few: bool) -> None:
    """The training strings, those for choosing, and those of the test: all different."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(2023)
    taken: set[str] = set()
    for part, count in PER_LENGTH.items():
        lengths = TESTED if part == "-test" else TRAINED
        strings = [text for length in lengths for text in draw(rng, length, 20 if few else count, taken)]
        for task, order in (("copy", 1), ("reverse", -1)):
            lines = "".join(f"{text}\t{text[::order]}\n" for text in strings)
            (folder / f"{task}{part}.tsv").write_text(lines, encoding="utf-8")


def draw(rng: np.random.Generator, length: int, count: int, taken: set[str]) -> Iterable[str]:
    """Different strings of a length that were not taken before; fewer where there are no more."""
    count = min(count, len(LETTERS) ** length)
    found: dict[str, None] = {}
    while len(found) < count:
        text = "".join(rng.choice(list(LETTERS), length))
        if text not in taken:
            found[text] = None
    taken.update(found)
    return found


def row(outcome: Outcome) -> dict[str, Any]:
    """Accuracy on the test strings of each length."""
    run = outcome.run
    assert run is not None
    assert run.config.test is not None
    test = read_encoded(run.config.test, "characters", run.source_vocabulary, run.target_vocabulary)
    outputs = run.model.translate(run.params, test.sources, max_length=max(TESTED) + 1)
    right: dict[int, list[bool]] = {}
    for source, target, found in zip(test.sources, test.targets, outputs, strict=True):
        right.setdefault(len(source), []).append(found.tokens == target)
    return {"by_length": {str(length): mean(each) for length, each in sorted(right.items())}}


def section(rows: list[dict[str, Any]]) -> str:
    """The section of the page."""
    lines = []
    for task, alignment in (*PUBLISHED, ("copy", "location"), ("reverse", "location")):
        found = where(rows, task=task, alignment=alignment)
        if not found:
            continue
        runs = [figures(each["by_length"]) for each in found]
        best, means = ([function(values) for values in zip(*runs, strict=True)] for function in (max, mean))
        named = [task, alignment]
        if (task, alignment) in PUBLISHED:
            theirs = [*PUBLISHED[task, alignment], PUBLISHED_MEAN[task, alignment]]
            lines.append([*named, "published, best of 3", *map(share, theirs)])
            named = ["", ""]
        lines.append([*named, f"ours, best of {len(found)}", *map(share, best)])
        lines.append(["", "", "ours, mean", *map(share, means)])
        if (task, alignment) in PUBLISHED:
            better = [f"{100 * (ours - value):+.1f}" for ours, value in zip(best, theirs, strict=True)]
            lines.append(["", "", "difference of the best", *better])
    first = rows[0]
    return joined(
        "## Copy and reverse by length, and beyond: Wang 2023",
        wrap(
            "By `python -m benchmarks.published.wang`. Training strings as published: 26 letters, 1,000 strings of "
            "each length from 6 to 15; all other lengths were never trained on. Share of the test strings in percent "
            "whose output is right as a whole, its end included. The published figures are read off a figure, to about "
            "0.3. Published: states of 512, embeddings of 128, at most 5,000 updates of 1,000 strings of one length "
            "with Adam at 5e-4, the best epoch on other strings of the trained lengths, and a source between two marks "
            f"for its beginning and its end. Ours: states of {first['hidden_size']}, embeddings of 64, "
            f"{first['steps']:,} updates of {first['batch_size']} strings, our default recipe, no marks, "
            f"{mean(each['seconds'] for each in rows):.0f} s a run on one core. `--full` takes their sizes, updates "
            "and highest learning rate, with our initial values and decay. The alignment `location` was not published "
            "for these tasks: its score also reads the attention of the step before."
        ),
        table(["task", "alignment", "", *(f"{length}" for length in LENGTHS), "6 to 15"], lines),
    )


def figures(by_length: dict[str, float]) -> list[float]:
    """Accuracy at each length of the table, and the mean over those that are trained on."""
    return [by_length[str(length)] for length in LENGTHS] + [mean(by_length[str(length)] for length in TRAINED)]


def share(value: float) -> str:
    """A share in percent."""
    return f"{100 * value:.1f}"


if __name__ == "__main__":
    main()
