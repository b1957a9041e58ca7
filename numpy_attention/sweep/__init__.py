"""Many training runs as one piece of work: a grid of settings, each run in a folder of its own."""

from .grid import grid, names_of
from .sweep import Outcome, look, sweep

__all__ = ["Outcome", "grid", "look", "names_of", "sweep"]
