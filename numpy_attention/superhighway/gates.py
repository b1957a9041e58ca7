"""How gates carry the gradient down the encoder: round the recurrent matrix U rather than through it.

A gated cell hands a share of its state on as it is: z s in a GRU, f c in an LSTM. So the backward of a step is a sum,

    tanh    ds =                                                + da U^T
    gru     ds = z ds'                                          + dp U^T
    lstm    dc = f (dc' + o (1 - tanh(c')^2) dh')        dh =     da U^T

of a part that the gates alone carry and a part that passes the matrix. A gradient that was carried by the gates at
every step so far is told apart from one that has gone through U at least once.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from .._typing import Array
from ..data.batch import Batch
from ..model.encoder import DIRECTIONS, encoder_backward
from ..model.seq2seq import ModelCache, Seq2Seq
from ..ops.cells import CELLS
from .paths import chunks, ends_of, sent_back, size_of_pass
from .profile import (
    Comparison,
    first_norm,
    fit_decay,
    from_the_end,
    norm,
    quartiles,
    some_rows,
    tokens_of_each,
    without_attention,
)
from .study import describe

Params = dict[str, Array]


class Carried(NamedTuple):
    """Gradient of every encoder state s_t by how it got there.

    Each (1, B, T, H'), of an LSTM (2, B, T, H') for h_t and c_t; exactly 0 at padded positions.
    """

    entered: Array  # from the decoder, without a recurrent step: context, key and bridge
    gates: Array  # from later states, by the gates alone at every step
    matrix: Array  # from later states, through U at least once
    total: Array  # entered + gates + matrix


def carried(model: Seq2Seq, params: Params, batch: Batch, token_count: int | None = None) -> Carried:
    r"""Split the gradient of every encoder state by what carried it down the encoder.

    The gates' part is the encoder's own backward with U = 0 in every step, the forward being what it was. It obeys

    .. math::
        \text{GRU:} \quad k_{t-1} &= z_t \, (e_t + k_t) \\
        \text{LSTM:} \quad k_{t-1} &= f_t \, (k_t + o_t (1 - \tanh^2 c_t) \, e_t)

    with :math:`e_t` the gradient of h_t that enters at t, and :math:`k_t` that of the GRU's state, or of the LSTM's
    c_t. Every entrance is so multiplied by the gates of the steps that it passes. The tanh cell has no such part.

    Parameters, errors and the normalisation are those of :func:`gradient_paths`.

    Returns
    -------
    Carried

    References
    ----------
    Hochreiter and Schmidhuber (1997), "Long short-term memory" (the constant error carousel: f = 1).

    Examples
    --------
    >>> model = Seq2Seq(8, 8, embedding_size=4, hidden_size=5, cell="lstm", alignment="none")
    >>> batch = Batch.from_sequences([[3, 4, 5]], [[5, 4, 3]])
    >>> h, c = carried(model, model.init(seed=0), batch).gates
    >>> bool(h.any()), [bool(c[0, t].any()) for t in range(3)]  # nothing comes back to the last state
    (False, [True, True, False])
    """
    return _carried(model, model.forward(params, batch, token_count)[1])


def _carried(model: Seq2Seq, cache: ModelCache) -> Carried:
    paths, dlast = sent_back(cache)
    dh = paths.context + paths.key
    _, through = encoder_backward(dh, dlast, cache.encoder)
    is_U = [name.startswith("encoder.") and name.endswith(".U") for name in cache.params]
    no_U = {name: 0 * value if U else value for (name, value), U in zip(cache.params.items(), is_U, strict=True)}
    _, gates = encoder_backward(dh, dlast, cache.encoder._replace(params=no_U))
    # Where a direction ends, what came back is from the bridge: it enters there.
    ends = ends_of(model, cache.encoder.mask, dh.shape[2])
    entered = np.where(ends, through, 0)
    entered[0] += dh
    gates, matrix = np.where(ends, 0, gates), np.where(ends, 0, through - gates)
    return Carried(entered, gates, matrix, entered + np.where(ends, 0, through))


def carried_profiles(model: Seq2Seq, params: Params, batch: Batch) -> dict[str, Array]:
    """Norms of the gradient of a state by its distance to the end, each of a sequence's own mean loss.

    Parameters
    ----------
    model : Seq2Seq
    params : dict of arrays
    batch : Batch

    Returns
    -------
    profiles : dict of (B, T) arrays
        ``state``: of the whole state, [h ; c] of an LSTM; ``h``: of h alone, as :func:`gradient_profile`; ``gates`` and
        ``matrix``: of the state's parts in :func:`carried`. NaN as there. ``keep``: mean activation of the gate that
        says how much of the state is kept (z of a GRU, f of an LSTM), NaN for a cell without one.

    Examples
    --------
    >>> model = Seq2Seq(8, 8, embedding_size=4, hidden_size=5, cell="lstm")
    >>> batch = Batch.from_sequences([[3, 4, 5]], [[5, 4, 3]])
    >>> profiles = carried_profiles(model, model.init(seed=0), batch)
    >>> bool((profiles["state"] >= profiles["h"]).all()), bool((abs(profiles["keep"] - 0.73) < 0.1).all())
    (True, True)
    """
    pooled: defaultdict[str, list[Array]] = defaultdict(list)
    for rows in chunks(len(batch.source), size_of_pass(model, batch)):
        part = some_rows(batch, rows)
        _, cache = model.forward(params, part, token_count=1)  # of the sum over the tokens
        found = _carried(model, cache)
        parts = {"state": found.total, "h": found.total[:1], "gates": found.gates, "matrix": found.matrix}
        for name, gradient in parts.items():
            pooled[name].append(norm(np.concatenate(gradient, axis=2)) / tokens_of_each(part))
        pooled["keep"].append(_keep(model, cache))
    return {name: from_the_end(np.concatenate(parts), batch.source_mask) for name, parts in pooled.items()}


def _keep(model: Seq2Seq, cache: ModelCache) -> Array:
    """Mean over the units of the gate that keeps the state, (B, T); over both directions."""
    forget = CELLS[model.cell].forget
    if forget is None:
        return np.full(cache.encoder.mask.shape, np.nan)
    means = []
    for prefix, turn in DIRECTIONS[model.bidirectional].items():
        H = len(cache.params[f"{prefix}.U"])
        gates = np.array(cache.encoder.directions[prefix].gates)[turn]
        means.append(gates[:, :, forget * H : (forget + 1) * H].mean(axis=2).T)
    mean: Array = np.mean(means, axis=0)
    return mean


def describe_carried(profiles: dict[str, Array]) -> dict[str, Array]:
    """Quartiles of :func:`carried_profiles`, over sequences and draws.

    Returns
    -------
    description : dict of arrays
        That of the whole state by :func:`describe`; norms (3, T) of ``h``, ``gates`` and ``matrix`` by distance to the
        end; ``h_rate`` and ``h_first_to_last`` (3,), of h alone; ``gates_share`` and ``matrix_share`` (3,), the parts'
        norms at the first token as shares of the whole (they are vectors: the shares need not add up to 1); ``keep``
        (3,).
    """
    decay, first = fit_decay(profiles["h"]), first_norm(profiles["state"])
    found = describe(profiles["state"]) | {name: quartiles(profiles[name]) for name in ("h", "gates", "matrix")}
    found |= {"h_rate": quartiles(decay.rate), "h_first_to_last": quartiles(decay.first_to_last)}
    for name in ("gates", "matrix"):
        share = np.divide(first_norm(profiles[name]), first, out=np.full(first.shape, np.nan), where=first > 0)
        found[f"{name}_share"] = quartiles(share)
    keep = profiles["keep"]
    means = np.nansum(keep, axis=1) / np.maximum(1, (~np.isnan(keep)).sum(axis=1))
    found["keep"] = quartiles(np.where(np.isnan(keep).all(axis=1), np.nan, means))
    return found


def study_gates(
    attention: tuple[Seq2Seq, Sequence[Params]], vanilla: tuple[Seq2Seq, Sequence[Params]], batch: Batch
) -> dict[str, Any]:
    """Describe a model with attention and one without, whose sequences are pooled over several draws of parameters.

    Parameters
    ----------
    attention, vanilla : (Seq2Seq, sequence of dicts of arrays)
        Each model with its parameters, as many sets as the other has.
    batch : Batch

    Returns
    -------
    study : dict
        ``attention`` and ``vanilla``, each as :func:`describe_carried`; ``first_ratio`` (3,): how many times more
        reaches the first state with attention than without.

    Examples
    --------
    >>> model = Seq2Seq(8, 8, embedding_size=4, hidden_size=5, cell="gru")
    >>> params, batch = model.init(seed=0), Batch.from_sequences([[3, 4, 5]], [[5, 4, 3]])
    >>> vanilla, shared = without_attention(model, params)
    >>> sorted(study_gates((model, [params]), (vanilla, [shared]), batch))
    ['attention', 'first_ratio', 'vanilla']
    """
    pooled = []
    for model, draws in (attention, vanilla):
        each = [carried_profiles(model, params, batch) for params in draws]
        pooled.append({name: np.concatenate([profiles[name] for profiles in each]) for name in each[0]})
    ratio = Comparison(pooled[0]["state"], pooled[1]["state"]).first_ratio
    return {
        "attention": describe_carried(pooled[0]),
        "vanilla": describe_carried(pooled[1]),
        "first_ratio": quartiles(ratio),
    }


def study_gates_initial(model: Seq2Seq, seeds: Sequence[int], batch: Batch) -> dict[str, Any]:
    """:func:`study_gates` of a model at initialisation, and of the same weights without attention."""
    draws = [model.init(seed) for seed in seeds]
    vanilla = [without_attention(model, params) for params in draws]
    return study_gates((model, draws), (vanilla[0][0], [params for _, params in vanilla]), batch)
