"""``numpy-attention superhighway``: measure where the gradient travels, print it, draw it, keep every number."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import asdict, dataclass, fields, replace
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any, Literal

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from .._checks import check_choice, check_number, check_size
from .._json import plain
from .._text import printable
from ..data.batch import Batch
from ..data.tasks import Task
from ..data.vocabulary import Vocabulary
from ..model.seq2seq import Seq2Seq
from ..ops.attention import ALIGNMENTS
from ..ops.cells import CELLS
from ..run import Run, load_run
from ..superhighway.figures import gates_figures, study_figures
from ..superhighway.gates import study_gates, study_gates_initial
from ..superhighway.study import (
    AFTER,
    BEFORE,
    Jobs,
    double,
    held_out_batch,
    radius_length,
    study_initial,
    study_one,
    study_trained,
)
from ..training.checkpoint import prepare_folder
from ..training.config import TrainConfig
from ..training.progress import Lines
from ..training.trainer import train
from ..views.plots import check_matplotlib, save_figure
from .superhighway_report import show, show_gates
from .train import Bar

LENGTH = 20
WITH_ATTENTION = [name for name, alignment in ALIGNMENTS.items() if alignment is not None]
TRAINED_BIAS = 1.0  # of the gate that keeps the state, with --gates
# Settings that another one rules out, and why.
OF_MODEL = ("task", "symbols", "hidden_size", "embedding_size", "cell", "alignment", "bidirectional", "seed")
FIXED = {
    "run": ((*OF_MODEL, "lengths", "radii"), "a run brings its own"),
    "gates": (("cell", "lengths", "radii"), "--gates compares all cells at one length"),
}


@dataclass(frozen=True)
class SuperhighwayConfig:
    """Measure where the gradient travels on its way to the encoder states, with attention and without.

    Prints tables and pictures, and writes figures (PNG and SVG) and every number (JSON) into a folder.

    Parameters
    ----------
    run : path, optional
        Measure this trained run, at its initial weights and now, instead of untrained models.
    train : bool
        Also train the model with attention and the one without on the same data, and measure both after training.
    gates : bool
        Measure what gates do to the gradient instead: every cell, with attention and without, at one length.
    task : {"copy", "reverse"}
        Task that the sequences belong to.
    length : int, optional
        Length of the sequences for the paths, for --gates and for training; by default 20, or the run's longest.
    lengths : tuple of int
        Lengths at which to measure how the gradient fades.
    radii : tuple of float
        Spectral radii of the encoder's recurrent matrix (of a gated cell, of each gate's) at which to measure how the
        gradient fades, at length 50 or the longest of the lengths.
    sequences : int
        Sequences per setting, of those that training never sees.
    seeds : int
        Draws of the initial weights per setting.
    symbols : int
        Number of different symbols in the sequences.
    hidden_size : int
        Size of the decoder's state. The encoder's is the same, or half of it in each direction if bidirectional.
    embedding_size : int
        Size of the embeddings.
    cell : str
        Recurrent cell of the encoder and the decoder.
    forget_biases : tuple of float
        With --gates: initial biases of the gate that keeps the state; --train starts from 1.
    alignment : str
        How the model with attention scores source positions.
    bidirectional : bool
        Read the source in both directions.
    seed : int
        First seed of the initial weights, and seed of the data.
    out : path, optional
        Folder for figures and numbers; by default a new one under runs/.
    overwrite : bool
        Write into the folder even if it is not empty.
    """

    run: Path | None = None
    train: bool = False
    gates: bool = False
    task: Literal["copy", "reverse"] = "copy"
    length: int | None = None
    lengths: tuple[int, ...] = (10, 20, 50, 100, 200, 500)
    radii: tuple[float, ...] = (0.5, 0.7, 0.9, 1.0, 1.1, 1.3)
    sequences: int = 8
    seeds: int = 5
    symbols: int = 10
    hidden_size: int = 64
    embedding_size: int = 32
    cell: str = "tanh"
    forget_biases: tuple[float, ...] = (0.0, 1.0, 3.0)
    alignment: str = "additive"
    bidirectional: bool = False
    seed: int = 0
    out: Path | None = None
    overwrite: bool = False

    def __post_init__(self) -> None:
        check_choice("cell", self.cell, CELLS)
        check_choice("alignment", self.alignment, WITH_ATTENTION)
        check_size("sequences", self.sequences)
        check_size("seeds", self.seeds)
        for length in (*self.lengths, *([] if self.length is None else [self.length])):
            check_size("length", length)
        for bias in self.forget_biases:
            check_number("forget_biases", bias)
        for name in ("lengths", "radii", "forget_biases"):
            if not getattr(self, name):
                raise ValueError(f"{name}: expected at least one, got none")
        for radius in self.radii:
            if not 0 < radius < np.inf:
                raise ValueError(f"radii: expected numbers above 0, got {radius}")
        if self.run is not None and self.train:
            raise ValueError("train: a run is trained already; expected either a run or --train, got both")
        if self.run is not None and self.gates:
            raise ValueError("gates: expected either a run or --gates, got both")
        changed = {field.name for field in fields(self) if getattr(self, field.name) != field.default}
        for option, (names, reason) in FIXED.items():
            for name in changed.intersection(names) if getattr(self, option) else ():
                raise ValueError(f"{name}: {reason}; leave it out, got {getattr(self, name)}")
        if "forget_biases" in changed and not self.gates:
            raise ValueError(f"forget_biases: expected --gates with it, got {self.forget_biases} alone")


def superhighway_command(config: SuperhighwayConfig) -> int:
    """Measure where the gradient travels, with attention and without; print, draw and keep every number."""
    console = Console(highlight=False)
    run = None if config.run is None else load_run(config.run)
    training = make_training(config) if run is None else run.config
    check_matplotlib()
    out = config.out or new_folder()
    made = [each for each in (out, *out.parents) if not each.exists()]
    folder = prepare_folder(replace(training, out=out, overwrite=config.overwrite))
    try:
        measure(config, training, run, folder, console)
    except BaseException:
        with suppress(OSError):  # a folder that is not empty stays
            for each in made:
                each.rmdir()
        raise
    return 0


def measure(config: SuperhighwayConfig, training: TrainConfig, run: Run | None, folder: Path, console: Console) -> None:
    """Do what the settings say, and print, draw and write what is found."""
    found: dict[str, Any] = {"settings": asdict(config) | {"run": str(config.run or ""), "out": str(folder)}}
    if run is not None:
        found["settings"] = {"run": str(config.run), "sequences": config.sequences} | training.to_dict()
    found |= {"bidirectional": training.bidirectional, "length": config.length or training.lengths[1]}
    if config.gates:
        measure_gates(training, config, found, folder, console)
    elif run is not None:
        measure_run(run, config, found, console)
    else:
        measure_models(training, config, found, folder, console)
    (show_gates if config.gates else show)(found, console)
    drawn = (gates_figures if config.gates else study_figures)(found)
    for name, figure in drawn.items():
        save_figure(figure, folder / name)
    numbers = folder / ("gates.json" if config.gates else "superhighway.json")
    found["paths"] = {when: asdict(study) for when, study in found.get("paths", {}).items()}
    numbers.write_text(json.dumps(plain(found), indent=1, allow_nan=False) + "\n", encoding="utf-8")
    figures = "one figure, as" if len(drawn) == 1 else f"{len(drawn)} figures, each as"
    line = f"written: {figures} PNG and SVG, and every number in {printable(str(numbers))}"
    console.print(f"\n{line}", soft_wrap=True, markup=False, emoji=False)


def make_training(config: SuperhighwayConfig) -> TrainConfig:
    """Settings of the model with attention and of its training, which the model without it shares."""
    shared = {name: getattr(config, name) for name in OF_MODEL}
    length = config.length or LENGTH
    # Plain training: every parameter at one rate, so that what gradients do to the recurrent matrices can be seen.
    plain_training: dict[str, Any] = {
        "learning_rate": 2e-3,
        "recurrent_rate": 1.0,
        "batch_size": 64,
        "steps": 150 + 35 * length,
    }
    return TrainConfig(**shared, **plain_training, length=length, alignment_size=config.hidden_size)


def new_folder() -> Path:
    """The first of runs/superhighway, runs/superhighway-2 and so on that is not there yet."""
    names = ("superhighway" if number == 1 else f"superhighway-{number}" for number in count(1))
    return next(folder for folder in (Path("runs", name) for name in names) if not folder.exists())


def words_of_first(batch: Batch, source: Vocabulary, target: Vocabulary) -> dict[str, list[str]]:
    """Words of the sequence that the maps are of."""
    return {"source": source.decode(batch.source[0]), "output": target.decode(batch.target_output[0])}


def measure_models(
    training: TrainConfig, config: SuperhighwayConfig, found: dict[str, Any], folder: Path, console: Console
) -> None:
    """The model with attention and the one without: at initialisation and, if asked for, after training."""
    model, task = make_model(training)
    batch = partial(held_out_batch, task, size=config.sequences)
    seeds = range(config.seed, config.seed + config.seeds)
    found |= words_of_first(batch(found["length"]), task.source_vocabulary, task.target_vocabulary)
    found["radius_length"] = radius_length(config.lengths)
    work(study_initial(model, seeds, batch, found["length"], config.lengths, config.radii), found, console)
    if config.train:
        runs = train_both(training, config, folder, console)
        found["evaluation"] = {name: asdict(run.evaluation) for name, run in runs.items() if run.evaluation}
        # One run stands for all seeds, so as many sequences more.
        held_out = held_out_batch(task, found["length"], config.sequences * config.seeds)
        both = {name: (run.model, run.params) for name, run in runs.items()}
        work(study_trained(**both, batch=held_out, seed=training.seed), found, console)


def measure_run(run: Run, config: SuperhighwayConfig, found: dict[str, Any], console: Console) -> None:
    """A trained run, at its initial weights and as it is."""
    size = config.sequences * config.seeds
    try:
        data = run.config.data()
    except ValueError as error:  # a task that was added in Python is known in that program alone
        raise ValueError(f"run: its data are not known here; in Python, use na.gradient_paths ({error})") from None
    if isinstance(data, Task):
        batch = held_out_batch(data, found["length"], size)
    else:
        batch = Batch.from_sequences(data.held_out.sources[:size], data.held_out.targets[:size])
    found["length"] = batch.source.shape[1]
    found |= words_of_first(batch, run.source_vocabulary, run.target_vocabulary)
    name = "vanilla" if run.config.alignment == "none" else "attention"
    found["evaluation"] = {name: asdict(run.evaluation)} if run.evaluation else {}
    work(study_one(run.model, run.params, batch, run.config.seed), found, console)


def measure_gates(
    training: TrainConfig, config: SuperhighwayConfig, found: dict[str, Any], folder: Path, console: Console
) -> None:
    """Every cell with each bias of its gate, with attention and without: at initialisation, after training."""
    initial, trained = {}, {}
    for cell, record in CELLS.items():
        for bias in [None] if record.forget is None else config.forget_biases:
            initial[label(cell, bias)] = replace(training, cell=cell, forget_bias=bias)
        bias = None if record.forget is None else TRAINED_BIAS
        trained[label(cell, bias)] = replace(training, cell=cell, forget_bias=bias)
    seeds = range(config.seed, config.seed + config.seeds)
    task = make_model(training)[1]
    found["gates"], found["evaluation"] = {}, {}

    def before(settings: TrainConfig) -> dict[str, Any]:
        batch = held_out_batch(task, found["length"], config.sequences)
        return study_gates_initial(make_model(settings)[0], seeds, batch)

    def after(settings: TrainConfig, name: str) -> dict[str, Any]:
        runs = train_both(settings, config, folder / settings.cell, console)
        found["evaluation"][name] = {key: asdict(run.evaluation) for key, run in runs.items() if run.evaluation}
        batch = held_out_batch(task, found["length"], config.sequences * config.seeds)
        attention, vanilla = ((run.model, [double(run.params)]) for run in runs.values())
        return study_gates(attention, vanilla, batch)

    work({(BEFORE, name): partial(before, settings) for name, settings in initial.items()}, found["gates"], console)
    for name, settings in trained.items() if config.train else ():
        console.print(f"\n{name}", style="bold")
        found["gates"].setdefault(AFTER, {})[name] = after(settings, name)


def label(cell: str, bias: float | None) -> str:
    """Name of a row."""
    return cell if bias is None else f"{cell}, bias {bias:g}"


def make_model(training: TrainConfig) -> tuple[Seq2Seq, Task]:
    """The model of these settings, and its task."""
    data = training.data()
    assert isinstance(data, Task)
    return training.model(len(data.source_vocabulary), len(data.target_vocabulary)), data


def train_both(training: TrainConfig, config: SuperhighwayConfig, folder: Path, console: Console) -> dict[str, Run]:
    """Train the model with attention and the one without on the same data, with progress."""
    runs = {}
    for name, alignment in (("attention", training.alignment), ("vanilla", "none")):
        console.print(f"\ntraining {'with' if name == 'attention' else 'without'} attention", style="bold")
        settings = replace(training, alignment=alignment, out=folder / name, overwrite=config.overwrite)
        if console.is_terminal:
            with Bar(console) as bar:
                runs[name] = train(settings, bar)
        else:
            runs[name] = train(settings, Lines())
        if not runs[name].over:
            raise KeyboardInterrupt
    return runs


def work(jobs: Jobs, found: dict[str, Any], console: Console) -> None:
    """Do the jobs one by one, with a bar in a terminal and a line for each elsewhere, and add what they return."""
    columns = (TextColumn("measuring"), MofNCompleteColumn(), BarColumn(), TextColumn("{task.description}"))
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("", total=len(jobs))
        for (kind, which), job in jobs.items():
            progress.update(task, description=f"{kind}: {which}")
            if not console.is_terminal:
                console.print(f"measuring {kind}: {which}")
            found.setdefault(kind, {})[which] = job()
            progress.advance(task)
