"""``numpy-attention train``: learn a task, show what came of it, save the run."""

from __future__ import annotations

import sys
from itertools import zip_longest
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from ..model.seq2seq import Seq2Seq
from ..training.checkpoint import Run
from ..training.config import TrainConfig
from ..training.evaluation import Evaluation
from ..training.trainer import Lines, Step, train
from ..views.terminal import LEGEND, attention_map

EXAMPLES = 3


def train_command(config: TrainConfig) -> int:
    """Train a model on a task, show held-out examples with the attention, and save the run."""
    console = Console(highlight=False)
    if console.is_terminal:
        with Bar(console) as bar:
            run = train(config, bar)
    else:
        run = train(config, Lines())
    show(run, console)
    return 0


class Bar:
    """Progress as a bar, with a line above it per look at the held-out sequences."""

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
        self.tokens = 0

    def __enter__(self) -> Bar:
        self.progress.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.progress.stop()

    def started(self, config: TrainConfig, model: Seq2Seq) -> None:
        """Say what is trained, and show the empty bar."""
        self.lines.started(config, model)
        self.progress.update(self.task, total=config.steps, visible=True)

    def stepped(self, step: Step) -> None:
        """Move the bar on."""
        self.tokens += step.tokens
        self.progress.update(self.task, completed=step.number, loss=step.loss, rate=self.tokens / step.seconds)

    def evaluated(self, step: Step, evaluation: Evaluation) -> None:
        """Add a line above the bar."""
        self.lines.evaluated(step, evaluation)


def show(run: Run, console: Console) -> None:
    """Show three held-out examples, the attention of the first, the accuracy, and where the run is."""
    task = run.config.make_task()
    decode = run.vocabulary.decode
    sources, targets = (side[:EXAMPLES] for side in task.held_out)
    found = run.model.translate(run.params, sources)
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    for source, expected, translation in zip(sources, targets, found, strict=True):
        right = translation.finished and translation.tokens == expected
        table.add_row("[green]✓[/]" if right else "[red]✗[/]", "source", " ".join(decode(source)))
        table.add_row("", "expected", " ".join(decode(expected)))
        table.add_row("", "produced", _marked(decode(translation.tokens), decode(expected)))
    console.print("\nheld-out examples", style="bold")
    console.print(table)
    if found[0].attention is None:
        console.print(f"\nno attention to show: alignment is {run.config.alignment}")
    else:
        console.print("\nattention of the first: source across, output down", style="bold")
        output = decode(found[0].tokens) + ["<eos>"] * found[0].finished
        console.print(attention_map(found[0].attention, decode(sources[0]), output, console.width), markup=False)
        console.print(f"({LEGEND})")
    console.print(f"\nsequence accuracy {100 * run.evaluation.sequence_accuracy:.1f} %", style="bold")
    console.print(
        f"on {len(task.held_out.sources):,} sequences that were never trained on; saved in {run.folder}", soft_wrap=True
    )
    python = Path(sys.executable)
    if python.is_relative_to(Path.cwd()):
        python = python.relative_to(Path.cwd())
    print(
        f'use it: {python} -c "import numpy_attention as na; print(na.load_run({str(run.folder)!r})'
        f'.translate({" ".join(decode(sources[0]))!r}))"'
    )


def _marked(words: list[str], expected: list[str]) -> Text:
    """Words of an output, the wrong ones in red."""
    text = Text()
    for word, right in zip_longest(words, expected):
        text.append(f"{word or '·'} ", style="" if word == right else "bold red")
    return text
