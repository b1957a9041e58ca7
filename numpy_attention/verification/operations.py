"""Every operation on its own: forward and backward as :func:`check_vjp` takes them, and inputs that leave nothing out.

Functions and records are looked up where they live at every call, so that a function that was replaced is checked.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from .._typing import Array
from ..data.batch import Batch, prefix_mask
from ..gradcheck import GradientReport, check_vjp
from ..gradcheck.check import CheckMethod
from ..model import decoder, encoder
from ..model.dropout import DropoutMasks
from ..model.seq2seq import Seq2Seq
from ..ops import attention, cells, cross_entropy, embedding
from .cases import make_model, make_params

B, T, U, E, H, A, D, V = 3, 5, 4, 2, 3, 4, 6, 7
LENGTHS = np.array([5, 2, 3])
MASK = prefix_mask(LENGTHS, T)
REAL = MASK[:, :, None]


class Operation(NamedTuple):
    """One operation: ``forward(**inputs)`` returns (output, cache), ``backward(doutput, cache)`` the gradients."""

    name: str
    forward: Callable[..., Any]
    backward: Callable[..., Any]
    inputs: dict[str, Any]
    options: dict[str, Any]  # of check_vjp


def check_operation(operation: Operation, method: CheckMethod = "complex-step", **options: Any) -> GradientReport:
    """The operation's backward against the derivative of its forward, and the structural laws.

    Parameters
    ----------
    operation : Operation
    method : str
    **options
        ``mode`` and others of :func:`numpy_attention.gradcheck.check_vjp`.

    Returns
    -------
    GradientReport

    Examples
    --------
    >>> check_operation(every_operation()[0]).ok
    True
    """
    return check_vjp(
        operation.forward,
        operation.backward,
        operation.inputs,
        method=method,
        show_progress=False,
        factors={"B": B, "T": T, "U": U, "V": V},
        **operation.options,
        **options,
    )


def every_operation(seed: int = 0) -> list[Operation]:
    """The operations, from the smallest to the decoder, with random inputs drawn with ``seed``."""
    rng = np.random.default_rng([seed, 3])
    looks = [kind for kind, look in attention.ALIGNMENTS.items() if look is not None]
    gated = [name for name in cells.CELLS if name != "tanh"]
    return [
        _softmax(rng),
        _context(rng),
        *(_cell(name, rng) for name in cells.CELLS),
        *(_alignment(kind, rng) for kind in looks),
        _embedding(V, rng),
        _embedding(30, rng),
        _cross_entropy(0.0, rng),
        _cross_entropy(0.125, rng),
        *(_encoder(cell, bidirectional, rng) for cell in cells.CELLS for bidirectional in (False, True)),
        _bridge(rng),
        *(_decoder(kind, "tanh", rng) for kind in attention.ALIGNMENTS),
        *(_decoder("additive", cell, rng) for cell in gated),
        _readout(rng),
        _alignment("additive", rng, keep_z=False),
        _alignment("location", rng, keep_z=False),
        _encoder("gru", False, rng, dropout=True),
        _decoder("dot", "gru", rng, dropout=True),
    ]


def _softmax(rng: np.random.Generator) -> Operation:
    def forward(e: Array, mask: Array) -> Any:
        alpha = attention.softmax(e, mask)
        return alpha, alpha

    def backward(dalpha: Array, alpha: Array) -> Any:
        return attention.softmax_backward(dalpha, alpha)

    inputs = {"e": rng.standard_normal((B, T)), "mask": MASK}
    return Operation("softmax", forward, backward, inputs, {"batch_axis": 0, "mask": {"e": MASK}})


def _context(rng: np.random.Generator) -> Operation:
    h = rng.standard_normal((B, T, H))

    def forward(alpha: Array) -> Any:
        return attention.context(alpha, h), None

    def backward(dc: Array, cache: None) -> Any:
        return attention.context_backward(dc, h)

    return Operation("context", forward, backward, {"alpha": rng.random((B, T))}, {"batch_axis": 0})


def _cell(name: str, rng: np.random.Generator) -> Operation:
    gates, states = cells.CELLS[name].gates, cells.CELLS[name].states

    def forward(a: Array, s: Array, U: Array) -> Any:
        new, kept = cells.CELLS[name].step(a, s, U)
        return new, (s, new, kept, U)

    def backward(dnew: Array, cache: Any) -> Any:
        da, dp, ds = cells.CELLS[name].step_backward(dnew, *cache)
        return {"a": da, "s": ds, "U": cache[0][:, :H].T @ dp}

    shapes = {"a": (B, gates * H), "s": (B, states * H), "U": (H, gates * H)}
    inputs = {letter: rng.standard_normal(shape) for letter, shape in shapes.items()}
    return Operation(f"cell, {name}", forward, backward, inputs, {"batch_axis": 0, "shared": ["U"]})


def _alignment(kind: str, rng: np.random.Generator, keep_z: bool = True) -> Operation:
    """The scores of all U steps: keys before the loop, steps, and the sums after it."""
    first = attention.ALIGNMENTS[kind]
    assert first is not None
    shapes = first.shapes(H if kind == "dot" else D, H, A)
    p = {name: rng.standard_normal(shape) for name, shape in shapes.items()}
    inputs = {"s": rng.standard_normal((B, U, H if kind == "dot" else D)), "h": rng.standard_normal((B, T, H)), **p}
    if first.past:
        inputs["alpha"] = rng.random((B, U, T))  # that each step reads

    def forward(s: Array, h: Array, alpha: Array | None = None, **p: Array) -> Any:
        look = attention.ALIGNMENTS[kind]
        assert look is not None
        keys = look.keys(p, h)
        past = [()] * U if alpha is None else [(alpha[:, u],) for u in range(U)]
        e, z = zip(*(look.scores(p, s[:, u], keys, keep_z, *past[u]) for u in range(U)), strict=True)
        return np.array(e).transpose(1, 0, 2), (p, s.transpose(1, 0, 2), h, keys, z)

    def backward(de: Array, cache: Any) -> Any:
        look = attention.ALIGNMENTS[kind]
        assert look is not None
        p, s, h, keys, z = cache
        de = de.transpose(1, 0, 2)
        sums, steps = None, []
        for u in reversed(range(U)):
            ds, dquery, sums = look.scores_backward(p, de[u], s[u], keys, z[u], sums)
            steps.append((ds, dquery, sums.dalpha if look.past else ds))
        ds, dquery, dalpha = map(np.array, zip(*reversed(steps), strict=True))
        gradients, dh = look.after(p, de, dquery, s, h, keys, sums)
        gradients |= {"s": ds.transpose(1, 0, 2), "h": dh}
        return gradients | {"alpha": dalpha.transpose(1, 0, 2)} if look.past else gradients

    name = f"alignment, {kind}" if keep_z else f"alignment, {kind}, no z"
    return Operation(name, forward, backward, inputs, {"batch_axis": 0, "shared": list(p)})


def _embedding(vocabulary: int, rng: np.random.Generator) -> Operation:
    inputs = {
        "tokens": rng.integers(0, vocabulary, (B, T)),
        "embedding": rng.standard_normal((vocabulary, E)),
        "W": rng.standard_normal((E, H)),
        "b": rng.standard_normal(H),
    }

    def forward(**inputs: Array) -> Any:
        return embedding.embedding_forward(**inputs)

    def backward(da: Array, cache: Any) -> Any:
        return embedding.embedding_backward(da, cache)

    name = "embedding" if vocabulary <= B * T else "embedding, large vocabulary"
    return Operation(name, forward, backward, inputs, {})


def _cross_entropy(smoothing: float, rng: np.random.Generator) -> Operation:
    def forward(logits: Array, targets: Array, mask: Array) -> Any:
        return cross_entropy.cross_entropy_forward(logits, targets, mask, None, smoothing)

    def backward(dloss: Array, cache: Any) -> Any:
        return cross_entropy.cross_entropy_backward(dloss, cache)

    inputs = {"logits": rng.standard_normal((B, T, V)), "targets": rng.integers(0, V, (B, T)), "mask": MASK}
    name = "cross-entropy, smoothed" if smoothing else "cross-entropy"
    return Operation(name, forward, backward, inputs, {"mask": {"logits": MASK}})


def _encoder(cell: str, bidirectional: bool, rng: np.random.Generator, dropout: bool = False) -> Operation:
    """The output is h, zeros at padded positions, and the last states behind it."""
    tokens = rng.integers(0, 8, (B, T))
    masks = _dropout_masks(make_model("additive", bidirectional, cell), tokens, rng) if dropout else None

    def forward(**params: Array) -> Any:
        h, last, cache = encoder.encoder_forward(params, cells.CELLS[cell], tokens, MASK, bidirectional, masks)
        return np.concatenate([np.where(REAL, h, 0), last[:, None]], axis=1), cache

    def backward(doutput: Array, cache: Any) -> Any:
        return encoder.encoder_backward(np.where(REAL, doutput[:, :T], 0), doutput[:, T], cache)[0]

    name = f"bidirectional encoder, {cell}" if bidirectional else f"encoder, {cell}"
    name += ", dropout" if dropout else ""
    return Operation(name, forward, backward, _params("additive", bidirectional, cell, "source", "encoder"), {})


def _bridge(rng: np.random.Generator) -> Operation:
    params = _params("additive", False, "tanh", "bridge")
    inputs = {**params, "last": rng.standard_normal((B, len(params["bridge.W"])))}

    def forward(last: Array, **params: Array) -> Any:
        s_0 = encoder.bridge_forward(params, last)
        return s_0, (params, last, s_0)

    def backward(ds_0: Array, cache: Any) -> Any:
        gradients, dlast = encoder.bridge_backward(ds_0, *cache)
        return {**gradients, "last": dlast}

    return Operation("bridge", forward, backward, inputs, {"batch_axis": 0, "shared": list(params)})


def _readout(rng: np.random.Generator) -> Operation:
    params = _params("additive", True, "tanh", "output")
    inputs = {**params, "s": rng.standard_normal((U, B, 5)), "c": rng.standard_normal((U, B, 2 * H))}

    def forward(s: Array, c: Array, **params: Array) -> Any:
        look = attention.ALIGNMENTS["additive"]
        return decoder.readout(params, look, s, c), (params, look, s, c)

    def backward(dlogits: Array, cache: Any) -> Any:
        gradients, ds, dc = decoder.readout_backward(dlogits, *cache)
        return {**gradients, "s": ds, "c": dc}

    return Operation("readout", forward, backward, inputs, {"batch_axis": 1, "shared": list(params)})


def _decoder(kind: str, cell: str, rng: np.random.Generator, dropout: bool = False) -> Operation:
    """With attention, the encoder states are an input that is read twice: summed, and by the keys."""
    params = _params(kind, True, cell, "alignment", "target", "decoder", "output")
    h = rng.standard_normal((B, T, 2 * H))
    tokens = rng.integers(0, 7, (B, U))
    masks = _dropout_masks(make_model(kind, True, cell), tokens, rng) if dropout else None
    width = cells.CELLS[cell].states * make_model(kind, True).hidden_size
    inputs = {**params, "s_0": rng.standard_normal((B, width))}
    if attention.ALIGNMENTS[kind] is not None:
        inputs["h"] = h

    def forward(**values: Array) -> Any:
        look = attention.ALIGNMENTS[kind]
        shared = decoder.share(values, cells.CELLS[cell], look, values.get("h", h), MASK)
        logits, cache = decoder.decoder_forward(shared, tokens, values["s_0"], masks)
        return logits.transpose(1, 0, 2), cache

    def backward(dlogits: Array, cache: Any) -> Any:
        gradients, paths = decoder.decoder_backward(dlogits.transpose(1, 0, 2), cache)
        gradients["s_0"] = paths.s_0
        return gradients if "h" not in inputs else gradients | {"h": paths.context + paths.key}

    options: dict[str, Any] = {"batch_axis": 0, "shared": list(params)}
    if "h" in inputs:
        options["mask"] = {"h": MASK}
    name = f"decoder, {kind}, {cell}" + (", dropout" if dropout else "")
    return Operation(name, forward, backward, inputs, options)


def _dropout_masks(model: Seq2Seq, tokens: Array, rng: np.random.Generator) -> DropoutMasks:
    """Masks for ``tokens`` as a source or as a target."""
    everything = np.ones(tokens.shape, bool)
    return model.dropout_masks(Batch(tokens, everything, tokens, tokens, everything), 0.3, rng)


def _params(kind: str, bidirectional: bool, cell: str, *rooms: str) -> dict[str, Array]:
    params = make_params(make_model(kind, bidirectional, cell))
    return {name: value for name, value in params.items() if name.startswith(rooms)}
