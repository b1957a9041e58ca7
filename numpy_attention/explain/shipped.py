"""The model that comes with the package: small, trained to reverse, kept at four moments of its training.

Beside it stands its twin without attention, with the same sizes, seed and batches. Both are trained, and
``shipped.npz`` is written, by

    python -m numpy_attention.explain.shipped
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np

from .._text import printable
from .._typing import Array
from ..data.source import Tokens
from ..data.tasks import Task
from ..run import Run
from ..training.archive import Archive, write_archive
from ..training.config import TrainConfig
from ..training.evaluation import evaluate
from ..training.schedule import learning_rate
from ..training.step import TrainingState, flatten, training_step, views

FILE = Path(__file__).with_name("shipped.npz")
UPDATES = (0, 50, 200, 500)  # after which the parameters are kept
TEXT = "f e h a c d"
ATTENTION = TrainConfig(
    "reverse",
    length=(3, 8),
    symbols=8,
    hidden_size=16,
    embedding_size=8,
    alignment_size=16,
    steps=UPDATES[-1],
    batch_size=128,
    learning_rate=0.02,
    warmup=50,
)
CONFIGS = {"attention": ATTENTION, "vanilla": replace(ATTENTION, alignment="none")}


class Shipped(NamedTuple):
    """The models that come with the package, each as a run by its number of updates."""

    attention: dict[int, Run]
    vanilla: dict[int, Run]
    text: str  # a source that was held out; the twin without attention gets it wrong


@cache
def shipped() -> Shipped:
    """The models that come with the package.

    Raises
    ------
    ValueError
        If the file is damaged, or not the one of these settings.
    OSError
        If it cannot be read.

    Examples
    --------
    >>> models = shipped()
    >>> [str(run.translate(models.text)) for run in models.attention.values()][-1]
    'd c a h e f'
    >>> list(models.vanilla)
    [0, 50, 200, 500]
    """
    try:
        with Archive(FILE) as archive:
            return Shipped(_runs(archive, "attention"), _runs(archive, "vanilla"), TEXT)
    except ValueError as error:
        raise ValueError(f"{printable(str(FILE))}: {error}") from error


def snapshots_of(run: Run) -> dict[int, Run]:
    """The moments of its training at which a run's parameters are known: a run keeps those of the end alone."""
    return {run.step: run}


def _runs(archive: Archive, name: str) -> dict[int, Run]:
    """The runs of one model, by the number of updates."""
    config = CONFIGS[name]
    data = config.data()
    vocabularies = data.source_vocabulary, data.target_vocabulary
    model = config.model(*map(len, vocabularies))
    like = model.init(config.seed, config.dtype)
    kept = archive.read(name, (len(UPDATES), flatten(like).size), config.dtype)
    return {
        step: Run(
            config, model, views(flat, like), *vocabularies, step, None, None, True, FILE.parent, lengths=config.lengths
        )
        for step, flat in zip(UPDATES, kept, strict=True)
    }


class Shown(Task):
    """The task without a test: no figure is reported of it, and all but the held-out sequences are trained on."""

    def untrained_sources(self, rng: np.random.Generator) -> tuple[list[Tokens], list[Tokens]]:
        """Sources of ``held_out``, and none for a test."""
        return super().untrained_sources(rng)[0], []


def trained(config: TrainConfig) -> Array:
    """Parameters after each number of ``UPDATES``, one flat vector a row."""
    data = Shown(config.task, config.symbols, config.lengths, config.seed)
    config = config.settled(data)
    model = config.model(len(data.source_vocabulary), len(data.target_vocabulary))
    state = TrainingState(model.init(config.seed, config.dtype))
    assert config.clip is not None
    kept = [state.flat.copy()]
    for step in range(UPDATES[-1]):
        rate = learning_rate(step, UPDATES[-1], config.learning_rate, config.warmup)
        training_step(model, state, data.batch(step, config.batch_size), rate, clip=config.clip)
        if step + 1 in UPDATES:
            kept.append(state.flat.copy())
    return np.stack(kept)


def main() -> None:
    """Train both models, write the file, and print how well each does on the held-out pairs."""
    write_archive(FILE, {}, {name: trained(config) for name, config in CONFIGS.items()})
    models = shipped()
    for name in CONFIGS:
        for step, run in getattr(models, name).items():
            found = evaluate(run.model, run.params, run.config.data().held_out)
            right = f"{100 * found.sequence_accuracy:5.1f} % of the held-out sequences"
            print(f"{name:9} {step:3} updates: loss {found.loss:.3f}, {right}")
    print(f"{printable(str(FILE))}: {FILE.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
