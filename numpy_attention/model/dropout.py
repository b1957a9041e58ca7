"""Where the model leaves entries out: one mask per place, drawn before the pass, so that the pass itself is sure."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from .._typing import Array
from ..data.batch import Batch, rows_of_part
from ..ops.dropout import dropout_mask


class DropoutMasks(NamedTuple):
    """Masks of one batch, as :meth:`Seq2Seq.dropout_masks` draws them."""

    source: dict[str, Array]  # by direction, (T, B, H), on the looked-up rows of the projected source embedding
    annotations: Array  # (B, T, H')
    target: Array  # (U, B, D), on the looked-up rows of the projected target embedding
    readout: Array  # (U, B, D + H'), on [s_u ; c_u]


def draw_masks(
    rng: np.random.Generator,
    rate: float,
    source_shape: tuple[int, int],
    steps: int,
    sizes: tuple[dict[str, int], int, int],
    dtype: Any,
) -> DropoutMasks:
    """Draw the masks of a batch.

    Parameters
    ----------
    rng : numpy.random.Generator
    rate : float
        Probability of leaving an entry out.
    source_shape : (B, T)
    steps : int
        U.
    sizes : (dict of int, int, int)
        H by direction, D, and the width of a context (0 without attention).
    dtype : dtype

    Returns
    -------
    DropoutMasks
    """
    batch, length = source_shape
    encoder, hidden, context = sizes
    return DropoutMasks(
        {prefix: dropout_mask(rng, (length, batch, width), rate, dtype) for prefix, width in encoder.items()},
        dropout_mask(rng, (batch, length, sum(encoder.values())), rate, dtype),
        dropout_mask(rng, (steps, batch, hidden), rate, dtype),
        dropout_mask(rng, (steps, batch, hidden + context), rate, dtype),
    )


def masks_of_part(masks: DropoutMasks, number: int, parts: int, part: Batch) -> DropoutMasks:
    """Masks of :meth:`Batch.part`, from those of the whole batch.

    Parameters
    ----------
    masks : DropoutMasks
        Of the whole batch.
    number, parts : int
        As for :meth:`Batch.part`.
    part : Batch
        What it gave.

    Returns
    -------
    DropoutMasks
    """
    rows = rows_of_part(number, parts, len(masks.annotations))
    length, steps = part.source.shape[1], part.target_input.shape[1]
    return DropoutMasks(
        {prefix: np.ascontiguousarray(mask[:length, rows]) for prefix, mask in masks.source.items()},
        np.ascontiguousarray(masks.annotations[rows, :length]),
        np.ascontiguousarray(masks.target[:steps, rows]),
        np.ascontiguousarray(masks.readout[:steps, rows]),
    )
