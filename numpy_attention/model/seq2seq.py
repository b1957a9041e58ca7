"""The sequence-to-sequence model: encoder, bridge, decoder, loss, and the way back through all of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, overload

import numpy as np

from .._typing import Array
from ..data.batch import Batch
from ..ops.cross_entropy import CrossEntropyCache, cross_entropy_backward, cross_entropy_forward
from ..ops.dropout import dropout_backward, dropout_forward
from .bridge import BridgeCache, bridge_backward, bridge_forward
from .checks import (
    check_batch,
    check_dtype,
    check_model,
    check_params,
    check_real,
    check_share,
    check_size,
    check_sources,
)
from .decoder import DecoderCache, Memory, decoder_backward, decoder_forward, make_memory
from .dropout import DropoutMasks, draw_masks
from .encoder import EncoderCache, encoder_backward, encoder_directions, encoder_forward
from .search import Translation, beam_search

Params = dict[str, Array]

SEARCH_BATCH = 256  # hypotheses moved on together: enough to fill the products, few enough to stay in the cache


class ModelCache(NamedTuple):
    """What the backward of the whole model needs: the caches of its parts, in the order of the forward."""

    encoder: EncoderCache
    dropout: Array | None  # (B, T, H'), the mask of the annotations
    bridge: BridgeCache
    decoder: DecoderCache
    loss: CrossEntropyCache


@dataclass(frozen=True)
class Seq2Seq:
    """A tanh-RNN encoder-decoder, with attention or (``alignment="none"``) without.

    The model holds sizes only; its parameters are a plain dict of arrays that every call is handed.

    Parameters
    ----------
    source_vocabulary, target_vocabulary : int
        Numbers of tokens, the special ids (PAD 0, BOS 1, EOS 2) included.
    embedding_size : int
        E.
    hidden_size : int
        D, the decoder's state.
    encoder_size : int, optional
        H, the encoder's state in each direction; None: ``hidden_size``.
    alignment_size : int, optional
        A; None: ``hidden_size``.
    alignment : {"additive", "stacked", "dot", "none"}
        How a source position is scored. ``dot`` needs annotations as wide as the decoder's state.
    bidirectional : bool
        Read the source both ways; annotations are then 2 H wide.

    Raises
    ------
    ValueError
        If a size is not a whole number of at least 1, the target vocabulary has no room for the special ids, the
        alignment is unknown, or ``dot`` meets unequal sizes.

    Examples
    --------
    >>> import numpy as np
    >>> model = Seq2Seq(source_vocabulary=8, target_vocabulary=8, embedding_size=4, hidden_size=5)
    >>> params = model.init(seed=0)
    >>> batch = Batch.from_sequences([[3, 4, 5], [6]], [[5, 4, 3], [6]])
    >>> loss, gradients = model.loss_and_gradients(params, batch)
    >>> bool(abs(loss - np.log(8)) < 1), gradients["alignment.v"].shape
    (True, (5,))
    """

    source_vocabulary: int
    target_vocabulary: int
    embedding_size: int = 32
    hidden_size: int = 64
    encoder_size: int | None = None
    alignment_size: int | None = None
    alignment: str = "additive"
    bidirectional: bool = False

    def __post_init__(self) -> None:
        check_model(self)

    @property
    def parameter_shapes(self) -> dict[str, tuple[int, ...]]:
        """Shape of every parameter, by name, in the order of the forward pass."""
        E, D = self.embedding_size, self.hidden_size
        H = self.encoder_size or D
        A = self.alignment_size or D
        width = 2 * H if self.bidirectional else H
        shapes: dict[str, tuple[int, ...]] = {"source_embedding": (self.source_vocabulary, E)}
        for prefix in encoder_directions(self.bidirectional):
            shapes |= {f"{prefix}.W": (E, H), f"{prefix}.U": (H, H), f"{prefix}.b": (H,)}
        shapes |= {"bridge.W": (width, D), "bridge.b": (D,)}
        if self.alignment in ("additive", "stacked"):
            v_size = A if self.alignment == "additive" else 2 * A
            shapes |= {"alignment.W": (D, A), "alignment.U": (width, A), "alignment.v": (v_size,)}
        shapes |= {"target_embedding": (self.target_vocabulary, E)}
        shapes |= {"decoder.W": (E, D), "decoder.U": (D, D), "decoder.b": (D,)}
        shapes |= {"output.W": (D, self.target_vocabulary), "output.b": (self.target_vocabulary,)}
        if self.alignment != "none":
            shapes |= {"decoder.C": (width, D), "output.C": (width, self.target_vocabulary)}
        return shapes

    def init(self, seed: int = 0, dtype: Any = np.float64) -> Params:
        """Draw initial parameters.

        Recurrent matrices (``.U`` of the encoder and the decoder) are orthogonal, biases zero, all else normal with
        variance 1 / rows (embeddings: 1 / columns). Each parameter has a random stream of its own, from the seed and
        its name, so models that differ in their alignment share the values of every parameter that they share.

        Parameters
        ----------
        seed : int
            At least 0.
        dtype : dtype
            float32 or float64 (or complex128).

        Returns
        -------
        params : dict of arrays

        References
        ----------
        Saxe, McClelland and Ganguli (2014), "Exact solutions to the nonlinear dynamics of learning in deep linear
        neural networks" (orthogonal); Glorot and Bengio (2010) (scaled normal).
        """
        check_dtype("dtype", dtype)
        check_size("seed", seed, least=0)
        params = {}
        for name, shape in self.parameter_shapes.items():
            rng = np.random.default_rng([seed, *name.encode()])
            params[name] = _initial_value(name, shape, rng).astype(dtype)
        return params

    def loss(self, params: Params, batch: Batch, token_count: int | None = None) -> Any:
        """Mean over the real target tokens of -log softmax(logits)[y], in nats, the true tokens being read.

        Parameters
        ----------
        params : dict of arrays
            As :meth:`init` gives them; float32, float64 or complex128, complex and real mixed at will.
        batch : Batch
        token_count : int, optional
            Divide by this rather than by the batch's own number of real target tokens.

        Returns
        -------
        loss : scalar
            Of the parameters' common dtype.

        Raises
        ------
        ValueError
            If a parameter is missing, unknown, of the wrong shape or dtype or not finite, or a token id is outside
            the vocabulary.
        """
        return self.forward(params, batch, token_count, keep=False)[0]

    def loss_and_gradients(
        self,
        params: Params,
        batch: Batch,
        token_count: int | None = None,
        *,
        dropout: DropoutMasks | None = None,
        label_smoothing: float = 0.0,
        recompute: bool = False,
    ) -> tuple[Any, Params]:
        """Loss, and its gradient with respect to every parameter.

        Parameters
        ----------
        params, batch, token_count
            As for :meth:`loss`.
        dropout : DropoutMasks, optional
            Entries to leave out, from :meth:`dropout_masks`.
        label_smoothing : float
            Share of the target's probability that is spread over the vocabulary, at least 0 and below 1.
        recompute : bool
            Compute the alignment's activations, (B, T, U, A) in all, a second time on the way back in place of
            keeping them: less memory for a little more work.

        Returns
        -------
        loss : scalar
            That of :meth:`loss`, or with dropout or smoothing the one that is trained on.
        gradients : dict of arrays
            Of the parameters' names, shapes and common dtype, in the parameters' order.

        Raises
        ------
        ValueError
            As :meth:`loss`.
        """
        loss, cache = self.forward(
            params, batch, token_count, dropout=dropout, label_smoothing=label_smoothing, recompute=recompute
        )
        gradients = self.backward(cache)
        return loss, {name: gradients[name] for name in params}

    def forward(
        self,
        params: Params,
        batch: Batch,
        token_count: int | None = None,
        *,
        dropout: DropoutMasks | None = None,
        label_smoothing: float = 0.0,
        keep: bool = True,
        recompute: bool = False,
    ) -> tuple[Any, ModelCache]:
        """Loss as in :meth:`loss_and_gradients`, with what :meth:`backward` needs; without ``keep``, with less memory.

        The cache is of no use to :meth:`backward` then.
        """
        check_params(self.parameter_shapes, params)
        check_batch(self, batch)
        check_share("label_smoothing", label_smoothing)
        if token_count is None:
            token_count = batch.token_count
        check_size("token_count", token_count)
        memory, state, encoder, mask, bridge = self._encode(params, batch.source, batch.source_mask, dropout)
        logits, decoder = decoder_forward(
            params, memory, batch.target_input, state, dropout, keep=keep, recompute=recompute
        )
        loss, cross_entropy = cross_entropy_forward(
            logits, batch.target_output.T, batch.target_mask.T, token_count, label_smoothing
        )
        return loss, ModelCache(encoder, mask, bridge, decoder, cross_entropy)

    def backward(self, cache: ModelCache) -> Params:
        """Gradient of the loss with respect to every parameter, from the cache of :meth:`forward`."""
        dlogits = cross_entropy_backward(1.0, cache.loss)
        gradients, doors = decoder_backward(dlogits, cache.decoder)
        bridge, dbridge = bridge_backward(doors.state, cache.bridge)
        dannotations = dropout_backward(doors.context + doors.key + dbridge, cache.dropout)
        encoder, _ = encoder_backward(dannotations, cache.encoder)
        return gradients | bridge | encoder

    def dropout_masks(
        self, batch: Batch, rate: float, rng: np.random.Generator, dtype: Any = np.float64
    ) -> DropoutMasks:
        """Draw the entries that one pass leaves out: of the drives, of the annotations and of what the readout reads.

        Parameters
        ----------
        batch : Batch
            Gives the shapes.
        rate : float
            Probability of leaving an entry out, at least 0 and below 1.
        rng : numpy.random.Generator
        dtype : dtype
            That of the parameters.

        Returns
        -------
        DropoutMasks

        Raises
        ------
        ValueError
            If the rate is not at least 0 and below 1.
        """
        check_share("rate", rate)
        H = self.encoder_size or self.hidden_size
        encoder = dict.fromkeys(encoder_directions(self.bidirectional), H)
        context = 0 if self.alignment == "none" else H * len(encoder)
        rows, steps = batch.target_input.shape
        sizes = (encoder, self.hidden_size, context)
        return draw_masks(rng, rate, (rows, batch.source.shape[1]), steps, sizes, dtype)

    @overload
    def translate(
        self,
        params: Params,
        sources: Sequence[Sequence[int]],
        beam_size: int = 1,
        n_best: None = None,
        max_length: int | None = None,
    ) -> list[Translation]: ...

    @overload
    def translate(
        self,
        params: Params,
        sources: Sequence[Sequence[int]],
        beam_size: int = 1,
        *,
        n_best: int,
        max_length: int | None = None,
    ) -> list[list[Translation]]: ...

    def translate(
        self,
        params: Params,
        sources: Sequence[Sequence[int]],
        beam_size: int = 1,
        n_best: int | None = None,
        max_length: int | None = None,
    ) -> list[Translation] | list[list[Translation]]:
        """Write the output of every source by greedy or beam search: what was written is what the next step reads.

        Parameters
        ----------
        params : dict of arrays
            Real; as for :meth:`loss`.
        sources : sequence of sequences of token ids
        beam_size : int
            Beginnings kept per source at every step; 1 is greedy search.
        n_best : int, optional
            Give this many outputs per source, at most ``beam_size``.
        max_length : int, optional
            Number of steps at the most, the one that gives EOS included; None: twice the longest source plus 10.

        Returns
        -------
        translations : list of Translation, or with ``n_best`` list of lists of Translation
            One per source, in their order; with ``n_best`` a list per source, best first, by score divided by the
            number of steps. It is shorter than ``n_best`` only where there are fewer outputs of that length.

        Raises
        ------
        ValueError
            As for :meth:`loss`; also if a source is empty, ``max_length``, ``beam_size`` or ``n_best`` is below 1,
            ``n_best`` is above ``beam_size``, or a parameter is complex.
        FloatingPointError
            If the parameters are so large that logits are no longer finite.
        """
        check_params(self.parameter_shapes, params)
        check_real(params)
        if max_length is not None:
            check_size("max_length", max_length)
        check_size("beam_size", beam_size)
        if n_best is not None:
            check_size("n_best", n_best)
            if n_best > beam_size:
                raise ValueError(f"n_best: expected at most beam_size ({beam_size}), got {n_best}")
        found: list[list[Translation]] = []
        if not len(sources):
            return []
        source, source_mask = check_sources(self, sources)
        lengths = source_mask.sum(axis=1)
        for start in range(0, len(sources), max(1, SEARCH_BATCH // beam_size)):
            part = slice(start, start + max(1, SEARCH_BATCH // beam_size))
            longest = lengths[part].max()
            memory, state, _, _, _ = self._encode(params, source[part, :longest], source_mask[part, :longest])
            found += beam_search(params, memory, state, beam_size, max_length or 2 * lengths.max() + 10)
        return [best[0] for best in found] if n_best is None else [best[:n_best] for best in found]

    def _encode(
        self, params: Params, source: Array, source_mask: Array, dropout: DropoutMasks | None = None
    ) -> tuple[Memory, Array, EncoderCache, Array | None, BridgeCache]:
        """Read the source: what the decoder may look back at, and its first state."""
        drive_masks = None if dropout is None else dropout.source
        annotations, encoder = encoder_forward(params, source, source_mask, self.bidirectional, drive_masks)
        annotations, mask = dropout_forward(annotations, None if dropout is None else dropout.annotations)
        state, bridge = bridge_forward(params, annotations, source_mask, self.bidirectional)
        return make_memory(params, self.alignment, annotations, source_mask), state, encoder, mask, bridge


def _initial_value(name: str, shape: tuple[int, ...], rng: np.random.Generator) -> Array:
    if name.endswith(".b"):
        return np.zeros(shape)
    values: Array = rng.standard_normal(shape)
    if name.endswith(".U") and name != "alignment.U":
        orthogonal, upper = np.linalg.qr(values)
        values = orthogonal * np.sign(np.diag(upper))  # the signs make it uniform over the orthogonal matrices
        return values
    scaled: Array = values / np.sqrt(shape[-1] if name.endswith("embedding") else shape[0])
    return scaled
