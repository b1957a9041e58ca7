"""Kept while callers move to ``numpy_attention.run``."""

from ..run import Run, load_run

__all__ = ["Run", "load_run"]
