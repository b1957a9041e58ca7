"""What each exercise's functions are tested on: a forward beside ours, a backward against the forward's derivative.

A case takes the functions of an answer by name and makes them into what the checker takes. The forward of a backward's
check is always the package's own, so no answer is judged by itself.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from .._typing import Array
from ..data.batch import Batch, prefix_mask
from ..model import decoder, encoder
from ..model.seq2seq import Seq2Seq
from ..ops import attention, cells, cross_entropy
from ..ops import embedding as ops_embedding
from . import reference

Functions = Mapping[str, Callable[..., Any]]


class Size(NamedTuple):
    """Sizes of a case."""

    B: int
    T: int
    H: int
    A: int
    V: int

    @property
    def mask(self) -> Array:
        """Real positions: the first sequence is whole, the last the shortest."""
        return prefix_mask(np.linspace(self.T, self.T // 2 + 1, self.B).astype(int), self.T)


SMALL = Size(2, 3, 2, 3, 5)
SIZES = SMALL, Size(3, 4, 3, 2, 6), Size(1, 1, 1, 1, 3), Size(1, 2, 3, 1, 4)  # for a proof
LARGE = Size(16, 12, 16, 16, 30)  # for its time


class Forward(NamedTuple):
    """A function whose results are to be ours."""

    name: str
    ours: Callable[..., Any]
    inputs: list[dict[str, Any]]  # several sets


class Backward(NamedTuple):
    """A backward, as :func:`numpy_attention.gradcheck.check_vjp` takes it."""

    name: str
    forward: Callable[..., Any]
    backward: Callable[..., Any]
    inputs: dict[str, Any]
    options: dict[str, Any]


class _Step:
    """What decoder_loop is given: the backward of step u. An answer cannot reach what begins with an underscore."""

    def __init__(self, cache: decoder.DecoderCache) -> None:
        self._cache = cache

    def __call__(self, u: int, ds: Array, dc: Array) -> Array:
        cache = self._cache
        kept = cache.s[u], cache.s[u + 1], cache.alpha[u], cache.z[u], cache.gates[u], None
        return decoder.decoder_step_backward(cache.shared, ds, dc, *kept)[0]


class _Decoder:
    """What model_backward is given: the decoder's backward, with the gradients that leave by each door."""

    def __init__(self, model: Seq2Seq, cache: Any, dloss: Any) -> None:
        self._model, self._cache, self._dloss = model, cache, dloss

    def __call__(self, dlogits: Array) -> tuple[dict[str, Array], Array, Array, Array]:
        gradients, paths = decoder.decoder_backward(dlogits, self._cache.decoder)
        return gradients, paths.context, paths.key, paths.s_0


def _normal(seed: int, **shapes: tuple[int, ...]) -> dict[str, Array]:
    rng = np.random.default_rng(seed)
    return {name: rng.standard_normal(shape) for name, shape in shapes.items()}


def dense(f: Functions, size: Size = SMALL) -> list[Forward | Backward]:
    """The gradient of y = x W + b."""
    N, M, K = 2 * size.B, size.H, size.A

    def forward(x: Array, W: Array, b: Array) -> Any:
        return reference.dense(x, W, b), (x, W)

    inputs = _normal(0, x=(N, M), W=(M, K), b=(K,))
    options = {"batch_axis": 0, "shared": ["W", "b"]}
    return [Backward("dense_backward", forward, lambda dy, cache: f["dense_backward"](dy, *cache), inputs, options)]


def tanh(f: Functions, size: Size = SMALL) -> list[Forward | Backward]:
    """The gradient of z = tanh(a)."""

    def forward(a: Array) -> Any:
        z = reference.tanh_step(a, a * 0, np.zeros((a.shape[1], a.shape[1])))
        return z, z

    inputs = _normal(1, a=(size.B, size.A))
    return [Backward("tanh_backward", forward, lambda dz, z: f["tanh_backward"](dz, z), inputs, {"batch_axis": 0})]


def softmax(f: Functions, size: Size = SMALL) -> list[Forward | Backward]:
    """Weights, also of scores that are huge or stand under the mask; and their backward."""
    mask = size.mask

    def forward(e: Array, mask: Array) -> Any:
        alpha = attention.softmax(e, mask)
        return alpha, alpha

    e = _normal(2, e=mask.shape)["e"]
    huge = np.where(mask, 1000 * e, 1e5)
    sets: list[dict[str, Any]] = [
        {"e": e, "mask": mask | True},
        {"e": e, "mask": mask},
        {"e": e, "mask": mask[:, ::-1]},
        {"e": huge, "mask": mask},
        {"e": e - 1e6, "mask": mask},
    ]
    return [
        Forward("softmax", attention.softmax, sets),
        Backward(
            "softmax_backward",
            forward,
            lambda dalpha, alpha: f["softmax_backward"](dalpha, alpha),
            {"e": e, "mask": mask},
            {"batch_axis": 0, "mask": {"e": mask}},
        ),
    ]


def cross_entropy_loss(f: Functions, size: Size = SMALL) -> list[Forward | Backward]:
    """The loss, also where the model is certain; and the gradient of the logits."""
    N, rng = 2 * size.B, np.random.default_rng(3)
    y, mask = rng.integers(0, size.V, N), np.arange(N) % 3 != 2

    def forward(logits: Array) -> Any:
        loss, cache = cross_entropy.cross_entropy_forward(logits, y, mask)
        return loss, cache.probabilities

    logits = _normal(3, logits=(N, size.V))["logits"]
    sets: list[dict[str, Any]] = [{"logits": scale * logits, "y": y, "mask": mask} for scale in (1, 20, 2000)]
    return [
        Forward("cross_entropy", reference.cross_entropy, sets),
        Backward(
            "cross_entropy_backward",
            forward,
            lambda dloss, p: f["cross_entropy_backward"](dloss, p, y, mask),
            {"logits": logits},
            {"mask": {"logits": mask}},
        ),
    ]


def embedding_lookup(f: Functions, size: Size = SMALL) -> list[Forward | Backward]:
    """Tokens that occur once, twice and never."""
    tokens = np.random.default_rng(4).integers(0, size.V - 1, (size.T, size.B))
    tokens[0, 0] = tokens[-1, -1]

    def forward(embedding: Array, W: Array, b: Array) -> Any:
        a, _ = ops_embedding.embedding_forward(tokens, embedding, W, b)
        return a, (tokens, embedding, W)

    inputs = _normal(4, embedding=(size.V, size.H), W=(size.H, size.A), b=(size.A,))
    return [Backward("embedding_backward", forward, lambda da, cache: f["embedding_backward"](da, *cache), inputs, {})]


def tanh_step(f: Functions, size: Size = SMALL) -> list[Forward | Backward]:
    """One step of the recurrence."""
    B, H = size.B, size.H

    def forward(a: Array, s: Array, U: Array) -> Any:
        new = reference.tanh_step(a, s, U)
        return new, (s, new, U)

    inputs = _normal(5, a=(B, H), s=(B, H), U=(H, H))
    return [
        Forward("tanh_step", reference.tanh_step, [inputs, _normal(6, a=(4, 3), s=(4, 3), U=(3, 3))]),
        Backward(
            "tanh_step_backward",
            forward,
            lambda dnew, cache: f["tanh_step_backward"](dnew, *cache),
            inputs,
            {"batch_axis": 0, "shared": ["U"]},
        ),
    ]


def through_time(f: Functions, size: Size = SMALL) -> list[Forward | Backward]:
    """The encoder's recurrence, with a sequence that ends early."""
    (B, T, H), mask = size[:3], size.mask
    real = mask.T[:, :, None]

    def forward(a: Array, U: Array) -> Any:
        # a token of its own for every position, so that what is looked up is a
        params = {"source_embedding": a.reshape(T * B, H), "encoder.W": np.eye(H), "encoder.b": np.zeros(H)}
        tokens = np.arange(T * B).reshape(T, B).T
        h, last, cache = encoder.encoder_forward(params | {"encoder.U": U}, cells.CELLS["tanh"], tokens, mask, False)
        return (h.transpose(1, 0, 2) * real, last), (cache.directions["encoder"].s, U)

    def backward(outputs: tuple[Array, Array], cache: Any) -> Any:
        dh, dlast = outputs
        s, U = cache
        return f["through_time"](dh * real, dlast, s, real, U)

    inputs = _normal(7, a=(T, B, H), U=(H, H))
    return [Backward("through_time", forward, backward, inputs, {})]


def additive(f: Functions, size: Size = SMALL) -> list[Forward | Backward]:
    """Scores of one step."""
    B, T, H, A, _ = size
    inputs = _normal(8, s=(B, 3), h=(B, T, H), W=(3, A), U=(H, A), v=(A,))

    def forward(**values: Array) -> Any:
        return reference.additive_scores(**values), values

    return [
        Forward("additive_scores", reference.additive_scores, [inputs]),
        Backward(
            "additive_scores_backward",
            forward,
            lambda de, values: f["additive_scores_backward"](de, **values),
            inputs,
            {"batch_axis": 0, "shared": ["W", "U", "v"]},
        ),
    ]


def context(f: Functions, size: Size = SMALL) -> list[Forward | Backward]:
    """The weighted sum."""
    B, T, H = size[:3]
    inputs = _normal(9, alpha=(B, T), h=(B, T, H))

    def forward(alpha: Array, h: Array) -> Any:
        return attention.context(alpha, h), (alpha, h)

    return [
        Forward("context", attention.context, [inputs]),
        Backward(
            "context_backward",
            forward,
            lambda dc, cache: f["context_backward"](dc, *cache),
            inputs,
            {"batch_axis": 0},
        ),
    ]


def attend(f: Functions, size: Size = SMALL) -> list[Forward | Backward]:
    """Scores, softmax and context in a row."""
    (B, T, H, A, _), mask = size, size.mask
    inputs = _normal(10, s=(B, 3), h=(B, T, H), W=(3, A), U=(H, A), v=(A,))

    def forward(**values: Array) -> Any:
        alpha = attention.softmax(reference.additive_scores(**values), mask)
        return attention.context(alpha, values["h"]), (alpha, values)

    def backward(dc: Array, cache: Any) -> Any:
        alpha, values = cache
        return f["attend_backward"](dc, alpha, **values)

    options = {"batch_axis": 0, "shared": ["W", "U", "v"]}
    return [Backward("attend_backward", forward, backward, inputs, options)]


def decoder_loop(f: Functions, size: Size = SMALL) -> list[Forward | Backward]:
    """A decoder whose readout shows its states and contexts as they are."""
    B, T, H, A, _ = size
    D = 3
    model = Seq2Seq(4, 4, embedding_size=2, hidden_size=D, encoder_size=H, alignment_size=A)
    params = _normal(11, **{name: shape for name, shape in model.parameter_shapes.items() if "output" not in name})
    params["output.W"], params["output.C"] = np.eye(D, D + H), np.eye(H, D + H, D)
    params["output.b"] = np.zeros(D + H)
    h, tokens = _normal(12, h=(B, T, H))["h"], np.random.default_rng(12).integers(0, 4, (B, T))

    def forward(s_0: Array) -> Any:
        shared = decoder.share(params, cells.CELLS["tanh"], attention.ALIGNMENTS["additive"], h, size.mask)
        return decoder.decoder_forward(shared, tokens, s_0)

    def backward(dlogits: Array, cache: decoder.DecoderCache) -> Any:
        return f["decoder_loop_backward"](dlogits[:, :, :D], dlogits[:, :, D:], _Step(cache))

    return [Backward("decoder_loop_backward", forward, backward, _normal(13, s_0=(B, D)), {"batch_axis": None})]


def doors(f: Functions, size: Size = SMALL) -> list[Forward | Backward]:
    """The whole model, its three backward passes given."""
    model = Seq2Seq(4, 4, embedding_size=2, hidden_size=size.H, alignment_size=2)
    params = {name: _normal(14 + k, x=shape)["x"] for k, (name, shape) in enumerate(model.parameter_shapes.items())}
    batch = Batch.from_sequences([[3, 0, 3], [3]], [[3], [3]])  # 4 tokens: 1 / 4 is no rounded number

    def forward(**params: Array) -> Any:
        return model.forward(params, batch)

    def backward(dloss: Any, cache: Any) -> Any:
        def bridge_backward(ds_0: Array) -> Any:
            return encoder.bridge_backward(ds_0, cache.params, cache.last, cache.decoder.s[0])

        def encoder_backward(dh: Array, dlast: Array) -> Any:
            return encoder.encoder_backward(dh, dlast, cache.encoder)[0]

        dlogits = cross_entropy.cross_entropy_backward(dloss, cache.loss)
        return f["model_backward"](dlogits, _Decoder(model, cache, dloss), bridge_backward, encoder_backward)

    return [Backward("model_backward", forward, backward, params, {})]


def stacked(f: Functions, size: Size = SMALL) -> list[Forward | Backward]:
    """The weights without a decoder state, and the backward of the formula."""
    (B, T, H, A, _), mask = size, size.mask
    inputs = _normal(20, s=(B, 3), h=(B, T, H), W=(3, A), U=(H, A), v=(2 * A,))

    def weights(h: Array, U: Array, v_2: Array, mask: Array, seed: int = 0) -> Array:
        """Of the whole formula, with some decoder state."""
        some = _normal(seed, s=(len(h), 3), W=(3, A), v_1=(A,))
        p = {"W": some["W"], "U": U, "v": np.concatenate([some["v_1"], v_2])}
        look = attention.ALIGNMENTS["stacked"]
        assert look is not None
        return attention.softmax(look.scores(p, some["s"], look.keys(p, h), True)[0], mask)

    def forward(**values: Array) -> Any:
        p = {name: values[name] for name in ("W", "U", "v")}
        look = attention.ALIGNMENTS["stacked"]
        assert look is not None
        return look.scores(p, values["s"], look.keys(p, values["h"]), True)[0], values

    sets = [{**_normal(seed, h=(B, T, H), U=(H, A), v_2=(A,)), "mask": mask} for seed in (21, 22)]
    return [
        Forward("stacked_weights", weights, sets),
        Backward(
            "stacked_scores_backward",
            forward,
            lambda de, values: f["stacked_scores_backward"](de, **values),
            inputs,
            {"batch_axis": 0, "shared": ["W", "U", "v"]},
        ),
    ]


def gru(f: Functions, size: Size = SMALL) -> list[Forward | Backward]:
    """One step of the gated unit."""
    B, H = size.B, size.H

    def forward(a: Array, s: Array, U: Array) -> Any:
        new, r, z, n = reference.gru_step(a, s, U)
        return new, (s, r, z, n, U)

    inputs = _normal(30, a=(B, 3 * H), s=(B, H), U=(H, 3 * H))
    return [
        Forward("gru_step", reference.gru_step, [inputs]),
        Backward(
            "gru_step_backward",
            forward,
            lambda dnew, cache: f["gru_step_backward"](dnew, *cache),
            inputs,
            {"batch_axis": 0, "shared": ["U"]},
        ),
    ]


def clip(f: Functions, size: Size = SMALL) -> list[Forward | Backward]:
    """Gradients that are too long, and gradients that are not."""
    gradients = _normal(40, W=(size.H, size.A), b=(size.A,))
    sets: list[dict[str, Any]] = [{"gradients": gradients, "limit": limit} for limit in (0.5, 1.0, 100.0)]
    sets.append({"gradients": {name: 0 * value for name, value in gradients.items()}, "limit": 1.0})
    return [Forward("clipped", reference.clipped, sets)]
