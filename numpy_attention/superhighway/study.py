"""Studies of the paths and the profiles: the numbers that figures draw, tables print and a file keeps.

A study that takes a while comes as jobs, functions without arguments by (kind, name), so that a caller can do them one
by one and say how far it is.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from .._typing import Array
from ..data.batch import Batch
from ..data.tasks import Task
from ..model.seq2seq import Seq2Seq
from ..ops.cells import CELLS
from .paths import (
    attention_weights,
    context_by_decoder_steps,
    gradient_by_target,
    gradient_origins,
    gradient_paths,
    mean_path_length,
    origins_by_encoder_steps,
)
from .profile import (
    Comparison,
    compare,
    fit_decay,
    gradient_profile,
    path_profiles,
    quartiles,
    some_rows,
    tokens_of_each,
    without_attention,
)

Params = dict[str, Array]
Jobs = dict[tuple[str, Any], Callable[[], Any]]

BEFORE, AFTER = "at initialisation", "after training"


@dataclass(frozen=True, eq=False)
class PathStudy:
    """Norm of the gradient on each path, over N sequences of one length.

    All norms are of the gradient of a sequence's own mean loss. A first axis of 3 holds lower quartile, median and
    upper quartile.

    Attributes
    ----------
    paths : dict of (3, T) arrays
        Norm by source position of each part of :func:`gradient_paths`; ``cell`` for an LSTM alone.
    origins : dict of (3, T) arrays
        Likewise of :func:`gradient_origins`.
    reach_first : dict of (3, T) arrays
        By origin: norm of the gradient that reaches h_1 after 0, 1, 2, ... encoder steps.
    encoder_steps : dict of (3, T) arrays
        By origin: mean number of encoder steps on the way to each position.
    decoder_steps : (3, U) array
        Norm, over all positions, of the context path after 0, 1, 2, ... decoder steps.
    context_shares : dict of (3,) arrays
        Norms of the context path from each step's own loss and from later losses, as shares of the norm of the whole
        path (they are vectors: the shares need not add up to 1).
    mean_decoder_steps : (3,) array
        Mean number of decoder steps, by the norms in ``decoder_steps``.
    breadth : (3,) array
        Share of the source over which attention spreads, see :func:`attention_breadth`.
    map : (U, T) array
        ||dL_u/dh_t|| of the first sequence.
    attention : (U, T) array
        Attention weights of the first sequence; (0, T) without attention.
    """

    paths: dict[str, Array]
    origins: dict[str, Array]
    reach_first: dict[str, Array]
    encoder_steps: dict[str, Array]
    decoder_steps: Array
    context_shares: dict[str, Array]
    mean_decoder_steps: Array
    breadth: Array
    map: Array
    attention: Array


def study_paths(model: Seq2Seq, draws: Sequence[Params], batch: Batch) -> PathStudy:
    """Measure every path, pooling the sequences over several draws of the parameters.

    Parameters
    ----------
    model : Seq2Seq
    draws : sequence of dicts of arrays
        Parameters; one set or more.
    batch : Batch
        Sequences of one length, so that a position means the same in all.

    Returns
    -------
    PathStudy

    Raises
    ------
    ValueError
        If there are no parameters or the sources are not of one length; as for :func:`gradient_paths`.

    Examples
    --------
    >>> model = Seq2Seq(source_vocabulary=8, target_vocabulary=8, embedding_size=4, hidden_size=5)
    >>> batch = Batch.from_sequences([[3, 4, 5], [6, 3, 4]], [[5, 4, 3], [4, 3, 6]])
    >>> study = study_paths(model, [model.init(seed) for seed in range(3)], batch)
    >>> study.paths["context"].shape, study.map.shape
    ((3, 3), (4, 3))
    """
    if not draws:
        raise ValueError("draws: expected at least one set of parameters, got none")
    if not batch.source_mask.all():
        raise ValueError("batch: expected sources of one length, got padded ones")
    pooled: defaultdict[str, list[Array]] = defaultdict(list)
    for params in draws:
        for name, values in _measure(model, params, batch).items():
            pooled[name].append(values)
    found: dict[str, Any] = {}
    for path, parts in pooled.items():
        name, _, part = path.partition("/")
        values = quartiles(np.concatenate(parts))
        if part:
            found.setdefault(name, {})[part] = values
        else:
            found[name] = values
    first = some_rows(batch, slice(0, 1))
    by_target = gradient_by_target(model, draws[0], first)
    weights = attention_weights(model.forward(draws[0], first)[1])
    return PathStudy(**found, map=np.linalg.norm(by_target[:, 0], axis=2), attention=weights[:, 0])


def _measure(model: Seq2Seq, params: Params, batch: Batch) -> dict[str, Array]:
    """Values to pool, one row per sequence, by name or by "name/part"."""
    tokens = tokens_of_each(batch)
    found: dict[str, Array] = {}
    paths = gradient_paths(model, params, batch, token_count=1)
    for name, part in paths._asdict().items():
        if name == "cell" and CELLS[model.cell].states == 1:
            continue
        found[f"paths/{name}"] = np.linalg.norm(part, axis=2) / tokens
    for name, part in gradient_origins(model, params, batch, token_count=1)._asdict().items():
        found[f"origins/{name}"] = np.linalg.norm(part, axis=2) / tokens
    for name, part in origins_by_encoder_steps(model, params, batch, token_count=1)._asdict().items():
        found[f"reach_first/{name}"] = np.linalg.norm(part[:, :, 0], axis=2).T / tokens
        found[f"encoder_steps/{name}"] = mean_path_length(part)
    context = context_by_decoder_steps(model, params, batch, token_count=1)
    by_steps = np.linalg.norm(context, axis=(2, 3)).T  # (B, U)
    whole = np.linalg.norm(paths.context, axis=(1, 2))
    found["decoder_steps"] = by_steps / tokens
    found["context_shares/own loss"] = _ratio(by_steps[:, 0], whole)
    found["context_shares/later losses"] = _ratio(np.linalg.norm(paths.context - context[0], axis=(1, 2)), whole)
    found["mean_decoder_steps"] = _ratio(by_steps @ np.arange(by_steps.shape[1]), by_steps.sum(axis=1))
    found["breadth"] = attention_breadth(attention_weights(model.forward(params, batch)[1]))
    return found


def attention_breadth(alpha: Array) -> Array:
    """Share of the source over which attention spreads: the mean over the steps of exp(entropy) / T.

    Parameters
    ----------
    alpha : (U, B, T) array
        Of sequences that fill all T positions.

    Returns
    -------
    breadth : (B,) array
        1 for uniform attention, 1/T for attention to a single position; NaN without attention.

    Examples
    --------
    >>> import numpy as np
    >>> attention_breadth(np.array([[[0.25, 0.25, 0.25, 0.25], [0.0, 1.0, 0.0, 0.0]]]))
    array([1.  , 0.25])
    """
    if not len(alpha):
        return np.full(alpha.shape[1], np.nan)
    entropy = -(alpha * np.log(np.where(alpha > 0, alpha, 1))).sum(axis=2)
    breadth: Array = np.exp(entropy).mean(axis=0) / alpha.shape[2]
    return breadth


def describe(norms: Array) -> dict[str, Array]:
    """Quartiles of a profile and of the decay fitted to it.

    Parameters
    ----------
    norms : (N, T) array
        From :func:`gradient_profile`.

    Returns
    -------
    description : dict of arrays
        ``norms`` (3, T) by distance to the end; ``rate``, ``half_life``, ``fit`` and ``first_to_last`` (3,), as in
        :class:`Decay`.

    Examples
    --------
    >>> import numpy as np
    >>> describe(np.array([[4.0, 2.0, 1.0]]))["first_to_last"]
    array([0.25, 0.25, 0.25])
    """
    decay = {name: quartiles(values) for name, values in fit_decay(norms)._asdict().items()}
    return {"norms": quartiles(norms)} | decay


def describe_comparison(comparison: Comparison) -> dict[str, Any]:
    """Quartiles of both profiles of a comparison, and of the ratio of the two at h_1."""
    return {
        "attention": describe(comparison.attention),
        "vanilla": describe(comparison.vanilla),
        "first_ratio": quartiles(comparison.first_ratio),
    }


def study_length(model: Seq2Seq, batch: Batch, seeds: Sequence[int]) -> dict[str, Any]:
    """Profiles with and without attention at one length, and the norm of what enters the encoder.

    Returns
    -------
    study : dict
        As :func:`describe_comparison`, with ``context`` (3,) and ``bridge`` (3,): norm of the context path at any
        position, and of the bridge at the last one.
    """
    profiles = [path_profiles(model, model.init(seed), batch) for seed in seeds]
    context, bridge, total = (
        np.concatenate([profile[path] for profile in profiles]) for path in ("context", "bridge", "total")
    )
    vanilla = [gradient_profile(*without_attention(model, model.init(seed)), batch) for seed in seeds]
    found = describe_comparison(Comparison(total, np.concatenate(vanilla)))
    return found | {"context": quartiles(context.reshape(-1)), "bridge": quartiles(bridge[:, 0])}


def held_out_batch(task: Task, length: int, size: int) -> Batch:
    """Sequences of one length, of those that training never sees.

    Examples
    --------
    >>> from numpy_attention.data.tasks import Task
    >>> held_out_batch(Task("copy", symbols=5, lengths=(3, 9)), length=4, size=2).source.shape
    (2, 4)
    """
    held_out = replace(task, lengths=(length, length)).held_out
    return Batch.from_sequences(held_out.sources[:size], held_out.targets[:size])


def double(params: Params) -> Params:
    """The parameters in double precision, so that the model is measured and not the rounding."""
    return {name: value.astype(np.float64) for name, value in params.items()}


def study_initial(
    model: Seq2Seq,
    seeds: Sequence[int],
    batch: Callable[[int], Batch],
    length: int,
    lengths: Iterable[int],
    radii: Iterable[float],
) -> Jobs:
    """At initialisation: the paths at one length, the profiles over the length and over the spectral radius.

    Parameters
    ----------
    model : Seq2Seq
        With attention.
    seeds : sequence of int
        Of the initial parameters.
    batch : function
        ``batch(length)``: sequences of this length.
    length : int
        Of the sequences whose paths are told apart.
    lengths : iterable of int
    radii : iterable of float
        At the longest of ``lengths``, but 50 at the most.

    Returns
    -------
    jobs : dict of functions
        What to measure, by ("paths", when), ("lengths", length) and ("radii", radius).
    """
    at = radius_length(lengths)
    jobs: Jobs = {
        ("paths", BEFORE): lambda: study_paths(model, [model.init(seed) for seed in seeds], batch(length)),
    }
    for each in sorted(set(lengths)):
        jobs["lengths", each] = partial(lambda each: study_length(model, batch(each), seeds), each)
    for radius in sorted(set(radii)):
        jobs["radii", radius] = partial(lambda r: describe_comparison(compare(model, batch(at), seeds, r)), radius)
    return jobs


def radius_length(lengths: Iterable[int]) -> int:
    """Length at which :func:`study_initial` varies the spectral radius."""
    return min(50, max(lengths))


def study_trained(attention: tuple[Seq2Seq, Params], vanilla: tuple[Seq2Seq, Params], batch: Batch, seed: int) -> Jobs:
    """Two trained models, one with attention and one without: their paths and profiles before and after.

    Parameters
    ----------
    attention, vanilla : (Seq2Seq, dict of arrays)
    batch : Batch
        Sequences of one length.
    seed : int
        Of the initial parameters of both.

    Returns
    -------
    jobs : dict of functions
        As for :func:`study_initial`, by ("paths", when) and ("profiles", when).
    """
    model, params = attention[0], double(attention[1])

    def after() -> dict[str, Any]:
        found = compare(model, batch, [], params=params)
        trained = gradient_profile(vanilla[0], double(vanilla[1]), batch)
        pair = describe_comparison(Comparison(found.attention, trained))
        return pair | {"attention cut out": describe(found.vanilla)}

    return {
        ("paths", AFTER): lambda: study_paths(model, [params], batch),
        ("profiles", BEFORE): lambda: describe_comparison(compare(model, batch, [seed])),
        ("profiles", AFTER): after,
    }


def study_one(model: Seq2Seq, params: Params, batch: Batch, seed: int) -> Jobs:
    """One trained model by itself, at its initial parameters (from ``seed``) and as it is: paths and profiles."""
    jobs: Jobs = {}
    for when, values in {BEFORE: model.init(seed), AFTER: double(params)}.items():
        jobs["paths", when] = partial(study_paths, model, [values], batch)
        jobs["profiles", when] = partial(_profiles_of_one, model, values, batch)
    return jobs


def _profiles_of_one(model: Seq2Seq, params: Params, batch: Batch) -> dict[str, Any]:
    if model.alignment == "none":
        return {"vanilla": describe(gradient_profile(model, params, batch))}
    found = compare(model, batch, [], params=params)
    return {"attention": describe(found.attention), "attention cut out": describe(found.vanilla)}


def _ratio(part: Array, whole: Array) -> Array:
    """Part over whole, NaN where there is no whole."""
    ratio: Array = np.divide(part, whole, out=np.full(whole.shape, np.nan), where=whole > 0)
    return ratio
