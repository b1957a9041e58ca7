"""Exact arithmetic for gradients: unchanged NumPy code on numbers of a finite field. Knows nothing of the rest."""

from .field import CannotProveError
from .proof import Proof, adjoint_run, prove

__all__ = ["CannotProveError", "Proof", "adjoint_run", "prove"]
