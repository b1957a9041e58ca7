"""``numpy-attention sweep``: train a grid of settings, each run in its own folder, and compare them."""

from __future__ import annotations

import sys
import typing
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import field, fields, make_dataclass
from pathlib import Path
from typing import Annotated, Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Table
from rich.text import Text

from .._text import printable
from ..sweep import Outcome, grid, plot_outcomes, sweep
from ..sweep.grid import NOT_VARIED
from ..sweep.progress import Lines, clock, told
from ..sweep.table import FILE, rows_of
from ..training.config import CHOICES, TrainConfig
from ..training.parallel import launched
from ..views.plots import check_matplotlib, save_figure
from .flags import Positional
from .train import GROUPS, INTERRUPTED

SWEEPS = Path("sweeps")
MPI = "mpiexec -n 4 python -m mpi4py.futures -m numpy_attention sweep ... --mpi"


def _settings() -> type:
    """The settings of a run, each with any number of values."""
    hints = typing.get_type_hints(TrainConfig)
    names = [each.name for each in fields(TrainConfig) if each.name not in (*NOT_VARIED, "task")]
    made = make_dataclass(
        "GridConfig",
        [
            ("task", Annotated[tuple[str, ...], Positional("TASK")], field(default=())),
            *((name, tuple.__class_getitem__((hints[name], ...)), field(default=())) for name in names),
        ],
        frozen=True,
    )
    made.__doc__ = TrainConfig.__doc__
    return made


GridConfig: Any = _settings()
FLAGS = {"choices": CHOICES, "groups": {**GROUPS, "output": ("out", "processes", "mpi")}}


def sweep_command(config: GridConfig, out: Path | None = None, processes: int | None = None, mpi: bool = False) -> int:
    """Train every combination of the values of some settings, each run in a folder of its own.

    Settings are those of train. Several values of one have commas between them; a range of lengths, such as 3-10, is
    one value. Run the same command again to continue; finished runs are not repeated.

    Parameters
    ----------
    config : GridConfig
    out : path, optional
        Folder of all runs, their table (sweep.csv) and their figures; by default sweeps/ and the names of the tasks.
    processes : int, optional
        Runs at a time, each on one core; by default as many as there are cores for them.
    mpi : bool
        Hand the runs to the processes of mpi4py.futures, over all machines that share the folder.
    """
    given = {each.name: list(getattr(config, each.name)) for each in fields(config) if getattr(config, each.name)}
    if "task" not in given:
        raise ValueError("expected TASK: what to learn, such as copy or reverse, or a file of pairs")
    configs = grid(**given)
    folder = out or SWEEPS / "-".join(dict.fromkeys(config.name for config in configs))
    check_matplotlib()
    console = Console(highlight=False)
    with ExitStack() as stack:
        executor = stack.enter_context(_mpi(mpi)) if mpi or launched()[1] > 1 else None
        bar = stack.enter_context(SweepBar(console)) if console.is_terminal else Lines()
        try:
            outcomes = sweep(configs, folder, executor, processes, bar)
        except KeyboardInterrupt:
            print("numpy-attention: interrupted; run the same command again to continue", file=sys.stderr)
            return INTERRUPTED
    _show(console, outcomes)
    files = [folder / FILE]
    for name, figure in plot_outcomes(outcomes).items():
        files += save_figure(figure, folder / name)[:1]
    console.print(Text(f"\ntable and figures: {', '.join(printable(str(path)) for path in files)}"), soft_wrap=True)
    failed = [outcome for outcome in outcomes if outcome.run is None]
    for outcome in failed:
        console.print(Text(f"not finished: {printable(outcome.name)}: {told(outcome)}"), soft_wrap=True)
    return 1 if failed else 0


def _mpi(asked: bool) -> Any:
    """The processes that mpi4py.futures has started."""
    if not asked:
        raise ValueError(f"mpiexec: expected {MPI}; without --mpi every process would make all runs")
    if launched()[1] == 1 or "mpi4py.run" not in sys.modules:
        raise ValueError(f"mpi: expected the program to be started as {MPI}")
    from mpi4py.futures import MPIPoolExecutor

    return MPIPoolExecutor()


class SweepBar:
    """Progress as a bar, with a line above it for every run."""

    def __init__(self, console: Console) -> None:
        columns = TextColumn("runs"), MofNCompleteColumn(), BarColumn(), TextColumn("{task.fields[left]}")
        self.progress = Progress(*columns, console=console, transient=True)
        self.task = self.progress.add_task("", total=None, left="")
        self.console = console
        self.over = self.count = 0

    def __enter__(self) -> SweepBar:
        self.progress.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.progress.stop()

    def started(self, count: int, over: int) -> None:
        """Show the bar."""
        self.count, self.over = count, over
        self.progress.update(self.task, total=count, completed=over)

    def ended(self, outcome: Outcome, left: int, seconds: float) -> None:
        """Advance the bar, and print a line above it."""
        self.console.print(Text(f"{printable(outcome.name)}: {told(outcome)}"))
        made = self.count - self.over - left
        self.progress.update(self.task, completed=self.count - left, left=f"about {clock(seconds / made * left)} left")


def _show(console: Console, outcomes: Sequence[Outcome]) -> None:
    """A table of all runs that are over: over the seeds of one combination, the mean, the worst and the best."""
    groups: dict[tuple[str, ...], list[dict[str, Any]]] = {}
    every = rows_of(outcomes)
    names = list(every[0])[: list(every[0]).index("seed")]
    for row, outcome in zip(every, outcomes, strict=True):
        if outcome.run is not None:
            groups.setdefault(tuple(str(row[name]) for name in names), []).append(row)
    if not groups:
        return
    table = Table(
        *(name.replace("_", " ") for name in names),
        "seeds",
        "right, %",
        "to 99 %",
        "seconds",
        box=None,
        padding=(0, 2, 0, 0),
    )
    for settings, rows in groups.items():
        part = "test" if rows[0]["test_sequence_accuracy"] is not None else "held_out"
        shares = [100 * row[f"{part}_sequence_accuracy"] for row in rows]
        reached = sum(row["seconds_to_99"] is not None for row in rows)
        spread = f"{sum(shares) / len(shares):.1f}"
        spread += f" ({min(shares):.1f} to {max(shares):.1f})" if len(shares) > 1 else ""
        times = sorted(row["seconds"] for row in rows)
        figures = str(len(rows)), spread, f"{reached} of {len(rows)}", f"{times[len(times) // 2]:.0f}"
        table.add_row(*map(printable, settings), *figures)
    console.print()
    console.print(table)
