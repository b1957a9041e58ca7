"""Dropout masks, drawn before the forward pass so that the pass is deterministic."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from .._typing import Array
from ..data.batch import Batch, rows_of_part


class DropoutMasks(NamedTuple):
    """Masks of one batch, as :meth:`Seq2Seq.dropout_masks` draws them. An array is multiplied by its mask."""

    source: dict[str, Array]  # by direction, (T, B, gates H), of the input projections
    h: Array  # (B, T, H'), of the encoder states
    target: Array  # (U, B, gates D), of the input projections
    readout: Array  # (U, B, D + H'), of [s_u ; c_u] as the readout reads them
    last: Array  # (B, H'), of the last encoder states as the bridge reads them

    def __repr__(self) -> str:
        (B, T, _), U = self.h.shape, len(self.target)
        return f"DropoutMasks(B={B}, T={T}, U={U}, {self.h.dtype})"


def dropout_mask(rng: np.random.Generator, shape: tuple[int, ...], rate: float, dtype: Any = np.float64) -> Array:
    """Draw a mask for y = x * mask: 0 with probability ``rate``, otherwise 1 / (1 - rate), so that the mean is 1.

    Parameters
    ----------
    rng : numpy.random.Generator
    shape : tuple of int
    rate : float
        At least 0 and below 1.
    dtype : dtype
        float32 or float64.

    Returns
    -------
    mask : array of ``shape``

    References
    ----------
    Srivastava et al. (2014), "Dropout: a simple way to prevent neural networks from overfitting".

    Examples
    --------
    >>> import numpy as np
    >>> sorted(set(dropout_mask(np.random.default_rng(0), (100,), 0.5).tolist()))
    [0.0, 2.0]
    """
    kept = rng.random(shape, dtype=np.float32) >= rate
    mask: Array = kept.astype(dtype) / np.asarray(1 - rate, dtype)
    return mask


def masks_of_part(masks: DropoutMasks, number: int, parts: int, part: Batch) -> DropoutMasks:
    """Masks of :meth:`Batch.part`, from those of the whole batch.

    Parameters
    ----------
    masks : DropoutMasks
        Of the whole batch.
    number, parts : int
        As for :meth:`Batch.part`.
    part : Batch
        The part.

    Returns
    -------
    DropoutMasks
    """
    rows = rows_of_part(number, parts, len(masks.h))
    length, steps = part.source.shape[1], part.target_input.shape[1]
    return DropoutMasks(
        {prefix: np.ascontiguousarray(mask[:length, rows]) for prefix, mask in masks.source.items()},
        np.ascontiguousarray(masks.h[rows, :length]),
        np.ascontiguousarray(masks.target[:steps, rows]),
        np.ascontiguousarray(masks.readout[:steps, rows]),
        np.ascontiguousarray(masks.last[rows]),
    )
