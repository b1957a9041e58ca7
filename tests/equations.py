"""The model's equations once more, on one sequence and as they stand in the papers: one matrix per gate, no batch."""

import numpy as np


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def step(cell, a, s, U):
    """Next state of one sequence; of an LSTM [h ; c]."""
    H = len(U)
    a, U = np.split(a, len(a) // H), np.split(U, len(a) // H, axis=1)  # a block per gate
    if cell == "tanh":
        return np.tanh(a[0] + s @ U[0])
    if cell == "gru":
        r, z = sigmoid(a[0] + s @ U[0]), sigmoid(a[1] + s @ U[1])
        n = np.tanh(a[2] + r * (s @ U[2]))
        return (1 - z) * n + z * s
    h, c = s[:H], s[H:]
    i, f, o = (sigmoid(a[k] + h @ U[k]) for k in range(3))
    c = f * c + i * np.tanh(a[3] + h @ U[3])
    return np.concatenate([o * np.tanh(c), c])


def score(alignment, p, s, h, w=(0, 0, 0)):
    """Alignment score of a decoder state against one encoder state; w, where the step before looked."""
    if alignment == "location":
        return np.tanh(s @ p["W"] + h @ p["U"] + np.asarray(w) @ p["F"]) @ p["v"]
    if alignment == "additive":
        return np.tanh(s @ p["W"] + h @ p["U"]) @ p["v"]
    if alignment == "stacked":
        return np.concatenate([np.tanh(s @ p["W"]), np.tanh(h @ p["U"])]) @ p["v"]
    return (s @ p["W"] if alignment == "general" else s) @ h


def letters(params, prefix):
    """The parameters under a prefix, by their last letter."""
    return {name.removeprefix(prefix + "."): value for name, value in params.items() if name.startswith(prefix + ".")}
