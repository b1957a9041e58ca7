"""Many training runs as one piece of work: a grid of settings, each run in a folder of its own."""

from .grid import grid, names_of
from .outcome import Outcome
from .runs import look, sweep
from .table import plot_outcomes, rows_of

__all__ = ["Outcome", "grid", "look", "names_of", "plot_outcomes", "rows_of", "sweep"]
