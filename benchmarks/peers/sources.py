"""The sources of a search in batches, for every peer alike."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from numpy_attention.data.batch import pad, prefix_mask


def source_batches(sources: Sequence[Sequence[int]], size: int) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Numbers (B,), tokens (B, T) and mask (B, T) of at most ``size`` sources at a time, of similar lengths."""
    tokens, lengths = pad("sources", sources)
    order = np.argsort(lengths, kind="stable")
    for start in range(0, len(order), size):
        rows = order[start : start + size]
        longest = lengths[rows].max()
        yield rows, tokens[rows, :longest], prefix_mask(lengths[rows], longest)
