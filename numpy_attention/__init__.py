"""Sequence-to-sequence learning with attention in pure NumPy, every forward and backward pass written by hand."""

from .data.batch import BOS, EOS, PAD, Batch
from .model.search import Translation
from .model.seq2seq import Seq2Seq

__all__ = ["BOS", "EOS", "PAD", "Batch", "Seq2Seq", "Translation"]
