"""The bridge: the encoder's last state becomes the decoder's first. Without attention, everything passes here."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from .._typing import Array
from ..ops.tanh import tanh


class BridgeCache(NamedTuple):
    """What the backward of the bridge needs."""

    last: Array  # (B, H'), h_last
    W: Array  # (H', D)
    state: Array  # (B, D), s_0
    ends: list[tuple[Array, slice]]  # per direction: position of its last step (B,), columns of its half
    shape: tuple[int, ...]  # of the annotations


def bridge_forward(
    params: dict[str, Array], annotations: Array, source_mask: Array, bidirectional: bool
) -> tuple[Array, BridgeCache]:
    """First decoder state: s_0 = tanh(h_last W + b).

    h_last is the annotation at the last real token; of both directions, the forward half at the last real token
    and the backward half at the first: each direction where it has read everything.

    Parameters
    ----------
    params : dict of arrays
        ``bridge.W`` (H', D) and ``bridge.b`` (D,).
    annotations : (B, T, H') array
    source_mask : (B, T) bool array
    bidirectional : bool

    Returns
    -------
    state : (B, D) array
        s_0.
    cache : BridgeCache
    """
    width = annotations.shape[2]
    last_real = source_mask.sum(axis=1) - 1
    ends = [(last_real, slice(0, width))]
    if bidirectional:
        ends = [(last_real, slice(0, width // 2)), (np.zeros_like(last_real), slice(width // 2, width))]
    rows = np.arange(len(annotations))
    last = np.concatenate([annotations[rows, position, columns] for position, columns in ends], axis=1)
    W = params["bridge.W"]
    state = tanh(last @ W + params["bridge.b"])
    return state, BridgeCache(last, W, state, ends, annotations.shape)


def bridge_backward(dstate: Array, cache: BridgeCache) -> tuple[dict[str, Array], Array]:
    """Answer s_0 = tanh(h_last W + b).

    Parameters
    ----------
    dstate : (B, D) array
        Gradient of s_0.
    cache : BridgeCache
        From :func:`bridge_forward`.

    Returns
    -------
    gradients : dict of arrays
        Of ``bridge.W`` and ``bridge.b``.
    dannotations : (B, T, H') array
        Gradient of the annotations through the bridge alone: 0 but where h_last was read.
    """
    dinput = dstate * (1 - cache.state * cache.state)
    dlast = dinput @ cache.W.T
    dannotations = np.zeros(cache.shape, dlast.dtype)
    rows = np.arange(len(dlast))
    for position, columns in cache.ends:
        dannotations[rows, position, columns] = dlast[:, columns]
    return {"bridge.W": cache.last.T @ dinput, "bridge.b": dinput.sum(axis=0)}, dannotations
