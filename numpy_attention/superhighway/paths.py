"""Where the gradient of the loss travels on its way to the encoder states.

At every real source position t it splits by what reads h_t next, with nothing left over:

    dL/dh_t =  context     sum_u alpha_{u,t} dc_u
             + key         through the keys, so through the scores e_{u,t}
             + bridge      forward half: at the last real token; backward half: at token 1
             + recurrent   forward half: from h_{t+1}; backward half: from h_{t-1}

Context and key lead from the decoder to h_t without any recurrent step of the encoder: the superhighway. Bridge and
recurrent are all that a model without attention has. An LSTM's other half of the state, c_t, is read by the next step
alone. Every function here runs the model's own backward: once, or on copies of the batch that differ in where the
gradient enters the encoder or in which loss it comes from.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from .._typing import Array
from ..data.batch import Batch
from ..model.decoder import DecoderGradients, decoder_backward
from ..model.encoder import bridge_backward, encoder_backward, encoder_forward
from ..model.seq2seq import ModelCache, Seq2Seq
from ..ops.cells import CELLS
from ..ops.cross_entropy import cross_entropy_backward

Params = dict[str, Array]

# Numbers in the largest array of one pass: at most about 64 MB in float64, unless a single sequence needs more.
LARGEST = 1 << 23


class GradientPaths(NamedTuple):
    """dL/dh_t by the path on which it comes; each (B, T, H'), exactly 0 at padded positions."""

    context: Array  # through the context vectors
    key: Array  # through the keys of the alignment
    bridge: Array  # through the first decoder state
    recurrent: Array  # through the next step of the encoder
    cell: Array  # of an LSTM, dL/dc_t, which comes through the next step alone; zeros for other cells
    total: Array  # dL/dh_t: context + key + bridge + recurrent

    def __repr__(self) -> str:
        return f"GradientPaths({', '.join(self._fields)}; each {self.total.dtype} of shape {self.total.shape})"


class Origins(NamedTuple):
    """dL/dh_t by where it entered the encoder; each (B, T, H'), or (T, B, T, H') by the number of steps since then."""

    bottleneck: Array  # through the bridge
    superhighway: Array  # through the contexts and the keys

    def __repr__(self) -> str:
        shape = self.superhighway.shape
        return f"Origins({', '.join(self._fields)}; each {self.superhighway.dtype} of shape {shape})"


def gradient_paths(model: Seq2Seq, params: Params, batch: Batch, token_count: int | None = None) -> GradientPaths:
    r"""Split dL/dh_t, the gradient of the loss with respect to every encoder state, by what reads h_t next.

    dL/dh_t = context + key + bridge + recurrent. With :math:`\alpha` the attention weights and :math:`e` the scores,
    context is sum_u alpha_{u,t} dL/dc_u, and key is sum_u de_{u,t} (de_{u,t}/dh_t).

    Parameters
    ----------
    model : Seq2Seq
    params : dict of arrays
    batch : Batch
    token_count : int, optional
        Divide the loss by this rather than by the batch's own number of real target tokens.

    Returns
    -------
    GradientPaths
        Each part (B, T, H'). A path that does not exist is zero: context and key without attention, the bridge at all
        positions but the last (backward half: the first), the recurrence there, ``.cell`` unless there is one.

    Raises
    ------
    ValueError
        If parameters or batch do not fit the model, or a parameter is not finite.

    Notes
    -----
    dL/dc_u also holds what the losses of later steps send back through the decoder's own recurrence
    (:func:`context_by_decoder_steps`), and ``recurrent`` holds what entered at other positions through their contexts
    and keys (:func:`gradient_origins`).

    References
    ----------
    Hochreiter (1991), "Untersuchungen zu dynamischen neuronalen Netzen", and Bengio, Simard and Frasconi (1994),
    "Learning long-term dependencies with gradient descent is difficult" (how the recurrent path decays); Bahdanau,
    Cho and Bengio (2015) (the model).

    Examples
    --------
    >>> import numpy as np
    >>> model = Seq2Seq(source_vocabulary=8, target_vocabulary=8, embedding_size=4, hidden_size=5)
    >>> batch = Batch.from_sequences([[3, 4, 5], [6]], [[5, 4, 3], [6]])
    >>> paths = gradient_paths(model, model.init(seed=0), batch)
    >>> np.abs(paths.recurrent[0]).max(axis=1) > 0  # the last state is read by no later one
    array([ True,  True, False])
    >>> np.abs(paths.bridge[0]).max(axis=1) > 0
    array([False, False,  True])
    """
    _, cache = model.forward(params, batch, token_count)
    paths, dlast = sent_back(cache)
    _, (through, *second) = encoder_backward(paths.context + paths.key, dlast, cache.encoder)
    ends = ends_of(model, batch.source_mask, through.shape[2])
    return GradientPaths(
        context=paths.context,
        key=paths.key,
        bridge=np.where(ends, through, 0),
        recurrent=np.where(ends, 0, through),
        cell=second[0] if second else np.zeros_like(through),
        total=paths.context + paths.key + through,
    )


def gradient_origins(model: Seq2Seq, params: Params, batch: Batch, token_count: int | None = None) -> Origins:
    """Split dL/dh_t by where it entered the encoder: by one backward for each, as backpropagation is linear.

    Parameters, errors and the normalisation are those of :func:`gradient_paths`.

    Returns
    -------
    Origins
        ``.bottleneck`` and ``.superhighway``, each (B, T, H'): the gradient that entered through the bridge, and the
        one that entered through contexts and keys at any position, both as they arrive at h_t. Their sum is the whole
        gradient.

    Examples
    --------
    >>> import numpy as np
    >>> model = Seq2Seq(source_vocabulary=8, target_vocabulary=8, embedding_size=4, hidden_size=5, alignment="none")
    >>> batch = Batch.from_sequences([[3, 4, 5]], [[5, 4, 3]])
    >>> origins = gradient_origins(model, model.init(seed=0), batch)
    >>> bool(origins.superhighway.any()), bool(origins.bottleneck.all())
    (False, True)
    """
    _, cache = model.forward(params, batch, token_count)
    paths, dlast = sent_back(cache)
    dh = paths.context + paths.key
    _, bottleneck = encoder_backward(np.zeros_like(dh), dlast, cache.encoder)
    _, superhighway = encoder_backward(dh, np.zeros_like(dlast), cache.encoder)
    return Origins(bottleneck[0], dh + superhighway[0])


def origins_by_encoder_steps(model: Seq2Seq, params: Params, batch: Batch, token_count: int | None = None) -> Origins:
    """Split :func:`gradient_origins` further, by the number of encoder steps between the entrance and h_t.

    One pass over T copies of the batch, in each of which the gradient enters at one position alone.

    Parameters, errors and the normalisation are those of :func:`gradient_paths`.

    Returns
    -------
    Origins
        ``.bottleneck`` and ``.superhighway``, each (T, B, T, H'): entry [k, b, t] took exactly k steps. In the
        forward half it entered at position t + k, in the backward half at t - k. The sum over k is that of
        :func:`gradient_origins`.

    Examples
    --------
    >>> model = Seq2Seq(source_vocabulary=8, target_vocabulary=8, embedding_size=4, hidden_size=5, alignment="none")
    >>> batch = Batch.from_sequences([[3, 4, 5]], [[5, 4, 3]])
    >>> steps = origins_by_encoder_steps(model, model.init(seed=0), batch).bottleneck
    >>> [[bool(steps[k, 0, t].any()) for t in range(3)] for k in range(3)]  # k steps down from the last position
    [[False, False, True], [False, True, False], [True, False, False]]
    """
    _, cache = model.forward(params, batch, token_count)
    paths, dlast = sent_back(cache)
    superhighway = paths.context + paths.key
    _, length, width = superhighway.shape
    bridge = np.where(ends_of(model, batch.source_mask, width), dlast[:, None], 0)
    parts = [np.zeros((length, *bridge.shape), bridge.dtype) for _ in range(2)]
    for copies in chunks(length, bridge.size * CELLS[model.cell].gates):  # a copy's number is where the gradient enters
        source, mask = (np.tile(array, (len(copies), 1)) for array in (batch.source, batch.source_mask))
        _, last, encoder = encoder_forward(params, CELLS[model.cell], source, mask, model.bidirectional)
        for by_steps, whole in zip(parts, (bridge, superhighway), strict=True):
            entering = np.zeros((len(copies), *whole.shape), whole.dtype)
            entering[np.arange(len(copies)), :, copies] = whole[:, copies].transpose(1, 0, 2)
            _, through = encoder_backward(entering.reshape(-1, length, width), np.zeros_like(last), encoder)
            for entrance, copy in zip(copies, entering + through[0].reshape(entering.shape), strict=True):
                _sort_by_steps(copy.transpose(1, 0, 2), entrance, by_steps, width // len(encoder.directions))
    return Origins(*parts)


def gradient_by_target(model: Seq2Seq, params: Params, batch: Batch, token_count: int | None = None) -> Array:
    """dL_u/dh_t: gradient of each target step's own loss with respect to every encoder state.

    One pass over U copies of the batch, in each of which a single target step counts.

    Parameters, errors and the normalisation are those of :func:`gradient_paths`: L_u is step u's share of the loss,
    so that the sum over u is dL/dh_t.

    Returns
    -------
    gradients : (U, B, T, H') array
        Exactly 0 at padded steps and positions.

    Examples
    --------
    >>> import numpy as np
    >>> model = Seq2Seq(source_vocabulary=8, target_vocabulary=8, embedding_size=4, hidden_size=5)
    >>> params, batch = model.init(seed=0), Batch.from_sequences([[3, 4, 5], [6]], [[5, 4, 3], [6]])
    >>> each = gradient_by_target(model, params, batch)
    >>> bool(np.allclose(each.sum(axis=0), gradient_paths(model, params, batch).total, atol=1e-16))
    True
    """
    shares = []
    for cache in _each_loss_alone(model, params, batch, token_count):
        paths, dlast = sent_back(cache)
        dh = paths.context + paths.key
        shares.append(dh + encoder_backward(dh, dlast, cache.encoder)[1][0])
    return np.concatenate(shares).reshape(-1, *batch.source.shape, shares[0].shape[2])


def context_by_decoder_steps(model: Seq2Seq, params: Params, batch: Batch, token_count: int | None = None) -> Array:
    """Split the context path by the number of decoder steps taken before it: sum_u alpha_{u,t} dL_{u+k}/dc_u.

    With k = 0 the loss of step u sends its gradient to c_u at once; with k > 0 the loss of a later step sends it
    through the decoder's own recurrence first.

    Parameters, errors and the normalisation are those of :func:`gradient_paths`.

    Returns
    -------
    context : (U, B, T, H') array
        Entry [k, b, t]; the sum over k is the context path. Zeros without attention.

    Examples
    --------
    >>> import numpy as np
    >>> model = Seq2Seq(source_vocabulary=8, target_vocabulary=8, embedding_size=4, hidden_size=5)
    >>> params, batch = model.init(seed=0), Batch.from_sequences([[3, 4, 5], [6]], [[5, 4, 3], [6]])
    >>> by_steps = context_by_decoder_steps(model, params, batch)
    >>> bool(np.allclose(by_steps.sum(axis=0), gradient_paths(model, params, batch).context, atol=1e-16))
    True
    """
    rows, steps = batch.target_mask.shape
    if model.alignment == "none":
        return np.zeros_like(gradient_by_target(model, params, batch, token_count))
    dcontexts = []
    for cache in _each_loss_alone(model, params, batch, token_count):
        dc = sent_back(cache)[0].c
        dcontexts.append(dc.reshape(steps, -1, rows, dc.shape[2]))
    dcontext = np.concatenate(dcontexts, axis=1)  # [u, v]: from the loss of step v to the context of step u
    alpha, h = attention_weights(cache)[:, :rows], cache.decoder.shared.h[:rows]
    found = np.zeros((steps, *h.shape), dcontext.dtype)
    for k in range(steps):
        u = np.arange(steps - k)
        found[k] = alpha[u].transpose(1, 2, 0) @ dcontext[u, u + k].transpose(1, 0, 2)
    return found


def attention_weights(cache: ModelCache) -> Array:
    """Attention weights (U, B, T) of every step; (0, B, T) without attention."""
    weights: Array = cache.decoder.alpha
    return np.zeros((0, *cache.encoder.mask.shape)) if cache.decoder.shared.look is None else weights


def chunks(count: int, size: int) -> Iterator[Array]:
    """The numbers 0, 1, ..., count - 1 in runs, each of which needs at most ``LARGEST`` if one of them needs ``size``.

    Examples
    --------
    >>> [len(chunk) for chunk in chunks(3, size=LARGEST // 2)]
    [2, 1]
    """
    together = max(1, LARGEST // max(1, size))
    for start in range(0, count, together):
        yield np.arange(start, min(count, start + together))


def size_of_pass(model: Seq2Seq, batch: Batch) -> int:
    """Numbers in the largest array that a pass keeps of one sequence: z of all steps, (U, T, A), or the logits."""
    (width,) = model.parameter_shapes.get("alignment.v", (1,))
    return int(batch.target_mask.shape[1]) * max(int(batch.source.shape[1]) * width, model.target_vocabulary)


def mean_path_length(by_steps: Array) -> Array:
    """Mean number of steps taken, each part weighted by its norm: sum_k k ||g_k|| / sum_k ||g_k||.

    Parameters
    ----------
    by_steps : (K, B, T, H') array
        From :func:`origins_by_encoder_steps` or :func:`context_by_decoder_steps`.

    Returns
    -------
    length : (B, T) array
        NaN where nothing arrives, as at padded positions.

    Notes
    -----
    The parts are vectors and may point against each other: the norms weigh what travels, not the sum that remains.

    Examples
    --------
    >>> import numpy as np
    >>> mean_path_length(np.array([1.0, 0.0, 3.0]).reshape(3, 1, 1, 1))
    array([[1.5]])
    """
    norms = np.linalg.norm(by_steps, axis=3)
    whole = norms.sum(axis=0)
    weighted = np.tensordot(np.arange(len(norms)), norms, axes=1)
    mean: Array = np.divide(weighted, whole, out=np.full(whole.shape, np.nan), where=whole > 0)
    return mean


def sent_back(cache: ModelCache) -> tuple[DecoderGradients, Array]:
    """Gradients that the decoder sends to the encoder: by context and key, and of the last states by the bridge."""
    _, paths = decoder_backward(cross_entropy_backward(1.0, cache.loss), cache.decoder)
    _, dlast = bridge_backward(paths.s_0, cache.params, cache.last, cache.decoder.s[0])
    return paths, dlast


def ends_of(model: Seq2Seq, mask: Array, width: int) -> Array:
    """True where a direction of the encoder ends, (B, T, H'): at the last real token, or backward at the first."""
    positions = np.arange(mask.shape[1])
    last = positions == mask.sum(axis=1, keepdims=True) - 1
    first = np.broadcast_to(positions == 0, mask.shape)
    halves = [last, first] if model.bidirectional else [last]
    return np.repeat(np.stack(halves, axis=2), width // len(halves), axis=2)


def _sort_by_steps(gradient: Array, entrance: int, by_steps: Array, half: int) -> None:
    """Write a gradient (T, B, H') that entered at one position to where ``by_steps`` has its number of steps."""
    reached = np.arange(entrance + 1)  # the forward half hands the gradient to earlier positions
    by_steps[entrance - reached, :, reached, :half] = gradient[reached, :, :half]
    reached = np.arange(entrance, len(gradient))  # the backward half to later ones
    by_steps[reached - entrance, :, reached, half:] = gradient[reached, :, half:]


def _each_loss_alone(model: Seq2Seq, params: Params, batch: Batch, token_count: int | None) -> Iterator[ModelCache]:
    """Forward passes over U copies of the batch, a few at a time: copy u counts the loss of step u alone."""
    steps = batch.target_mask.shape[1]
    token_count = batch.token_count if token_count is None else token_count
    only = np.eye(steps, dtype=bool)[:, None, :] & batch.target_mask  # (U, B, U)
    for copies in chunks(steps, len(batch.source) * size_of_pass(model, batch)):
        names = ("source", "source_mask", "target_input", "target_output")
        tiled = {name: np.tile(getattr(batch, name), (len(copies), 1)) for name in names}
        repeated = Batch(**tiled, target_mask=only[copies].reshape(-1, steps))
        yield model.forward(params, repeated, token_count)[1]
