"""``numpy-attention train``: train on a task or on pairs, show the result, save the run."""

from __future__ import annotations

import shlex
import sys
import warnings
from collections.abc import Callable
from importlib.util import find_spec
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from .._files import written_whole
from .._text import printable
from .._typing import Array
from ..data.pairs import JOIN
from ..data.source import Pairs
from ..run import END, Run
from ..training.config import CHOICES, TrainConfig
from ..training.evaluation import Evaluation, without_unknown
from ..training.metrics import METRICS, read_metrics
from ..training.parallel import launched
from ..training.progress import Lines, Step
from ..training.progress import Progress as Listener
from ..training.trainer import resume as resume_run
from ..training.trainer import train
from ..views.plots import plot_attention, plot_learning
from ..views.terminal import LEGEND, attention_map
from . import _fail
from .flags import Flag

EXAMPLES = 3
LONGEST = 200  # characters of a text that is shown
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
        *("steps", "batch_size", "learning_rate", "recurrent_rate", "warmup", "optimizer", "clip", "weight_decay"),
        *("dropout", "label_smoothing", "patience", "seed", "dtype", "workers", "recompute"),
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


def resume_command(
    resume: Annotated[Path, Flag], steps: int | None = None, workers: int | None = None, quiet: bool = False
) -> int:
    """Continue a run that was interrupted, or train a finished one further. No other settings go with --resume.

    Parameters
    ----------
    resume : Path
        Folder of the run.
    steps : int, optional
        Train further, to this number of updates in all; by default the run's own.
    workers : int, optional
        Processes that share the updates; by default as many as before.
    quiet : bool
        Print only the final figures.
    """
    return _follow(lambda listener: resume_run(resume, listener, steps=steps, workers=workers), quiet)


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
        print(f"    {_program()} train --resume {_quoted(str(run.folder))}")
        return INTERRUPTED
    pairs = run.unseen
    assert pairs is not None
    examples = find_examples(run, pairs)
    if not quiet:
        show_examples(run, examples, console)
    show_accuracy(run, pairs, console)
    pictures = draw_pictures(run, examples[0]) if find_spec("matplotlib") else []
    if pictures and not quiet:
        print(f"pictures: {', '.join(printable(str(path)) for path in pictures)}")
    return 0


class Bar:
    """Progress as a bar, with a line above it per evaluation."""

    def __init__(self, console: Console) -> None:
        self.progress = Progress(
            TextColumn("step"),
            MofNCompleteColumn(),
            BarColumn(),
            TextColumn("{task.fields[figures]}"),
            TimeRemainingColumn(),
            TextColumn("left"),
            console=console,
            transient=True,
        )
        self.task = self.progress.add_task("", figures="", visible=False)
        self.lines = Lines(lambda line: console.print(Text(line)))

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
        self.lines.stepped(step)
        figures = f"training loss {step.loss:.4f} {self.lines.rate:,.0f} tokens/s"
        self.progress.update(self.task, completed=step.number, figures=figures)

    def evaluated(self, step: Step, evaluation: Evaluation) -> None:
        """Print a line above the bar."""
        self.lines.evaluated(step, evaluation)


class Example(NamedTuple):
    """A pair that was not trained on, and the output of the model for its source, in words."""

    source: list[str]
    target: list[str]
    output: list[str]
    rows: list[str]  # labels of the attention
    attention: Array | None
    right: bool


def find_examples(run: Run, pairs: Pairs) -> list[Example]:
    """The first pairs, and outputs that may be as long as the longest of their targets."""
    sources, targets = pairs.sources[:EXAMPLES], pairs.targets[:EXAMPLES]
    expected = without_unknown(targets, run.target_vocabulary.unknown)
    found = run.model.translate(run.params, sources, max_length=max(map(len, targets)) + 1)
    examples = []
    for source, target, tokens, each in zip(sources, targets, expected, found, strict=True):
        output = run.target_vocabulary.decode(each.tokens)
        rows = [*output, END] if each.finished else output
        right = each.finished and each.tokens == tokens
        words = run.source_vocabulary.decode(source), run.target_vocabulary.decode(target)
        examples.append(Example(*words, output, rows, each.attention, right))
    return examples


def show_examples(run: Run, examples: list[Example], console: Console) -> None:
    """Show pairs that were not trained on, and the attention of the first one."""
    gap = " " if run.config.tokens == "words" else ""
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    for example in examples:
        table.add_row(
            "[green]✓[/]" if example.right else "[red]✗[/]", "source", _marked(example.source, example.source, gap)
        )
        table.add_row("", "expected", _marked(example.target, example.target, gap))
        table.add_row("", "produced", _marked(example.output, example.target, gap))
    console.print("\nheld-out examples", style="bold")
    console.print(table)
    first = examples[0]
    if first.attention is None:
        console.print(f"\nno attention to show: alignment is {run.config.alignment}")
        return
    console.print("\nattention of the first one: source across, output down", style="bold")
    console.print(Text(attention_map(first.attention, first.source, first.rows, console.width)))
    console.print(f"({LEGEND})")


def show_accuracy(run: Run, pairs: Pairs, console: Console) -> None:
    """Print the accuracy, the folder of the run and a command that uses it."""
    found = run.test or run.evaluation
    if found is not None:
        console.print(f"\nsequence accuracy {100 * found.sequence_accuracy:.1f} %", style="bold")
    of = "test pairs" if run.test else "held-out pairs"
    print(f"on {len(pairs.sources):,} {of}; saved in {printable(str(run.folder))}")
    texts = (JOIN[run.config.tokens](run.source_vocabulary.decode(source)) for source in pairs.sources)
    text = next((text for text in texts if len(text) <= LONGEST), "TEXT")
    attention = "" if run.config.alignment == "none" else " --attention"
    end = " --" if text.startswith("-") else ""  # of the options
    print(f"use it:\n    {_program()} translate {_quoted(str(run.folder))}{attention}{end} {_quoted(text)}", flush=True)


def draw_pictures(run: Run, example: Example) -> list[Path]:
    """Draw the learning curves, and the attention of an example, into the folder of the run.

    The run is saved by then, so a picture that cannot be drawn is a line on the standard error and nothing else.
    """
    drawn = []
    for name, draw in (("curves.png", plot_metrics), ("attention.png", plot_example)):
        path = run.folder / name
        try:
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always", UserWarning)  # a letter that no font has
                figure = draw(run, example)
                if figure is None:
                    continue
                with written_whole(path) as file:
                    figure.savefig(file, dpi=150)
        except Exception as error:
            _fail(f"{name}: not drawn: {' '.join(str(error).split()) or type(error).__name__}")
            continue
        drawn.append(path)
        for message in dict.fromkeys(str(each.message) for each in caught):
            _fail(f"{name}: {message}")
    return drawn


def plot_metrics(run: Run, _: Example) -> Figure | None:
    """Draw the metrics of a run, if there are any."""
    metrics = read_metrics(run.folder / METRICS)
    if not metrics:
        return None
    held_out = [Evaluation(**line["held_out"]) for line in metrics]
    numbers = [line["number"] for line in metrics]
    best = max(zip(held_out, numbers, strict=True), key=lambda each: each[0].rank())[1] if run.config.patience else None
    losses = {"training batch": [line["loss"] for line in metrics], "held out": [each.loss for each in held_out]}
    accuracies = {
        "tokens": [each.token_accuracy for each in held_out],
        "whole sequences": [each.sequence_accuracy for each in held_out],
    }
    rates = [line["learning_rate"] for line in metrics]
    return plot_learning(numbers, losses, accuracies, rates=rates, best=best, title=run.config.name)


def plot_example(run: Run, example: Example) -> Figure | None:
    """Draw the attention of an example, if there is attention."""
    if example.attention is None:
        return None
    title = f"{run.config.name}: a held-out example, {'right' if example.right else 'wrong'}"
    return plot_attention(example.attention, example.source, example.rows, title=title)


def _program() -> str:
    """The way this program was called, for a command that can be copied."""
    program = Path(sys.argv[0])
    if program.name == "__main__.py":
        return f"{_quoted(sys.executable)} -m numpy_attention"
    if program.is_absolute() and program.is_relative_to(Path.cwd()):
        program = program.relative_to(Path.cwd())
    return _quoted(str(program))


def _quoted(word: str) -> str:
    """``word`` for a shell; one with control characters in the form of bash and zsh, $'...', which has escapes."""
    if printable(word) == word:
        return shlex.quote(word)
    return "$'" + "".join(map(_escaped, word)) + "'"


def _escaped(letter: str) -> str:
    if printable(letter) == letter and letter not in "\\'":
        return letter
    from_a_name = "\udc80" <= letter <= "\udcff"  # how Python reads a byte that is not UTF-8
    raw = letter.encode("utf-8", "surrogateescape" if from_a_name else "surrogatepass")
    return "".join(f"\\x{byte:02x}" for byte in raw)


def _marked(words: list[str], expected: list[str], gap: str) -> Text:
    """Words on a line that is not too long; those that are not as expected in red."""
    text = Text()
    for number, (word, right) in enumerate(zip_longest(words, expected)):
        text.append(gap if number else "")
        text.append(printable(word) if word is not None else "·", style="" if word == right else "bold red")
        if len(text) > LONGEST:
            break
    text.truncate(LONGEST, overflow="ellipsis")
    return text
