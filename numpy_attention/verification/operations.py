"""Every operation on its own: forward and backward as :func:`check_vjp` takes them, and inputs that leave nothing out.

The functions are looked up where they live at every call, so that a replaced one is the one that is checked.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from .._typing import Array
from ..data.batch import prefix_mask
from ..gradcheck import GradientReport, check_vjp
from ..model import bridge, decoder, encoder
from ..ops import alignment, context, cross_entropy, dropout, embedding, linear, softmax, tanh_cell
from .cases import make_model, make_params

B, T, U, E, H, A, D, V = 3, 5, 4, 2, 3, 4, 6, 7
LENGTHS = np.array([5, 2, 3])
MASK = prefix_mask(LENGTHS, T)


class Operation(NamedTuple):
    """One operation: ``forward(**inputs)`` gives (output, cache), ``backward(doutput, cache)`` the gradients."""

    name: str
    forward: Callable[..., Any]
    backward: Callable[..., Any]
    inputs: dict[str, Any]
    options: dict[str, Any]  # of check_vjp


def check_operation(operation: Operation, **options: Any) -> GradientReport:
    """The operation's backward against the derivative of its forward, and the structural laws.

    Parameters
    ----------
    operation : Operation
    **options
        ``method`` and ``mode`` of :func:`numpy_attention.gradcheck.check_vjp`.

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
        show_progress=False,
        factors={"B": B, "T": T, "U": U, "V": V},
        **operation.options,
        **options,
    )


def every_operation(seed: int = 0) -> list[Operation]:
    """The operations, from the smallest to the decoder, with random inputs drawn with ``seed``."""
    rng = np.random.default_rng([seed, 3])
    drive, state, U_square = rng.standard_normal((B, H)), rng.standard_normal((B, H)), rng.standard_normal((H, H))
    scores = {"scores": rng.standard_normal((B, T)), "mask": MASK}
    weights = {"alpha": rng.random((B, T)), "annotations": rng.standard_normal((B, T, H))}
    cell = {"drive": drive, "previous": state, "U": U_square}
    carried = {**cell, "mask": np.array([True, False, True])}
    rows = {"x": rng.standard_normal((B, D)), "W": rng.standard_normal((D, H))}
    return [
        Operation("softmax", _softmax, _softmax_back, scores, {"batch_axis": 0, "mask": {"scores": MASK}}),
        *(_alignment(kind, rng) for kind in alignment.KINDS),
        Operation("context", _context, _context_back, weights, {"batch_axis": 0}),
        Operation("linear", _linear, _linear_back, rows, {"batch_axis": 0, "shared": ["W"]}),
        Operation("tanh cell", _tanh_cell, _tanh_cell_back, cell, {"batch_axis": 0, "shared": ["U"]}),
        Operation("tanh cell, masked", _tanh_cell, _tanh_cell_back, carried, {"batch_axis": 0, "shared": ["U"]}),
        Operation("embedding", _embedding, _embedding_back, _tokens(V, rng), {}),
        Operation("embedding, large vocabulary", _embedding, _embedding_back, _tokens(30, rng), {}),
        _dropout(rng),
        _cross_entropy(0.0, rng),
        _cross_entropy(0.1, rng),
        *(_encoder(bidirectional, rng) for bidirectional in (False, True)),
        *(_bridge(bidirectional, rng) for bidirectional in (False, True)),
        *(_decoder(kind, rng) for kind in (*alignment.KINDS, "none")),
    ]


def _softmax(scores: Array, mask: Array) -> Any:
    return softmax.softmax_forward(scores, mask)


def _softmax_back(dalpha: Array, cache: Any) -> Any:
    return softmax.softmax_backward(dalpha, cache)


def _alignment(kind: str, rng: np.random.Generator) -> Operation:
    inputs = {"query": rng.standard_normal((B, A)), "keys": rng.standard_normal((B, T, A))}
    if kind != "dot":
        inputs["v"] = rng.standard_normal(A if kind == "additive" else 2 * A)

    def forward(query: Array, keys: Array, v: Array | None = None) -> Any:
        return alignment.alignment_forward(kind, query, keys, v)

    def backward(dscores: Array, cache: Any) -> Any:
        return alignment.alignment_backward(dscores, cache)[: len(inputs)]

    return Operation(
        f"alignment, {kind}", forward, backward, inputs, {"batch_axis": 0, "shared": list(inputs.keys() & {"v"})}
    )


def _context(alpha: Array, annotations: Array) -> Any:
    return context.context_forward(alpha, annotations)


def _context_back(dcontext: Array, cache: Any) -> Any:
    return context.context_backward(dcontext, cache)


def _linear(x: Array, W: Array) -> Any:
    return linear.linear_forward(x, W), (x, W)


def _linear_back(dy: Array, cache: Any) -> Any:
    return linear.linear_backward(dy, *cache)


def _tanh_cell(drive: Array, previous: Array, U: Array, mask: Array | None = None) -> Any:
    return tanh_cell.tanh_cell_forward(drive, previous, U, mask)


def _tanh_cell_back(dstate: Array, cache: Any) -> Any:
    return tanh_cell.tanh_cell_backward(dstate, cache)


def _tokens(vocabulary: int, rng: np.random.Generator) -> dict[str, Any]:
    return {
        "tokens": rng.integers(0, vocabulary, (B, T)),
        "embedding": rng.standard_normal((vocabulary, E)),
        "W": rng.standard_normal((E, H)),
        "b": rng.standard_normal(H),
    }


def _embedding(tokens: Array, embedding: Array, W: Array, b: Array) -> Any:
    return _embedding_module.embedding_forward(tokens, embedding, W, b)


def _embedding_back(ddrive: Array, cache: Any) -> Any:
    return _embedding_module.embedding_backward(ddrive, cache)


_embedding_module = embedding  # under a name that the embedding itself does not hide


def _dropout(rng: np.random.Generator) -> Operation:
    mask = dropout.dropout_mask(rng, (B, T), 0.3)

    def forward(x: Array) -> Any:
        return dropout.dropout_forward(x, mask)

    def backward(dy: Array, cache: Any) -> Any:
        return dropout.dropout_backward(dy, cache)

    return Operation("dropout", forward, backward, {"x": rng.standard_normal((B, T))}, {"batch_axis": 0})


def _cross_entropy(smoothing: float, rng: np.random.Generator) -> Operation:
    def forward(logits: Array, targets: Array, mask: Array) -> Any:
        return cross_entropy.cross_entropy_forward(logits, targets, mask, None, smoothing)

    def backward(dloss: Array, cache: Any) -> Any:
        return cross_entropy.cross_entropy_backward(dloss, cache)

    inputs = {"logits": rng.standard_normal((B, T, V)), "targets": rng.integers(0, V, (B, T)), "mask": MASK}
    name = "cross-entropy, smoothed" if smoothing else "cross-entropy"
    return Operation(name, forward, backward, inputs, {"mask": {"logits": MASK}})


def _encoder(bidirectional: bool, rng: np.random.Generator) -> Operation:
    tokens = rng.integers(0, 8, (B, T))
    real = MASK[:, :, None]

    def forward(**params: Array) -> Any:
        annotations, cache = encoder.encoder_forward(params, tokens, MASK, bidirectional)
        return np.where(real, annotations, 0), cache  # past the end they are storage, and no output

    def backward(dannotations: Array, cache: Any) -> Any:
        return encoder.encoder_backward(np.where(real, dannotations, 0), cache)[0]

    name = "encoder, both directions" if bidirectional else "encoder"
    return Operation(name, forward, backward, _params("additive", bidirectional, "source", "encoder"), {})


def _bridge(bidirectional: bool, rng: np.random.Generator) -> Operation:
    params = _params("additive", bidirectional, "bridge")
    inputs = {**params, "annotations": rng.standard_normal((B, T, len(params["bridge.W"])))}

    def forward(annotations: Array, **params: Array) -> Any:
        return bridge.bridge_forward(params, annotations, MASK, bidirectional)

    def backward(dstate: Array, cache: Any) -> Any:
        gradients, dannotations = bridge.bridge_backward(dstate, cache)
        return {**gradients, "annotations": dannotations}

    name = "bridge, both directions" if bidirectional else "bridge"
    return Operation(
        name,
        forward,
        backward,
        inputs,
        {"batch_axis": 0, "shared": list(params), "mask": {"annotations": MASK}},
    )


def _decoder(kind: str, rng: np.random.Generator) -> Operation:
    params = _params(kind, True, "alignment", "target", "decoder", "output")
    width = make_model(kind, True).hidden_size
    annotations = rng.standard_normal((B, T, 2 * H))
    tokens = rng.integers(0, 7, (B, U))
    inputs = {**params, "state": rng.standard_normal((B, width))}
    if kind != "none":  # one input for each door: the annotations as what is summed, and as what the keys are made of
        inputs |= {"as summed": annotations, "as keys": annotations}

    def forward(**values: Array) -> Any:
        keys = decoder.make_memory(values, kind, values.get("as keys", annotations), MASK).keys
        memory = decoder.make_memory(values, kind, values.get("as summed", annotations), MASK)._replace(keys=keys)
        logits, cache = decoder.decoder_forward(values, memory, tokens, values["state"])
        return logits.transpose(1, 0, 2), cache

    def backward(dlogits: Array, cache: Any) -> Any:
        gradients, doors = decoder.decoder_backward(dlogits.transpose(1, 0, 2), cache)
        gradients["state"] = doors.state
        return gradients if kind == "none" else gradients | {"as summed": doors.context, "as keys": doors.key}

    options: dict[str, Any] = {"batch_axis": 0, "shared": list(params)}
    if kind != "none":
        options["mask"] = {"as summed": MASK, "as keys": MASK}
    return Operation(f"decoder, {kind}", forward, backward, inputs, options)


def _params(kind: str, bidirectional: bool, *rooms: str) -> dict[str, Array]:
    params = make_params(make_model(kind, bidirectional))
    return {name: value for name, value in params.items() if name.startswith(rooms)}
