"""How the gradient fades with distance: ||dL/dh_t|| against the steps from t to the end of the source.

A model with attention is compared with the model without it that has the same weights wherever both have some, so
that the superhighway is the one difference between the two.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, NamedTuple

import numpy as np

from .._text import brief
from .._typing import Array
from ..data.batch import Batch
from ..model.encoder import DIRECTIONS
from ..model.seq2seq import Seq2Seq
from .paths import GradientPaths, chunks, gradient_paths, size_of_pass

Params = dict[str, Array]


class Decay(NamedTuple):
    """An exponential fitted to each profile: norm = a * rate ** distance. NaN where there are no two distances."""

    rate: Array  # (N,), factor per step
    half_life: Array  # (N,), steps until half is left; inf where the fit does not fall
    fit: Array  # (N,), share of the variance of log(norm) that the exponential explains
    first_to_last: Array  # (N,), ||dL/dh_1|| / ||dL/dh_T||, from the norms themselves


@dataclass(frozen=True, eq=False)
class Comparison:
    """Profiles of N sequences under the model with attention and under the one without, with the same weights.

    Attributes
    ----------
    attention, vanilla : (N, T) array
        As :func:`gradient_profile` gives them, sequences of several seeds one after the other.
    """

    attention: Array
    vanilla: Array

    @property
    def first_ratio(self) -> Array:
        """Norm at h_1 with attention over that without, (N,); inf where nothing arrives without."""
        first, without = (first_norm(norms) for norms in (self.attention, self.vanilla))
        ratio: Array = np.divide(first, without, out=np.full(first.shape, np.inf), where=without > 0)
        return ratio


def gradient_profile(model: Seq2Seq, params: Params, batch: Batch) -> Array:
    r"""Norm of the gradient at every source position, by its distance to the last real token.

    .. math:: g_{b,d} = \lVert dL_b / dh_{T_b - d} \rVert

    with L_b the mean loss of sequence b's own target tokens, so that the size of the batch does not matter.

    Parameters
    ----------
    model : Seq2Seq
    params : dict of arrays
    batch : Batch

    Returns
    -------
    norms : (B, T) array
        Entry [b, d] at d positions before the end; NaN before the beginning of a sequence that is shorter than T.

    Raises
    ------
    ValueError
        As for :func:`gradient_paths`.

    Examples
    --------
    >>> model = Seq2Seq(source_vocabulary=8, target_vocabulary=8, embedding_size=4, hidden_size=5, alignment="none")
    >>> params = model.init(seed=0)
    >>> params["encoder.U"] *= 0.5
    >>> norms = gradient_profile(model, params, Batch.from_sequences([[3, 4, 5], [6]], [[5, 4, 3], [6]]))
    >>> bool(norms[0, 0] > norms[0, 1] > norms[0, 2]), norms[1, 1:]
    (True, array([nan, nan]))
    """
    return path_profiles(model, params, batch)["total"]


def path_profiles(model: Seq2Seq, params: Params, batch: Batch) -> dict[str, Array]:
    """Profile of every path: as :func:`gradient_profile`, by the names of :class:`GradientPaths`.

    Examples
    --------
    >>> model = Seq2Seq(source_vocabulary=8, target_vocabulary=8, embedding_size=4, hidden_size=5)
    >>> batch = Batch.from_sequences([[3, 4, 5]], [[5, 4, 3]])
    >>> profiles = path_profiles(model, model.init(seed=0), batch)
    >>> profiles["bridge"][0] > 0  # the bridge reads the last state, at distance 0
    array([ True, False, False])
    """
    norms: dict[str, list[Array]] = {name: [] for name in GradientPaths._fields}
    for rows in chunks(len(batch.source), size_of_pass(model, batch)):
        part = some_rows(batch, rows)
        paths = gradient_paths(model, params, part, token_count=1)  # of the sum over the tokens
        for name, gradient in paths._asdict().items():
            norms[name].append(norm(gradient) / tokens_of_each(part))
    return {name: from_the_end(np.concatenate(parts), batch.source_mask) for name, parts in norms.items()}


def compare(
    model: Seq2Seq, batch: Batch, seeds: Sequence[int], radius: float | None = None, params: Params | None = None
) -> Comparison:
    """Profiles of one batch with attention and without, the weights of both being the same.

    Parameters
    ----------
    model : Seq2Seq
        With attention.
    batch : Batch
    seeds : sequence of int
        Initial parameters are drawn anew from each.
    radius : float, optional
        Spectral radius that the encoder's recurrent matrices are scaled to; drawn orthogonal, they have 1.
    params : dict of arrays, optional
        Used in place of initial ones; ``seeds`` then has no effect.

    Returns
    -------
    Comparison
        Of N = B times the number of seeds sequences.

    Raises
    ------
    ValueError
        If the model has no attention, and as for :func:`gradient_paths` and :func:`with_spectral_radius`.

    Examples
    --------
    >>> model = Seq2Seq(source_vocabulary=8, target_vocabulary=8, embedding_size=4, hidden_size=16)
    >>> batch = Batch.from_sequences([[3, 4, 5, 6, 7] * 4], [[3, 4, 5, 6, 7] * 4])
    >>> found = compare(model, batch, seeds=[0, 1], radius=0.5)
    >>> found.vanilla.shape, bool((found.first_ratio > 1000).all())
    ((2, 20), True)
    """
    attention, vanilla = [], []
    for values in [params] if params is not None else [model.init(seed) for seed in seeds]:
        weights = values if radius is None else with_spectral_radius(values, radius)
        attention.append(gradient_profile(model, weights, batch))
        vanilla.append(gradient_profile(*without_attention(model, weights), batch))
    return Comparison(np.concatenate(attention), np.concatenate(vanilla))


def fit_decay(norms: Array) -> Decay:
    """Fit norm = a rate^distance to each profile: least squares on log(norm), zeros and NaN left out.

    Parameters
    ----------
    norms : (N, T) array
        From :func:`gradient_profile`.

    Returns
    -------
    Decay
        Four arrays (N,); ``fit`` says how well an exponential describes the profile.

    Examples
    --------
    >>> import numpy as np
    >>> decay = fit_decay(np.array([[8.0, 4.0, 2.0, 1.0], [1.0, np.nan, np.nan, np.nan]]))
    >>> decay.rate.round(12), decay.half_life.round(12), decay.first_to_last
    (array([0.5, nan]), array([ 1., nan]), array([0.125, 1.   ]))
    """
    known = norms > 0  # False for NaN too
    count = known.sum(axis=1)
    distance = np.arange(norms.shape[1])
    logs = np.log(np.where(known, norms, 1))
    with np.errstate(invalid="ignore", divide="ignore"):  # with fewer than two distances all is 0 / 0
        x = np.where(known, distance - (known @ distance / count)[:, None], 0)
        y = np.where(known, logs - (logs.sum(axis=1) / count)[:, None], 0)
        slope = (x * y).sum(axis=1) / (x * x).sum(axis=1)
        fit = slope * (x * y).sum(axis=1) / (y * y).sum(axis=1)
        half_life = np.where(slope < 0, -np.log(2) / slope, np.where(np.isnan(slope), np.nan, np.inf))
        return Decay(np.exp(slope), half_life, fit, first_norm(norms) / norms[:, 0])


def first_norm(norms: Array) -> Array:
    """Norm at each sequence's first token, (N,): the last entry of its profile that is not NaN."""
    first: Array = norms[np.arange(len(norms)), (~np.isnan(norms)).sum(axis=1) - 1]
    return first


def quartiles(values: Array) -> Array:
    """Lower quartile, median and upper quartile over the first axis, without NaN; each is one of the values.

    Parameters
    ----------
    values : (N, ...) array

    Returns
    -------
    quartiles : (3, ...) array
        NaN where there is no value.

    Examples
    --------
    >>> import numpy as np
    >>> quartiles(np.array([4.0, 1.0, np.nan, 2.0, 3.0, np.inf]))
    array([2., 3., 4.])
    """
    ordered = np.sort(values, axis=0)  # NaN last
    count = (~np.isnan(values)).sum(axis=0)
    places = [np.round(share * (count - 1)).astype(int).clip(0) for share in (0.25, 0.5, 0.75)]
    return np.stack([np.take_along_axis(ordered, place[None], axis=0)[0] for place in places])


def without_attention(model: Seq2Seq, params: Params) -> tuple[Seq2Seq, Params]:
    """The same model without attention, and those of the weights that it has.

    Examples
    --------
    >>> model = Seq2Seq(source_vocabulary=8, target_vocabulary=8)
    >>> vanilla, params = without_attention(model, model.init(seed=3))
    >>> all((params[name] == value).all() for name, value in vanilla.init(seed=3).items())
    True
    """
    if model.alignment == "none":
        raise ValueError('model: expected one with attention to take it from, got alignment "none"')
    vanilla = replace(model, alignment="none")
    return vanilla, {name: params[name] for name in vanilla.parameter_shapes}


def with_spectral_radius(params: Params, radius: float) -> Params:
    """The same parameters with the encoder's recurrent matrices scaled: ``radius`` is their largest |eigenvalue|.

    The U of a gated cell is one square matrix per gate, side by side, and each of them is scaled.

    Parameters
    ----------
    params : dict of arrays
    radius : float
        Above 0.

    Returns
    -------
    params : dict of arrays

    Raises
    ------
    ValueError
        If ``radius`` is not above 0, or a recurrent matrix has no eigenvalue but 0 to scale.

    Examples
    --------
    >>> import numpy as np
    >>> with_spectral_radius({"encoder.U": np.diag([4.0, -2.0])}, 0.5)["encoder.U"]
    array([[ 0.5 ,  0.  ],
           [ 0.  , -0.25]])
    """
    if not 0 < radius < np.inf:
        raise ValueError(f"radius: expected a number above 0, got {brief(radius)}")
    scaled = dict(params)
    for prefix in (*DIRECTIONS[False], *DIRECTIONS[True]):
        name = f"{prefix}.U"
        if name in params:
            blocks = np.split(params[name], params[name].shape[1] // len(params[name]), axis=1)
            found = [np.abs(np.linalg.eigvals(block)).max() for block in blocks]
            if 0 in found:
                raise ValueError(f"radius: {name} has spectral radius 0, which no factor can change")
            scaled[name] = np.concatenate(
                [block * (radius / r) for block, r in zip(blocks, found, strict=True)], axis=1
            )
    return scaled


def tokens_of_each(batch: Batch) -> Array:
    """Number of real target tokens of each sequence (B, 1), at least 1, by which its mean loss is divided."""
    tokens: Array = np.maximum(1, batch.target_mask.sum(axis=1, keepdims=True))
    return tokens


def some_rows(batch: Batch, rows: Any) -> Batch:
    """Some sequences of a batch: those that the index ``rows`` names."""
    return Batch(*(getattr(batch, field.name)[rows] for field in fields(batch)))


def norm(gradient: Array) -> Array:
    """Norm over the last axis; entries whose squares underflow count too."""
    scale = np.abs(gradient).max(axis=-1, keepdims=True)
    scale[scale == 0] = 1
    found: Array = np.linalg.norm(gradient / scale, axis=-1) * scale[..., 0]
    return found


def from_the_end(values: Array, mask: Array) -> Array:
    """The entries (B, T) of each row from the last real one backwards, then NaN."""
    position = mask.sum(axis=1, keepdims=True) - 1 - np.arange(mask.shape[1])
    return np.where(position >= 0, np.take_along_axis(values, position.clip(0), axis=1), np.nan)
