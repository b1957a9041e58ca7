"""The floor of a training step: its matrix products and elementwise functions alone, each at its own best rate.

A product is ``np.matmul`` with exactly the shapes and memory layouts that the model hands it, warm and into memory that
is there already. An elementwise function runs over an array of the step's own shape, cut down to what stays in the
cache. Their sum is the time of a step if nothing were spent between them and every operand lay at hand.

The list is the additive model with the tanh cell, one direction, every sequence of full length.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from benchmarks.measuring import timed
from benchmarks.problems import Size

CACHED = 1 << 16  # elements of an array that stays in the second-level cache


class Line(NamedTuple):
    """A product or an elementwise function that one step calls ``times`` times."""

    name: str
    times: float
    function: np.ufunc
    operands: tuple[np.ndarray, ...]

    @property
    def work(self) -> float:
        """Multiplications and additions of one product, or elements of one call."""
        if self.function is not np.matmul:
            return float(math.prod(self.operands[0].shape))
        left, right = (each.shape for each in self.operands)
        rows, inner = left[-2:] if len(left) > 1 else (1, *left)
        columns = right[-1] if len(right) > 1 else 1
        return 2.0 * math.prod(np.broadcast_shapes(left[:-2], right[:-2])) * rows * inner * columns

    def call(self) -> tuple[Callable[[], Any], float]:
        """The function on its operands, ready to be called, and how often that makes up one call of the step's."""
        operands, cut = self.operands, 1.0
        if self.function is not np.matmul:
            length = len(operands[0])
            rows = min(length, max(1, CACHED // max(1, math.prod(operands[0].shape[1:]))))
            operands, cut = tuple(each[:rows] for each in operands), length / rows
        out = self.function(*operands)
        return lambda: self.function(*operands, out=out), cut


def make(size: Size) -> Callable[[int], float]:
    """The floor of a size: a function from a number of steps to the seconds of one. Each line runs by itself, warm."""
    calls = [(function, cut * line.times) for line in lines(size) for function, cut in [line.call()]]
    return lambda steps: sum(timed(function, max(1, round(steps * times))) * times for function, times in calls)


def lines(size: Size) -> list[Line]:
    """Every product and elementwise function of the step, in its order."""
    B, T, U, E, H, D, A, V, _ = size
    rng = np.random.default_rng(0)

    def x(*shape: int) -> np.ndarray:
        return rng.random(shape, np.float32)

    def product(name: str, times: float, left: np.ndarray, right: np.ndarray) -> Line:
        return Line(name, times, np.matmul, (left, right))

    def embedding(name: str, rows: int, width: int) -> list[Line]:
        rows = min(rows, V)  # the vocabulary is projected, or as many tokens as there are
        return [
            product(f"{name} embedding: x W", 1, x(rows, E), x(E, width)),
            product(f"{name} embedding: dW", 1, x(rows, E).T, x(rows, width)),
            product(f"{name} embedding: dx", 1, x(rows, width), x(E, width).T),
        ]

    return [
        *embedding("source", B * T, H),
        product("encoder: h U", T, x(B, H), x(H, H)),
        Line("encoder: a + h U", T, np.add, (x(B, H), x(B, H))),
        Line("encoder: tanh", T, np.tanh, (x(B, H),)),
        Line("encoder: h^2", T, np.square, (x(B, H),)),
        product("encoder: dh", T, x(B, H), x(H, H)),
        product("encoder: dU", 1, x(T * B, H).T, x(T * B, H)),
        product("keys: h U", 1, x(B * T, H), x(H, A)),
        product("keys: dh", 1, x(B * T, A), x(H, A).T),
        product("keys: dU", 1, x(B * T, H).T, x(B * T, A)),
        product("bridge: h W", 1, x(B, H), x(H, D)),
        Line("bridge: tanh", 1, np.tanh, (x(B, D),)),
        product("bridge: dh", 1, x(B, D), x(H, D).T),
        product("bridge: dW", 1, x(B, H).T, x(B, D)),
        *embedding("target", B * U, D),
        product("query: s W", U, x(B, D), x(D, A)),
        Line("alignment: keys + query", U, np.add, (x(B, T, A), x(B, 1, A))),
        Line("alignment: z = tanh", U, np.tanh, (x(B, T, A),)),
        product("alignment: z v", U, x(B * T, A), x(A)),
        Line("softmax: exp", U, np.exp, (x(B, T),)),
        product("context: alpha h", U, x(B, T)[:, None], x(B, T, H)),
        product("decoder: s U", U, x(B, D), x(D, D)),
        product("decoder: c C", U, x(B, H), x(H, D)),
        Line("decoder: a + s U + c C", 2 * U, np.add, (x(B, D), x(B, D))),
        Line("decoder: tanh", U, np.tanh, (x(B, D),)),
        product("readout: s W", 1, x(U * B, D), x(D, V)),
        product("readout: c C", 1, x(U * B, H), x(H, V)),
        Line("loss: exp", 1, np.exp, (x(U * B, V),)),
        product("readout: ds", 1, x(U * B, V), x(D, V).T),
        product("readout: dc", 1, x(U * B, V), x(H, V).T),
        Line("decoder: s^2", U, np.square, (x(B, D),)),
        product("decoder: ds", U, x(B, D), x(D, D)),
        product("decoder: dc", U, x(B, D), x(D, H)),
        product("context: dalpha", U, x(B, T, H), x(B, H)[:, :, None]),
        product("alignment: dv", U, x(B * T), x(B * T, A)),
        Line("alignment: z^2", U, np.square, (x(B, T, A),)),
        product("alignment: dquery", U, x(B, T)[:, None], x(B, T, A)),
        Line("alignment: de z^2", U, np.multiply, (x(B, T, A), x(B, T, 1))),
        Line("alignment: dkeys", U, np.add, (x(B, T, A), x(B, T, A))),
        product("query: ds", U, x(B, A), x(A, D)),
        product("readout: dW", 1, x(U * B, D).T, x(U * B, V)),
        product("readout: dC", 1, x(U * B, H).T, x(U * B, V)),
        product("decoder: dU", 1, x(U * B, D).T, x(U * B, D)),
        product("decoder: dC", 1, x(U * B, H).T, x(U * B, D)),
        product("context: dh", 1, x(U, B, T).transpose(1, 2, 0), x(U, B, H).transpose(1, 0, 2)),
        product("query: dW", 1, x(U * B, D).T, x(U * B, A)),
    ]
