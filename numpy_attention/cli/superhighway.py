"""``numpy-attention superhighway``: where the gradient travels, measured, printed, drawn and kept."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields, replace
from functools import partial
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from .._checks import check_size
from .._typing import Array
from ..data.batch import Batch
from ..data.tasks import TASKS, Task
from ..run import Run, load_run
from ..superhighway.profile import Comparison, compare, gradient_profile, without_attention
from ..superhighway.study import PathStudy, describe, describe_comparison, plain, study_length, study_paths
from ..training.checkpoint import prepare_folder
from ..training.config import TrainConfig
from ..training.progress import Lines
from ..training.trainer import train
from .flags import flags_of
from .superhighway_report import draw_figures, show
from .train import Bar

LENGTH = 20
FIXED_BY_RUN = {
    *("task", "lengths", "radii", "symbols", "hidden_size", "embedding_size", "alignment", "bidirectional", "seed")
}
BEFORE, AFTER = "at initialisation", "after training"
Profiles = dict[str, dict[str, Any]]


@dataclass(frozen=True)
class SuperhighwayConfig:
    """Where the gradient travels on its way to the encoder's states, with attention and without.

    Prints tables and pictures, and writes figures (PNG and SVG) and every number (superhighway.json) into a folder.

    Parameters
    ----------
    run : path, optional
        Analyse this trained run, at its initial weights and now, in place of the comparison at initialisation.
    train : bool
        Train the model with attention and the one without on the same data, and compare before and after.
    task : {"copy", "reverse"}
        What the sequences are for.
    length : int, optional
        Length of the sequences whose paths are told apart and that training uses; 20, or the run's longest.
    lengths : tuple of int
        Lengths to follow the profile over.
    radii : tuple of float
        Spectral radii of the encoder's recurrent matrix to follow the profile over, at length 50 at the most.
    sequences : int
        Sequences per setting; none that training has seen.
    seeds : int
        Draws of the initial weights per setting.
    symbols : int
        Number of different symbols in the sequences.
    hidden_size : int
        Size of the decoder's state and, one-directional, of the encoder's; bidirectional, half of it per direction.
    embedding_size : int
        Size of the embeddings.
    alignment : {"additive", "stacked", "dot"}
        How the model with attention scores source positions.
    bidirectional : bool
        Read the source in both directions.
    seed : int
        First seed of the initial weights, and seed of the data.
    out : path, optional
        Folder for figures and numbers; a new one under runs/ unless given.
    overwrite : bool
        Write into ``out`` even if it has something in it.
    """

    run: Path | None = None
    train: bool = False
    task: Literal["copy", "reverse"] = "copy"
    length: int | None = None
    lengths: tuple[int, ...] = (10, 20, 50, 100, 200, 500)
    radii: tuple[float, ...] = (0.5, 0.7, 0.9, 1.0, 1.1, 1.3)
    sequences: int = 8
    seeds: int = 5
    symbols: int = 10
    hidden_size: int = 64
    embedding_size: int = 32
    alignment: Literal["additive", "stacked", "dot"] = "additive"
    bidirectional: bool = False
    seed: int = 0
    out: Path | None = None
    overwrite: bool = False

    def __post_init__(self) -> None:
        check_size("sequences", self.sequences)
        check_size("seeds", self.seeds)
        for length in (*self.lengths, *([] if self.length is None else [self.length])):
            check_size("length", length)
        for name in ("lengths", "radii"):
            if not getattr(self, name):
                raise ValueError(f"{name}: expected at least one, got none")
        for radius in self.radii:
            if not 0 < radius < np.inf:
                raise ValueError(f"radii: expected numbers above 0, got {radius}")
        if self.run is not None and self.train:
            raise ValueError("train: a run is trained already; expected either a run or --train, got both")
        if self.run is not None:
            for field in fields(self):
                if field.name in FIXED_BY_RUN and getattr(self, field.name) != field.default:
                    raise ValueError(
                        f"{field.name}: a run brings its own; leave it out, got {getattr(self, field.name)}"
                    )


if TYPE_CHECKING:
    SuperhighwayFlags = SuperhighwayConfig
else:
    SuperhighwayFlags = flags_of(SuperhighwayConfig)


def superhighway_command(config: SuperhighwayFlags) -> int:
    """Show where the gradient travels, with attention and without; print, draw and keep every number."""
    config = SuperhighwayConfig(**vars(config))
    console = Console(highlight=False)
    run = None if config.run is None else load_run(config.run)
    training = make_training(config) if run is None else run.config
    folder = make_folder(config, training)
    found: dict[str, Any] = {"settings": asdict(config) | {"run": str(config.run or ""), "out": str(folder)}}
    if run is not None:
        found["settings"] = {"run": str(config.run), "sequences": config.sequences} | training.to_dict()
    found["bidirectional"] = training.bidirectional
    found["length"] = config.length or (LENGTH if run is None else training.lengths[1])
    if run is not None:
        study_run(run, config, found, console)
    else:
        study_initial(training, config, found, console)
        if config.train:
            study_training(training, config, found, folder, console)
    show(found, console)
    files = draw_figures(found, folder)
    numbers = folder / "superhighway.json"
    numbers.write_text(json.dumps(plain(readable(found)), indent=1, allow_nan=False) + "\n", encoding="utf-8")
    console.print(f"\nwritten: {len(files)} figures, each PNG and SVG, and every number in {numbers}", soft_wrap=True)
    return 0


def make_training(config: SuperhighwayConfig) -> TrainConfig:
    """Settings of the model with attention and of its training, which the model without it shares."""
    return TrainConfig(
        config.task,
        length=config.length or LENGTH,
        symbols=config.symbols,
        hidden_size=config.hidden_size,
        embedding_size=config.embedding_size,
        alignment_size=config.hidden_size,
        alignment=config.alignment,
        bidirectional=config.bidirectional,
        seed=config.seed,
    )


def make_folder(config: SuperhighwayConfig, training: TrainConfig) -> Path:
    """Make the folder for what is written; one that has something in it is an error unless asked for."""
    out = config.out
    if out is None:
        names = ("superhighway" if number == 1 else f"superhighway-{number}" for number in count(1))
        out = next(folder for folder in (Path("runs", name) for name in names) if not folder.exists())
    return prepare_folder(replace(training, out=out, overwrite=config.overwrite))


def make_batch(training: TrainConfig, length: int, size: int) -> Batch:
    """Sequences of one length that training never sees."""
    if training.task in TASKS:
        held_out = Task(training.task, training.symbols, (length, length), training.seed).held_out
    else:
        held_out = training.data().held_out
    return Batch.from_sequences(held_out.sources[:size], held_out.targets[:size])


def study_initial(training: TrainConfig, config: SuperhighwayConfig, found: dict[str, Any], console: Console) -> None:
    """At initialisation: the paths at one length, the profiles over the lengths and over the spectral radius."""
    vocabulary = len(training.data().source_vocabulary)
    model, seeds = training.model(vocabulary, vocabulary), range(config.seed, config.seed + config.seeds)

    def paths() -> PathStudy:
        batch = make_batch(training, found["length"], config.sequences)
        return study_paths(model, [model.init(seed) for seed in seeds], batch)

    def over_length(length: int) -> dict[str, Any]:
        return study_length(model, make_batch(training, length, config.sequences), seeds)

    def over_radius(radius: float) -> dict[str, Any]:
        batch = make_batch(training, found["radius_length"], config.sequences)
        return describe_comparison(compare(model, batch, seeds, radius))

    found["radius_length"] = min(50, max(config.lengths))
    jobs: dict[tuple[str, Any], Callable[[], Any]] = {("paths", BEFORE): paths}
    jobs |= {("lengths", length): partial(over_length, length) for length in sorted(set(config.lengths))}
    jobs |= {("radii", radius): partial(over_radius, radius) for radius in sorted(set(config.radii))}
    work(jobs, found, console)


def study_training(
    training: TrainConfig, config: SuperhighwayConfig, found: dict[str, Any], folder: Path, console: Console
) -> None:
    """Train both models on the same data; profiles and paths before and after."""
    runs = {}
    for name, alignment in (("attention", training.alignment), ("vanilla", "none")):
        out = folder / name
        settings = replace(training, alignment=alignment, out=out, overwrite=config.overwrite)
        console.print(f"\ntraining {'with' if name == 'attention' else 'without'} attention", style="bold")
        if console.is_terminal:
            with Bar(console) as bar:
                runs[name] = train(settings, bar)
        else:
            runs[name] = train(settings, Lines())
    found["evaluation"] = {name: asdict(run.evaluation) for name, run in runs.items() if run.evaluation}
    # One run stands for all seeds, so as many sequences more.
    batch = make_batch(training, found["length"], config.sequences * config.seeds)
    attention, vanilla = runs["attention"], runs["vanilla"]
    params = double(attention.params)
    found["paths"][AFTER] = study_paths(attention.model, [params], batch)
    before = compare(attention.model, batch, [training.seed])
    after = compare(attention.model, batch, [], params=params)
    trained = gradient_profile(vanilla.model, double(vanilla.params), batch)
    found["profiles"] = {
        BEFORE: describe_comparison(before),
        AFTER: describe_comparison(Comparison(after.attention, trained))
        | {"attention cut out": describe(after.vanilla)},
    }


def study_run(run: Run, config: SuperhighwayConfig, found: dict[str, Any], console: Console) -> None:
    """A trained run, at its initial weights and as it is."""
    batch = make_batch(run.config, found["length"], config.sequences * config.seeds)
    found["length"] = batch.source.shape[1]
    name = "vanilla" if run.config.alignment == "none" else "attention"
    draws = {BEFORE: run.model.init(run.config.seed), AFTER: double(run.params)}
    found["evaluation"] = {name: asdict(run.evaluation)} if run.evaluation else {}

    def profiles(params: dict[str, Array]) -> Profiles:
        described = {name: describe(gradient_profile(run.model, params, batch))}
        if name == "attention":
            described["attention cut out"] = describe(gradient_profile(*without_attention(run.model, params), batch))
        return described

    jobs: dict[tuple[str, Any], Callable[[], Any]] = {}
    for when, params in draws.items():
        jobs["paths", when] = partial(study_paths, run.model, [params], batch)
        jobs["profiles", when] = partial(profiles, params)
    work(jobs, found, console)


def work(jobs: dict[tuple[str, Any], Callable[[], Any]], found: dict[str, Any], console: Console) -> None:
    """Do the jobs, in a terminal under a bar that says what is being done, and keep what they find."""
    columns = (TextColumn("measuring"), MofNCompleteColumn(), BarColumn(), TextColumn("{task.description}"))
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("", total=len(jobs))
        for (kind, which), job in jobs.items():
            progress.update(task, description=f"{kind}: {which}")
            if not console.is_terminal:
                console.print(f"measuring {kind}: {which}")
            found.setdefault(kind, {})[which] = job()
            progress.advance(task)


def double(params: dict[str, Array]) -> dict[str, Array]:
    """The parameters in double precision: what is measured is the model, not the rounding."""
    return {name: value.astype(np.float64) for name, value in params.items()}


def readable(found: dict[str, Any]) -> dict[str, Any]:
    """The same with every study as a dict."""
    return found | {"paths": {when: asdict(study) for when, study in found["paths"].items()}}
