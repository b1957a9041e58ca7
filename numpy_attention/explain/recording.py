"""One sentence through the unchanged model, recorded, with the names of what the reader of a page looks at."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .._typing import Array
from ..data.batch import BOS, EOS, PAD, Batch
from ..model.seq2seq import Params, Seq2Seq
from ..trace.listing import Frame, Trace, View
from ..training.replays import TOKENS, record_step

HELPERS = ("ops/elementary.py",)  # under the equations


def sentence(source: Sequence[int], target: Sequence[int]) -> Batch:
    """A batch of one pair. The source ends with a padded position, to show what a mask does.

    Examples
    --------
    >>> sentence([5, 6], [7]).source, sentence([5, 6], [7]).source_mask
    (array([[5, 6, 0]]), array([[ True,  True, False]]))
    """
    real = np.ones((1, len(source) + 1), bool)
    real[0, -1] = False
    return Batch(
        source=np.array([[*source, PAD]]),
        source_mask=real,
        target_input=np.array([[BOS, *target]]),
        target_output=np.array([[*target, EOS]]),
        target_mask=np.ones((1, len(target) + 1), bool),
    )


def inputs_of(params: Params, batch: Batch) -> dict[str, Array]:
    """The inputs of the trace: the parameters in float64, and the tokens."""
    floats = {name: np.asarray(value, np.float64) for name, value in params.items()}
    return floats | {name: getattr(batch, name) for name in TOKENS}


def recorded(model: Seq2Seq, params: Params, batch: Batch) -> Trace:
    """``model.loss_and_gradients`` in float64 as a trace, as :func:`record_step` makes it.

    Examples
    --------
    >>> model = Seq2Seq(8, 8, embedding_size=2, hidden_size=3)
    >>> trace = recorded(model, model.init(), sentence([5, 6], [7]))
    >>> sorted(trace.outputs)[:2], trace.called("decoder_step")[0].variables["alpha"].shape
    (['dalignment.U', 'dalignment.W'], (1, 3))
    """
    return record_step(model, {name: np.asarray(value, np.float64) for name, value in params.items()}, batch)


def marks(trace: Trace) -> dict[str, View]:
    """The arrays of the model's equations, by name; those of step u as ``name/u``.

    Examples
    --------
    >>> model = Seq2Seq(8, 8, embedding_size=2, hidden_size=3)
    >>> found = marks(recorded(model, model.init(), sentence([5, 6], [7])))
    >>> [name for name in found if not name.endswith("/1")]
    ['x', 'h', 'states', 'keys', 's/0', 'logits', 'p', 'dlogits', 'ds/0', 'through', 'dh_context', 'dh_key', 'dkeys', \
'query/2', 'z/2', 'y/2', 'e/2', 'alpha/2', 'c/2', 's/2', 'ds/2', 'dc/2', 'dalpha/2', 'de/2', 'dquery/2', 'da/2']
    """

    def one(function: str) -> Frame:
        return trace.called(function)[0]

    found = {
        "x": one("encoder_forward").variables["a"],
        "h": one("_encode").variables["h"],
        "states": one("encoder_backward").variables["s"],  # h_0 = 0 as well
        "keys": one("share").variables.get("keys"),
        "s/0": one("decoder_forward").arguments["s_0"],
        "logits": one("cross_entropy_forward").arguments["logits"],
        "p": one("cross_entropy_forward").variables["probabilities"],
        "dlogits": one("decoder_backward").arguments["dlogits"],
        "ds/0": one("bridge_backward").arguments["ds_0"],
        "through": one("backward").variables["_"],
        "dh_context": one("decoder_backward").variables.get("dh_context"),
        "dh_key": one("decoder_backward").variables.get("dh_key"),
    }
    for frame in trace.frames:
        if frame.function.endswith("_after") and "dkeys" in frame.variables:
            found["dkeys"] = frame.variables["dkeys"]
    steps, back = trace.called("decoder_step"), trace.called("decoder_step_backward")[::-1]
    looks = [frame for frame in trace.frames if frame.function.endswith("_scores")]
    looks = [frame for frame in looks if frame.function != "location_scores"]  # additive_scores is inside of it
    for u, (forward, backward) in enumerate(zip(steps, back, strict=True), start=1):
        if looks and looks[u - 1].function != "dot_scores":
            found[f"query/{u}"] = trace.calls[looks[u - 1].begin].out  # the first product of every other alignment
        if looks and "z_block" in looks[u - 1].variables:
            found[f"z/{u}"] = looks[u - 1].variables["z_block"]
        found[f"y/{u}"] = forward.arguments["a"]
        found |= {f"{name}/{u}": forward.variables.get(name) for name in ("e", "alpha", "c", "s")}
        found[f"ds/{u}"] = backward.arguments["ds"]
        found |= {f"{name}/{u}": backward.variables.get(name) for name in ("dc", "dalpha", "de", "dquery", "da")}
    return {name: view for name, view in found.items() if view is not None}
