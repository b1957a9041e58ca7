"""The model once more as plain equations on one sequence, with a nudge wherever a path reads a state.

Nothing of the package's own forward or backward is used: the complex step through this is the oracle for every path.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from numpy_attention import Batch, Seq2Seq

STEP = 1e-30
Array = Any


def sigmoid(x: Array) -> Array:
    return 1 / (1 + np.exp(-x))


def blocks(x: Array, count: int) -> list[Array]:
    return np.split(x, count)


def step(cell: str, a: Array, h: Array, c: Array, U: Array) -> tuple[Array, Array]:
    """The next h and c of one sequence; only the LSTM has a c, the others hand it on."""
    if cell == "tanh":
        return np.tanh(a + h @ U), c
    if cell == "gru":
        (a_r, a_z, a_n), (p_r, p_z, p_n) = blocks(a, 3), blocks(h @ U, 3)
        r, z = sigmoid(a_r + p_r), sigmoid(a_z + p_z)
        return (1 - z) * np.tanh(a_n + r * p_n) + z * h, c
    i, f, o, g = blocks(a + h @ U, 4)
    c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
    return sigmoid(o) * np.tanh(c), c


def annotate(
    model: Seq2Seq, params: dict[str, Array], tokens: Array, nudge: Array, *, kept: bool, nudge_c: Array | None = None
) -> Array:
    """Encoder states (T, H'), the recurrence reading h_t + nudge_t; the nudge stays in the state if ``kept``.

    ``nudge_c`` (T, H') is added to c_t where the next step of an LSTM reads it, and nowhere else.
    """
    x = params["source_embedding"][tokens]
    prefixes = ["encoder.forward", "encoder.backward"] if model.bidirectional else ["encoder"]
    width = nudge.shape[1] // len(prefixes)
    halves = []
    for number, prefix in enumerate(prefixes):
        order = range(len(x))[::-1] if number else range(len(x))
        own = nudge[:, number * width : (number + 1) * width]
        own_c = np.zeros_like(own) if nudge_c is None else nudge_c[:, number * width : (number + 1) * width]
        states, read, c = np.zeros((len(x), width), complex), np.zeros(width), np.zeros(width)
        for t in order:
            a = x[t] @ params[f"{prefix}.W"] + params[f"{prefix}.b"]
            states[t], c = step(model.cell, a, read, c, params[f"{prefix}.U"])
            read, c = states[t] + own[t], c + own_c[t]
        halves.append(states + own if kept else states)
    return np.concatenate(halves, axis=1)


def scores(model: Seq2Seq, p: dict[str, Array], s: Array, keys: Array, weights: Array) -> Array:
    """The alignment's formula, from the decoder's state, what the keys are made of, and the weights before."""
    if model.alignment == "dot":
        return keys @ s
    if model.alignment == "general":
        return keys @ (s @ p["alignment.W"])
    query, projected = s @ p["alignment.W"], keys @ p["alignment.U"]
    if model.alignment == "location":
        padded = np.concatenate([[0], weights, [0]])
        projected = projected + np.array([padded[t : t + 3] @ p["alignment.F"] for t in range(len(keys))])
    if model.alignment in ("additive", "location"):
        return np.tanh(query + projected) @ p["alignment.v"]
    stacked = [np.concatenate([np.tanh(query), np.tanh(key)]) for key in projected]
    return np.array(stacked) @ p["alignment.v"]


def losses(
    model: Seq2Seq, p: dict[str, Array], batch: Batch, b: int, summed: Array, keys: Array, bridge: Array,
    nudge_c: tuple[int, Array] | None = None,
) -> Array:  # fmt: skip
    """-log p of every target step (U,) of sequence b, 0 where masked; each reader has encoder states of its own.

    ``nudge_c`` is added to what is summed, at the one step that it names.
    """
    half = bridge.shape[1] // 2 if model.bidirectional else bridge.shape[1]
    last = np.concatenate([bridge[-1, :half], bridge[0, half:]])
    D = model.hidden_size
    s_0 = np.tanh(last @ p["bridge.W"] + p["bridge.b"])
    s, c_s = s_0[:D], s_0[D:]  # the second is empty but for an LSTM
    weights, found = np.zeros(len(keys)), []
    for u, (token, target) in enumerate(zip(batch.target_input[b], batch.target_output[b], strict=True)):
        a = p["target_embedding"][token] @ p["decoder.W"] + p["decoder.b"]
        logits = p["output.b"]
        if model.alignment != "none":
            e = scores(model, p, s, keys, weights)
            weights = np.exp(e - e.real.max())
            weights = weights / weights.sum()
            here = summed + nudge_c[1] if nudge_c is not None and nudge_c[0] == u else summed
            c = weights @ here
            a, logits = a + c @ p["decoder.C"], logits + c @ p["output.C"]
        s, c_s = step(model.cell, a, s, c_s, p["decoder.U"])
        logits = logits + s @ p["output.W"]
        shift = logits.real.max()
        loss = np.log(np.exp(logits - shift).sum()) + shift - logits[target]
        found.append(loss if batch.target_mask[b, u] else 0 * loss)
    return np.array(found)


def complex_step(batch: Batch, width: int, value: Callable[[int, Array], Array]) -> Array:
    """Derivatives (..., B, T, H') of ``value(b, nudge)`` (...) with respect to every entry of every real h_t."""
    rows, length = batch.source.shape
    found = None
    for b, real in enumerate(batch.source_mask.sum(axis=1)):
        for t in range(real):
            for j in range(width):
                nudge = np.zeros((real, width), complex)
                nudge[t, j] = 1j * STEP
                derivative = np.asarray(value(b, nudge)).imag / STEP
                if found is None:
                    found = np.zeros((*derivative.shape, rows, length, width))
                found[..., b, t, j] = derivative
    return found


class Oracle:
    """Every path of one model on one batch by the complex step, h_t being nudged only where that path reads it."""

    def __init__(self, model: Seq2Seq, params: dict[str, Array], batch: Batch) -> None:
        self.model, self.params, self.batch = model, params, batch
        self.width = params["bridge.W"].shape[0]

    def states(self, b: int, nudge: Array, *, kept: bool, nudge_c: Array | None = None) -> Array:
        tokens = self.batch.source[b][self.batch.source_mask[b]]
        return annotate(self.model, self.params, tokens, nudge, kept=kept, nudge_c=nudge_c)

    def loss(self, b: int, *readers: Array, **nudged: Any) -> Array:
        return losses(self.model, self.params, self.batch, b, *readers, **nudged) / self.batch.token_count

    def path(self, name: str) -> Array:
        def value(b, nudge):
            clean = self.states(b, np.zeros_like(nudge), kept=False)
            after = self.states(b, nudge, kept=False)  # the recurrence alone has read the nudge
            readers = {
                "context": (clean + nudge, clean, clean),
                "key": (clean, clean + nudge, clean),
                "bridge": (clean, clean, clean + nudge),
                "recurrent": (after, after, after),
            }
            return self.loss(b, *readers[name]).sum()

        return complex_step(self.batch, self.width, value)

    def cell(self) -> Array:
        """dL/dc_t: the next step of the recurrence alone reads c_t."""

        def value(b, nudge):
            h = self.states(b, np.zeros_like(nudge), kept=False, nudge_c=nudge)
            return self.loss(b, h, h, h).sum()

        return complex_step(self.batch, self.width, value)

    def by_target(self) -> Array:
        """dL_u/dh_t (U, B, T, H'): every reader of h_t reads the nudge."""

        def value(b, nudge):
            h = self.states(b, nudge, kept=True)
            return self.loss(b, h, h, h)

        return complex_step(self.batch, self.width, value)

    def total(self) -> Array:
        def value(b, nudge):
            h = self.states(b, nudge, kept=True)
            return self.loss(b, h, h, h).sum()

        return complex_step(self.batch, self.width, value)

    def origin(self, name: str, position: int | None = None) -> Array:
        """All that enters through the bridge, or through contexts and keys; at one position or at all."""

        def value(b, nudge):
            clean = self.states(b, np.zeros_like(nudge), kept=False)
            h = self.states(b, nudge, kept=True)
            if position is not None:
                at = np.arange(len(h))[:, None] == position
                h = np.where(at, h, clean)
            readers = {"bottleneck": (clean, clean, h), "superhighway": (h, h, clean)}
            return self.loss(b, *readers[name]).sum()

        return complex_step(self.batch, self.width, value)

    def context_of(self, step: int) -> Array:
        """From every loss (U, ...) through the context of one step alone."""

        def value(b, nudge):
            clean = self.states(b, np.zeros_like(nudge), kept=False)
            return self.loss(b, clean, clean, clean, nudge_c=(step, nudge))

        return complex_step(self.batch, self.width, value)
