"""Dates and sums: NumPy beside NumPy.

    python -m benchmarks.published.book [--seeds 3]

The files are those of Koki Saitoh's "Deep Learning from Scratch 2" (O'Reilly Japan, 2018), in benchmarks/data/dlfs2,
with the book's own split: NumPy's legacy seed 1984, a shuffle of all 50,000 lines, the last tenth for the test.
"""

from __future__ import annotations

import lzma
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np

from benchmarks.published.common import SWEEPS, options_of, percent, run, seconds, values, where
from benchmarks.results import joined, table, wrap
from numpy_attention.data.pairs import read_encoded
from numpy_attention.sweep import Outcome, grid

NAME = "book"
DATA = Path(__file__).parents[1] / "data" / "dlfs2"
BATCH = 128
HELD_OUT = 0.05
EPOCHS = {"date": (1, 2, 4), "addition": (5, 10, 25)}
# Test accuracy by epoch of the book's own attention model on dates, run once on the machine of the first measurements:
# LSTM of 256, dot product, source reversed, Adam at 1e-3, batches of 128; 61 s an epoch on one core.
THEIRS = {("date", 1): 0.0, ("date", 2): 0.517}
EPOCH_OF_THEIRS = 61.0


def main() -> None:
    options = options_of(__doc__)
    folder = options.out or SWEEPS / f"{NAME}{'-quick' * options.quick}"
    configs = []
    for name, epochs in EPOCHS.items():
        training, test = write_files(name, folder / "pairs", few=options.quick)
        updates = [-(-epoch * trained_pairs(training) // BATCH) for epoch in epochs]
        configs += grid(
            task=str(training),
            test=test,
            tokens="characters",
            held_out=HELD_OUT,
            batch_size=BATCH,
            steps=updates[:1] if options.quick else updates,
            seed=range(options.seeds),
        )
    options.out = folder
    run(NAME, configs, options, row)


def trained_pairs(path: Path) -> int:
    """Number of pairs in a file, less those that are held out."""
    return round((1 - HELD_OUT) * path.read_bytes().count(b"\n"))


def write_files(name: str, folder: Path, few: bool) -> tuple[Path, Path]:
    """The book's split of one of its files, as files of pairs."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = lzma.decompress((DATA / f"{name}.txt.xz").read_bytes()).decode().splitlines()
    pairs = [tuple(part.strip() for part in line.split("_")) for line in lines]
    order = np.arange(len(pairs))
    np.random.RandomState(1984).shuffle(order)
    shuffled = [pairs[number] for number in order]
    split = len(pairs) - len(pairs) // 10
    parts = {"": shuffled[:split], "-test": shuffled[split:]}
    paths = []
    for part, chosen in parts.items():
        path = folder / f"{name}{part}.tsv"
        text = "".join(f"{source}\t{target}\n" for source, target in chosen[: 300 if few else None])
        path.write_text(text, encoding="utf-8")
        paths.append(path)
    return paths[0], paths[1]


def row(outcome: Outcome) -> dict[str, Any]:
    """The number of epochs, and the accuracy on the test lines that are not among the training lines as well."""
    run = outcome.run
    assert run is not None
    assert run.config.steps is not None
    assert run.config.test is not None
    training = read_encoded(Path(run.config.task), "characters", run.source_vocabulary, run.target_vocabulary)
    test = read_encoded(run.config.test, "characters", run.source_vocabulary, run.target_vocabulary)
    seen = set(map(tuple, training.sources))
    new = [number for number, source in enumerate(test.sources) if tuple(source) not in seen]
    outputs = run.model.translate(run.params, [test.sources[number] for number in new])
    right = [output.tokens == test.targets[number] for number, output in zip(new, outputs, strict=True)]
    return {
        "epochs": round(run.config.steps * BATCH / trained_pairs(Path(run.config.task))),
        "tested": len(test.sources),
        "new": len(new),
        "new_accuracy": mean(right) if right else None,
    }


def section(rows: list[dict[str, Any]]) -> str:
    """The section of the page."""
    lines = []
    for task in values(rows, "task"):
        for epochs in sorted(values(where(rows, task=task), "epochs")):
            found = where(rows, task=task, epochs=epochs)
            theirs = THEIRS.get((task, epochs))
            shown = "" if theirs is None else f"{100 * theirs:.1f}"
            time = "" if theirs is None else f"{epochs * EPOCH_OF_THEIRS:.0f}"
            ours = [each["sequence_accuracy"] for each in found]
            difference = "" if theirs is None else f"{100 * (mean(ours) - theirs):+.1f}"
            new = percent([each["new_accuracy"] for each in found if each["new_accuracy"] is not None])
            name = {"date": "dates", "addition": "sums"}.get(task, task)
            times = seconds([each["seconds"] for each in found])
            lines.append([name, epochs, shown, percent(ours), difference, new, time, times, len(found)])
    first = rows[0]
    repeated = max(each["tested"] - each["new"] for each in rows)
    return joined(
        "## Dates and sums: NumPy beside NumPy",
        wrap(
            "By `python -m benchmarks.published.book`. Files and split of Koki Saitoh's *Deep Learning from Scratch "
            "2*: 50,000 dates in many forms to be written in one, and 50,000 sums; every tenth is tested. Theirs, "
            "dates: the book's attention model (LSTM of 256, dot product, source reversed, Adam at 1e-3, batches of "
            f"128), run here. Ours: a tanh cell of {first['hidden_size']}, additive attention, batches of {BATCH}, "
            "default settings; a model of its own for every number of epochs, as the learning rate decays over the "
            "whole run, and a twentieth of the training lines held out for choosing. Share of the test lines in "
            f"percent that are right as a whole. In the book's split, {repeated:,} dates of the test are among those "
            "of the training as well; new ones are the others. Seconds of training on one core."
        ),
        table(
            [
                "file",
                "epochs",
                "theirs, %",
                "ours, %",
                "difference",
                "ours, new ones, %",
                "seconds, theirs",
                "seconds, ours",
                "seeds",
            ],
            lines,
        ),
    )


if __name__ == "__main__":
    main()
