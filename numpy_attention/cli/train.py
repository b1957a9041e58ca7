"""``numpy-attention train``: train on a task or on pairs, show the result, save the run."""

from __future__ import annotations

import json
import shlex
import sys
import warnings
from collections.abc import Callable
from importlib.util import find_spec
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from ..data.pairs import JOIN
from ..data.source import Pairs
from ..run import END, Run
from ..training.config import CHOICES, TrainConfig
from ..training.evaluation import Evaluation
from ..training.parallel import launched
from ..training.progress import Lines, Step
from ..training.progress import Progress as Listener
from ..training.trainer import METRICS, train
from ..training.trainer import resume as resume_run
from ..views.plots import plot_attention, plot_learning
from ..views.terminal import LEGEND, attention_map
from .flags import Flag

EXAMPLES = 3
INTERRUPTED = 130  # exit status

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# How the help of the command shows its flags.
GROUPS = {
    "data": ("length", "symbols", "tokens", "dev", "held_out", "test", "min_count", "max_length"),
    "model": (
        *("hidden_size", "embedding_size", "alignment_size", "cell", "forget_bias", "alignment", "bidirectional"),
    ),
    "training": (
        *("steps", "batch_size", "learning_rate", "warmup", "optimizer", "clip", "weight_decay", "dropout"),
        *("label_smoothing", "patience", "seed", "dtype", "recompute"),
    ),
    "output": ("out", "overwrite", "quiet", "resume"),
}
RESUME = "Continue a run that was interrupted; with --steps N train a run on, to N updates in all."
FLAGS = {"choices": CHOICES, "groups": GROUPS, "extra": {"resume": ("output", "RUN", RESUME)}}


def train_command(config: TrainConfig, quiet: bool = False) -> int:
    """Train a model on a task or on your own pairs, show the result, and save the run.

    Parameters
    ----------
    config : TrainConfig
    quiet : bool
        Print only the final figures.
    """
    return _follow(lambda listener: train(config, listener), quiet)


def resume_command(resume: Annotated[Path, Flag], steps: int | None = None, quiet: bool = False) -> int:
    """Continue a run that was interrupted, or train a finished one on. No other settings go with --resume.

    Parameters
    ----------
    resume : Path
        Folder of the run.
    steps : int, optional
        Train on, to this number of updates in all; by default the run's own.
    quiet : bool
        Print only the final figures.
    """
    return _follow(lambda listener: resume_run(resume, listener, steps=steps), quiet)


def _follow(begin: Callable[[Listener | None], Run], quiet: bool) -> int:
    """Train with a progress bar on a terminal, with lines elsewhere; then show the run."""
    console = Console(highlight=False)
    if quiet:
        run = begin(None)
    elif console.is_terminal:
        with Bar(console) as bar:
            run = begin(bar)
    else:
        run = begin(Lines())
    if launched()[0]:  # the first process shows the run
        return 0 if run.over else INTERRUPTED
    if not run.over:
        print(f"stopped after step {run.step} of {run.config.steps} and saved; continue with:")
        print(f"    {_program()} train --resume {shlex.quote(str(run.folder))}")
        return INTERRUPTED
    pairs = run.unseen
    assert pairs is not None
    if not quiet:
        show_examples(run, pairs, console)
    if find_spec("matplotlib"):
        draw_pictures(run, pairs)
    show_accuracy(run, pairs, console)
    return 0


class Bar:
    """Progress as a bar, with a line above it per evaluation."""

    def __init__(self, console: Console) -> None:
        self.progress = Progress(
            TextColumn("step"),
            MofNCompleteColumn(),
            BarColumn(),
            TextColumn("loss {task.fields[loss]:.4f}"),
            TextColumn("{task.fields[rate]:,.0f} tokens/s"),
            TimeRemainingColumn(),
            console=console,
            transient=True,
        )
        self.task = self.progress.add_task("", loss=float("nan"), rate=0.0, visible=False)
        self.lines = Lines(console.print)
        self.tokens, self.first = 0, 0.0

    def __enter__(self) -> Bar:
        self.progress.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.progress.stop()

    def started(self, description: str, steps: int, done: int) -> None:
        """Print the description of the run, and show the bar."""
        self.lines.started(description, steps, done)
        self.progress.update(self.task, total=steps, completed=done, visible=True)

    def stepped(self, step: Step) -> None:
        """Advance the bar."""
        self.first = self.first or step.seconds
        self.tokens += step.tokens
        rate = self.tokens / max(step.seconds - self.first, 1e-9)
        self.progress.update(self.task, completed=step.number, loss=step.loss, rate=rate)

    def evaluated(self, step: Step, evaluation: Evaluation) -> None:
        """Print a line above the bar."""
        self.lines.evaluated(step, evaluation)


def show_examples(run: Run, pairs: Pairs, console: Console) -> None:
    """Show three pairs that were not trained on, and the attention of the first one."""
    gap = " " if run.config.tokens == "words" else ""
    decode, join = run.target_vocabulary.decode, JOIN[run.config.tokens]
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    examples = list(zip(pairs.sources, pairs.targets, strict=True))[:EXAMPLES]
    found = run.model.translate(run.params, [source for source, _ in examples])
    for (source, target), translation in zip(examples, found, strict=True):
        right = translation.finished and translation.tokens == list(target)
        mark = "[green]✓[/]" if right else "[red]✗[/]"
        table.add_row(mark, "source", Text(join(run.source_vocabulary.decode(source))))
        table.add_row("", "expected", Text(join(decode(target))))
        table.add_row("", "produced", _marked(decode(translation.tokens), decode(target), gap))
    console.print("\nheld-out examples", style="bold")
    console.print(table)
    if found[0].attention is None:
        console.print(f"\nno attention to show: alignment is {run.config.alignment}")
        return
    console.print("\nattention of the first one: source across, output down", style="bold")
    output = decode(found[0].tokens) + [END] * found[0].finished
    words = run.source_vocabulary.decode(examples[0][0])
    console.print(attention_map(found[0].attention, words, output, console.width), markup=False)
    console.print(f"({LEGEND})")


def show_accuracy(run: Run, pairs: Pairs, console: Console) -> None:
    """Print the accuracy, the folder of the run and a command that uses it."""
    found = run.test or run.evaluation
    assert found is not None
    console.print(f"\nsequence accuracy {100 * found.sequence_accuracy:.1f} %", style="bold")
    of = "test pairs" if run.test else "held-out pairs"
    console.print(f"on {len(pairs.sources):,} {of}; saved in {run.folder}", soft_wrap=True, markup=False)
    words = run.source_vocabulary.decode(pairs.sources[0])
    text = JOIN[run.config.tokens](words)
    print(f"use it: {_program()} translate {shlex.quote(str(run.folder))} {shlex.quote(text)} --attention")


def draw_pictures(run: Run, pairs: Pairs) -> None:
    """Draw the learning curves, and the attention of a pair that was not trained on, into the folder of the run."""
    path = run.folder / METRICS
    metrics = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.exists() else []
    if metrics:
        plot_metrics(metrics).savefig(run.folder / "curves.png", dpi=150)
    source = pairs.sources[0]
    (found,) = run.model.translate(run.params, [source])
    if found.attention is not None:
        output = run.target_vocabulary.decode(found.tokens) + [END] * found.finished
        figure = plot_attention(found.attention, run.source_vocabulary.decode(source), output)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # a letter that the font does not have
            figure.savefig(run.folder / "attention.png", dpi=150)


def plot_metrics(metrics: list[dict[str, Any]]) -> Figure:
    """Draw the metrics of a run."""
    held_out = {name: [line["held_out"][name] for line in metrics] for name in metrics[0]["held_out"]}
    losses = {"training batch": [line["loss"] for line in metrics], "held out": held_out["loss"]}
    accuracies = {"tokens": held_out["token_accuracy"], "whole sequences": held_out["sequence_accuracy"]}
    return plot_learning([line["number"] for line in metrics], losses, accuracies)


def _program() -> str:
    """The way this program was called, for a command that can be copied."""
    program = Path(sys.argv[0])
    if program.name == "__main__.py":
        return f"{shlex.quote(sys.executable)} -m numpy_attention"
    if program.is_absolute() and program.is_relative_to(Path.cwd()):
        program = program.relative_to(Path.cwd())
    return shlex.quote(str(program))


def _marked(words: list[str], expected: list[str], gap: str) -> Text:
    """Words of an output, wrong ones in red."""
    text = Text()
    for number, (word, right) in enumerate(zip_longest(words, expected)):
        text.append(gap if number else "")
        text.append(word if word is not None else "·", style="" if word == right else "bold red")
    return text
