"""What one forward and backward cannot do without: its matrix products, and its elements of add, tanh, exp, square ...

Each product is timed by ``np.matmul`` with exactly its shape and the memory layout that the model hands it, warm and
into memory that is there already; each elementwise function over an array of the step's own shape, cut down to what
stays in the cache. The sum over all of them is the floor: what a step of these products and functions would take if
nothing were spent between them and every operand lay at hand. The additive alignment, one direction.

The list is the model's own: `model/*.py` and `ops/*.py` in NumPy's notation.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from benchmarks.measuring import timed
from benchmarks.problems import Size

CACHED = 1 << 16  # elements of an array that stays in the second-level cache
LINE_SECONDS = 0.01  # time of one line in one turn


class Operand(NamedTuple):
    """A factor as it lies in memory, and the order in which its axes are handed over."""

    stored: tuple[int, ...]
    axes: tuple[int, ...] | None = None
    extra: int | None = None  # where an axis of length 1 is put in, last of all

    def make(self, rng: np.random.Generator) -> np.ndarray:
        """Random numbers in this layout."""
        array = rng.standard_normal(self.stored, np.float32)
        array = array if self.axes is None else array.transpose(self.axes)
        return array if self.extra is None else np.expand_dims(array, self.extra)

    @property
    def shape(self) -> tuple[int, ...]:
        """What the product sees."""
        shape = self.stored if self.axes is None else tuple(self.stored[axis] for axis in self.axes)
        return shape if self.extra is None else (*shape[: self.extra], 1, *shape[self.extra :])


class Product(NamedTuple):
    """A matrix product that the step makes ``count`` times."""

    name: str
    count: float
    left: Operand
    right: Operand

    @property
    def work(self) -> float:
        """Multiplications and additions of one."""
        left, right = self.left.shape, self.right.shape
        rows, inner = left[-2:] if len(left) > 1 else (1, *left)
        columns = right[-1] if len(right) > 1 else 1
        return 2.0 * math.prod(np.broadcast_shapes(left[:-2], right[:-2])) * rows * inner * columns

    @property
    def described(self) -> str:
        """Shape of both factors."""
        return " @ ".join(" x ".join(map(str, shape)) for shape in (self.left.shape, self.right.shape))

    def make(self, rng: np.random.Generator) -> Callable[[], Any]:
        """The product itself, ready to be called."""
        left, right = self.left.make(rng), self.right.make(rng)
        out = np.matmul(left, right)
        return lambda: np.matmul(left, right, out=out)


class Elements(NamedTuple):
    """An elementwise function that the step calls ``count`` times over arrays of ``shape``."""

    name: str
    count: float
    function: str
    shape: tuple[int, ...]
    second: tuple[int, ...] | None = None  # shape of the second operand of an addition or a multiplication

    @property
    def work(self) -> float:
        """Elements of one call."""
        return float(math.prod(self.shape))

    @property
    def cut(self) -> float:
        """How many times the array that is timed fits into the one that the step has."""
        rows = max(1, CACHED // max(1, math.prod(self.shape[1:])))
        return self.shape[0] / min(self.shape[0], rows)

    @property
    def described(self) -> str:
        """Shape of the result."""
        return " x ".join(map(str, self.shape))

    def make(self, rng: np.random.Generator) -> Callable[[], Any]:
        """The function over an array that stays in the cache."""
        rows = round(self.shape[0] / self.cut)
        x = rng.standard_normal((rows, *self.shape[1:]), np.float32)
        out, function = np.empty_like(x), getattr(np, self.function)
        if self.second is None:
            return lambda: function(x, out=out)
        y = rng.standard_normal((min(rows, self.second[0]), *self.second[1:]), np.float32)
        return lambda: function(x, y, out=out)


Line = Product | Elements


def lines_of(size: Size) -> list[Line]:
    """Every line of the floor, in the order of the step."""
    return [*encoder(size), *keys_and_bridge(size), *steps_forward(size), *steps_backward(size), *after_loop(size)]


def embedding(name: str, rows: int, size: Size, width: int) -> list[Line]:
    """The projection of the vocabulary, or of as many tokens as there are, and its backward."""
    rows = min(rows, size.V)
    return [
        Product(f"{name} embedding: projection", 1, Operand((rows, size.E)), Operand((size.E, width))),
        Product(f"{name} embedding: dW", 1, Operand((rows, size.E), (1, 0)), Operand((rows, width))),
        Product(f"{name} embedding: drows", 1, Operand((rows, width)), Operand((size.E, width), (1, 0))),
    ]


def encoder(size: Size) -> list[Line]:
    """The encoder, both ways."""
    B, T, H = size.B, size.T, size.H
    return [
        *embedding("source", B * T, size, H),
        Product("encoder: h U", T, Operand((B, H)), Operand((H, H))),
        Elements("encoder: drive + h U", T, "add", (B, H), (B, H)),
        Elements("encoder: tanh", T, "tanh", (B, H)),
        Elements("encoder: h^2", T, "square", (B, H)),
        Product("encoder: dh, backward", T, Operand((B, H)), Operand((H, H))),
        Product("encoder: dU", 1, Operand((T * B, H), (1, 0)), Operand((T * B, H))),
    ]


def keys_and_bridge(size: Size) -> list[Line]:
    """The keys' projection and the first state of the decoder, both ways."""
    B, T, H, D, A = size.B, size.T, size.H, size.D, size.A
    return [
        Product("keys: h U", 1, Operand((B * T, H)), Operand((H, A))),
        Product("keys: dh, backward", 1, Operand((B * T, A)), Operand((H, A), (1, 0))),
        Product("keys: dU", 1, Operand((B * T, H), (1, 0)), Operand((B * T, A))),
        Product("bridge", 1, Operand((B, H)), Operand((H, D))),
        Elements("bridge: tanh", 1, "tanh", (B, D)),
        Product("bridge: dh, backward", 1, Operand((B, D)), Operand((H, D), (1, 0))),
        Product("bridge: dW", 1, Operand((B, H), (1, 0)), Operand((B, D))),
    ]


def steps_forward(size: Size) -> list[Line]:
    """Every decoder step, and the readout of all of them."""
    B, T, U, H, D, A, V = size.B, size.T, size.U, size.H, size.D, size.A, size.V
    return [
        *embedding("target", B * U, size, D),
        Product("query: s W", U, Operand((B, D)), Operand((D, A))),
        Elements("alignment: key + query", U, "add", (B, T, A), (B, 1, A)),
        Elements("alignment: tanh", U, "tanh", (B, T, A)),
        Product("scores: z v", U, Operand((B * T, A)), Operand((A,))),
        Elements("softmax: exp", U, "exp", (B, T)),
        Product("context: alpha h", U, Operand((B, T), None, 1), Operand((B, T, H))),
        Product("decoder: s U", U, Operand((B, D)), Operand((D, D))),
        Product("decoder: c C", U, Operand((B, H)), Operand((H, D))),
        Elements("decoder: drive + products", 2 * U, "add", (B, D), (B, D)),
        Elements("decoder: tanh", U, "tanh", (B, D)),
        Product("readout: s W", 1, Operand((U * B, D)), Operand((D, V))),
        Product("readout: c C", 1, Operand((U * B, H)), Operand((H, V))),
        Elements("loss: exp", 1, "exp", (U * B, V)),
    ]


def steps_backward(size: Size) -> list[Line]:
    """The readout backwards, and every decoder step."""
    B, T, U, H, D, A, V = size.B, size.T, size.U, size.H, size.D, size.A, size.V
    return [
        Product("readout: ds, backward", 1, Operand((U * B, V)), Operand((D, V), (1, 0))),
        Product("readout: dc, backward", 1, Operand((U * B, V)), Operand((H, V), (1, 0))),
        Elements("decoder: s^2", U, "square", (B, D)),
        Product("decoder: ds, backward", U, Operand((B, D)), Operand((D, D))),
        Product("decoder: dc, backward", U, Operand((B, D)), Operand((D, H))),
        Product("dalpha: h . dc", U, Operand((B, T, H)), Operand((B, H), None, 2)),
        Product("dv: de z", U, Operand((B * T,)), Operand((B * T, A))),
        Elements("dquery, dkeys: z^2", U, "square", (B, T, A)),
        Product("dquery: de z^2", U, Operand((B, T), None, 1), Operand((B, T, A))),
        Elements("dkeys: de z^2", U, "multiply", (B, T, A), (B, T, 1)),
        Elements("dkeys: sum over u", U, "add", (B, T, A), (B, T, A)),
        Product("ds: dquery W^T", U, Operand((B, A)), Operand((A, D))),
    ]


def after_loop(size: Size) -> list[Line]:
    """What all steps add up to."""
    B, T, U, H, D, A, V = size.B, size.T, size.U, size.H, size.D, size.A, size.V
    return [
        Product("readout: dW", 1, Operand((U * B, D), (1, 0)), Operand((U * B, V))),
        Product("readout: dC", 1, Operand((U * B, H), (1, 0)), Operand((U * B, V))),
        Product("decoder: dU", 1, Operand((U * B, D), (1, 0)), Operand((U * B, D))),
        Product("decoder: dC", 1, Operand((U * B, H), (1, 0)), Operand((U * B, D))),
        Product("dannotations: alpha dc", 1, Operand((U, B, T), (1, 2, 0)), Operand((U, B, H), (1, 0, 2))),
        Product("query: dW", 1, Operand((U * B, D), (1, 0)), Operand((U * B, A))),
    ]


def prepare(desk: dict[str, Any], size: Size) -> list[dict[str, Any]]:
    """Make everything that is timed; what every line is, for the page."""
    rng = np.random.default_rng(0)
    lines = lines_of(size)
    desk["floor"] = [(line, line.make(rng)) for line in lines]
    desk["calls"] = []
    for _, function in desk["floor"]:
        timed(function, 2)
        desk["calls"].append(max(1, round(LINE_SECONDS / max(timed(function, 3), 1e-7))))
    return [described(line) for line in lines]


def described(line: Line) -> dict[str, Any]:
    """A line for the results' file."""
    kind = "product" if isinstance(line, Product) else line.function
    return {"name": line.name, "kind": kind, "shape": line.described, "count": line.count, "work": line.work}


def turn(desk: dict[str, Any], calls: int) -> list[float]:
    """Milliseconds that each line takes in one step: its own time, times how often it is there.

    How often a line is called was settled beforehand, and ``calls`` is of no use.
    """
    times = []
    for (line, function), each in zip(desk["floor"], desk["calls"], strict=True):
        seconds = timed(function, each) * (line.cut if isinstance(line, Elements) else 1.0)
        times.append(1e3 * seconds * line.count)
    return times
