"""One training step: the gradient of a batch, clipped, moves the parameters."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from .._typing import Array
from ..data.batch import Batch
from ..model.dropout import DropoutMasks
from ..model.seq2seq import Seq2Seq, is_recurrent
from .optimizers import Adam, Optimizer, clip_by_global_norm, decay_weights
from .replays import Replays

Params = dict[str, Array]


class Diverged(FloatingPointError):
    """A loss, gradient or parameter is no longer finite. Processes that share a step all meet it at the same step."""


class TrainingState:
    """Parameters, and the memory of the optimiser that moves them.

    Parameters
    ----------
    params : dict of arrays
        Initial values, which are copied.
    optimizer : callable
        Makes an :class:`Optimizer` for the flat vector of all parameters: ``Adam``, ``SGD``, or one of them with other
        settings, such as ``functools.partial(SGD, momentum=0.8)``.
    recurrent_rate : float
        Learning rate of the recurrent matrices, as a share of that of all others. The gradient through many steps is
        steep in them, and a small share keeps long sequences from undoing what was learnt.

    Attributes
    ----------
    params : dict of arrays
        The parameters by name, as views of ``flat``. :func:`training_step` changes them in place.
    flat : (N,) array
        All parameters as one vector.
    optimizer : Optimizer
    rates : (N,) array
        For every entry of ``flat``, its share of the learning rate.
    replays : Replays
        Records of steps that come often, from which :func:`training_step` runs them.

    Examples
    --------
    >>> import numpy as np
    >>> state = TrainingState({"W": np.ones((1, 2)), "b": np.zeros(1)})
    >>> state.flat += 1
    >>> state.params
    {'W': array([[2., 2.]]), 'b': array([1.])}
    """

    def __init__(
        self, params: Params, optimizer: Callable[[Array], Optimizer] = Adam, recurrent_rate: float = 1.0
    ) -> None:
        self.flat = flatten(params)
        self.params = views(self.flat, params)
        self.optimizer = optimizer(self.flat)
        self.replays = Replays()
        self.rates = np.ones_like(self.flat)
        for name, rate in views(self.rates, params).items():
            if is_recurrent(name):
                rate[:] = recurrent_rate

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self.params = views(self.flat, self.params)  # in a copy they are arrays of their own at first


class Update(NamedTuple):
    """Result of :func:`training_step`."""

    loss: float  # of the batch, before the update, in nats per token
    gradient_norm: float  # before clipping


@np.errstate(over="ignore", invalid="ignore")  # numbers that overflow are found below, and named
def training_step(
    model: Seq2Seq,
    state: TrainingState,
    batch: Batch,
    learning_rate: float,
    *,
    clip: float = math.inf,
    weight_decay: float = 0.0,
    label_smoothing: float = 0.0,
    dropout: DropoutMasks | None = None,
    recompute: bool = False,
    token_count: int | None = None,
    all_reduce: Callable[[Array], Array] | None = None,
) -> Update:
    """Move the parameters by one update, in place.

    Parameters
    ----------
    model : Seq2Seq
    state : TrainingState
        Its parameters and its optimiser are changed.
    batch : Batch
    learning_rate : float
        Of this update; :func:`learning_rate` makes a schedule.
    clip : float
        Limit of the norm of the whole gradient.
    weight_decay : float
        Decoupled weight decay, times the learning rate.
    label_smoothing, dropout, recompute, token_count
        As for :meth:`Seq2Seq.loss_and_gradients`.
    all_reduce : callable, optional
        For processes that share an update, each with its :meth:`Batch.part` of one batch and the ``token_count`` of the
        whole. Takes a vector and returns the sum of the vectors of all processes.

    Returns
    -------
    Update
        Loss and gradient norm, of the whole batch.

    Raises
    ------
    ValueError
        As :meth:`Seq2Seq.loss_and_gradients`; or if the parts of the processes do not make up ``token_count`` tokens.
    FloatingPointError
        If the loss, the gradient or a parameter is no longer finite; names the update and the parameter.

    Examples
    --------
    >>> import numpy_attention as na
    >>> model = na.Seq2Seq(source_vocabulary=6, target_vocabulary=6, embedding_size=8, hidden_size=8)
    >>> state = TrainingState(model.init(seed=0))
    >>> batch = na.Batch.from_sequences([[3, 4, 5], [5]], [[5, 4, 3], [5]])
    >>> losses = [training_step(model, state, batch, learning_rate=0.03).loss for _ in range(20)]
    >>> losses[-1] < 0.1 < 1 < losses[0]
    True
    """
    if not isinstance(state, TrainingState):
        raise ValueError(f"state: expected a TrainingState, got {type(state).__name__}")
    number = state.optimizer.steps + 1
    loss, gradient = batch_gradient(
        model,
        state.params,
        batch,
        label_smoothing=label_smoothing,
        dropout=dropout,
        recompute=recompute,
        token_count=token_count,
        all_reduce=all_reduce,
        replays=state.replays,
    )
    norm = clip_by_global_norm(gradient, clip)
    if not np.isfinite(loss) or not np.isfinite(norm):
        name = _first_not_finite(views(gradient, state.params))
        raise _diverged(number, f"the gradient of {name}" if name else "the loss")
    if weight_decay:
        decay_weights(state.flat, learning_rate, weight_decay)
    state.optimizer.update(state.flat, gradient, learning_rate * state.rates)
    # x . x is finite only if every entry of x is. It may overflow as well, so each array is checked then.
    name = None if np.isfinite(state.flat @ state.flat) else _first_not_finite(state.params)
    if name:
        raise _diverged(number, name)
    return Update(loss, norm)


def batch_gradient(
    model: Seq2Seq,
    params: Params,
    batch: Batch,
    *,
    label_smoothing: float = 0.0,
    dropout: DropoutMasks | None = None,
    recompute: bool = False,
    token_count: int | None = None,
    all_reduce: Callable[[Array], Array] | None = None,
    replays: Replays | None = None,
) -> tuple[float, Array]:
    """Loss of a batch, and its gradient as one vector in the order of ``params``.

    Takes the arguments of :func:`training_step`, and raises the same errors, but moves nothing.
    """
    step = model.loss_and_gradients if replays is None else partial(replays.loss_and_gradients, model)
    loss, gradients = step(
        params, batch, token_count, dropout=dropout, label_smoothing=label_smoothing, recompute=recompute
    )
    entries = [gradients[name].reshape(-1) for name in params]
    dtype = entries[0].dtype
    total = np.concatenate([*entries, [loss, batch.token_count]], dtype=dtype)
    if all_reduce is not None:
        total = all_reduce(total)
        if total[-1] != dtype.type(batch.token_count if token_count is None else token_count):
            raise ValueError("data: expected the same batch on every rank, their parts do not make up a whole")
    return float(total[-2]), total[:-2]


def flatten(arrays: Params) -> Array:
    """All entries as one vector, in the order of the names."""
    return np.concatenate([array.reshape(-1) for array in arrays.values()])


def views(flat: Array, like: Params) -> Params:
    """Parts of a flat vector with the names and shapes of ``like``, sharing its memory."""
    ends = np.cumsum([array.size for array in like.values()])[:-1]
    parts = np.split(flat, ends)
    return {name: part.reshape(array.shape) for (name, array), part in zip(like.items(), parts, strict=True)}


def _first_not_finite(arrays: Params) -> str | None:
    return next((name for name, value in arrays.items() if not np.isfinite(value).all()), None)


def _diverged(number: int, what: str) -> Diverged:
    return Diverged(f"step {number}: {what} is no longer finite; try a smaller learning rate")
