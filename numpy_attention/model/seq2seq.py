"""The sequence-to-sequence model: encoder, bridge, decoder, loss, and the way back through all of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from math import prod
from typing import Any, NamedTuple, overload

import numpy as np

from .._checks import (
    check_choice,
    check_dtype,
    check_flag,
    check_number,
    check_params,
    check_real,
    check_share,
    check_size,
    check_tokens,
)
from .._text import brief
from .._typing import Array
from ..data.batch import Batch
from ..ops.attention import ALIGNMENTS
from ..ops.cells import CELLS
from ..ops.cross_entropy import CrossEntropyCache, cross_entropy_backward, cross_entropy_forward
from .decoder import DecoderCache, Shared, decoder_backward, decoder_forward, share
from .dropout import DropoutMasks, dropout_mask
from .encoder import DIRECTIONS, EncoderCache, bridge_backward, bridge_forward, encoder_backward, encoder_forward
from .search import Translation, Writer, check_search, search

Params = dict[str, Array]


class ModelCache(NamedTuple):
    """For the backward of the whole model."""

    params: Params
    encoder: EncoderCache
    last: Array  # (B, H'), last encoder states
    decoder: DecoderCache
    loss: CrossEntropyCache
    dropout: DropoutMasks | None


@dataclass(frozen=True, repr=False)
class Seq2Seq:
    """An encoder-decoder with attention or (``alignment="none"``) without.

    The model holds sizes only. Its parameters are a plain dict of arrays, an argument of every call.

    Parameters
    ----------
    source_vocabulary, target_vocabulary : int
        Numbers of tokens, the special ids (PAD 0, BOS 1, EOS 2) included.
    embedding_size : int
        E.
    hidden_size : int
        D, of a decoder state.
    encoder_size : int, optional
        H, of an encoder state in each direction; None: ``hidden_size``.
    alignment_size : int, optional
        A; None: ``hidden_size``.
    alignment : {"additive", "location", "stacked", "dot", "general", "none"}
        How a source position is scored: a name in ``ALIGNMENTS``. ``dot`` needs D = H'.
    bidirectional : bool
        Read the source both ways: encoder states are then H' = 2 H wide.
    cell : {"tanh", "gru", "lstm"}
        The recurrent cell of encoder and decoder: a name in ``CELLS``.
    forget_bias : float, optional
        Initial bias of the gate that says how much of the state is kept (f of the LSTM, z of the GRU); None: 1.

    Raises
    ------
    ValueError
        If a size is not a whole number of at least 1, the target vocabulary has no room for the special ids, the
        alignment or the cell is unknown, ``dot`` has unequal sizes, or the cell has no such gate.

    References
    ----------
    Jozefowicz, Zaremba and Sutskever (2015), "An empirical exploration of recurrent network architectures" (the bias
    of 1).

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
    cell: str = "tanh"
    forget_bias: float | None = None

    def __post_init__(self) -> None:
        for name in ("source_vocabulary", "target_vocabulary", "embedding_size", "hidden_size"):
            check_size(name, getattr(self, name))
        for name in ("encoder_size", "alignment_size"):
            if getattr(self, name) is not None:
                check_size(name, getattr(self, name))
        if self.target_vocabulary < 3:
            raise ValueError(
                f"target_vocabulary: expected at least 3, for PAD, BOS and EOS, got {self.target_vocabulary}"
            )
        check_choice("alignment", self.alignment, ALIGNMENTS)
        check_choice("cell", self.cell, CELLS)
        check_flag("bidirectional", self.bidirectional)
        if self.forget_bias is not None:
            check_number("forget_bias", self.forget_bias)
            if CELLS[self.cell].forget is None:
                gated = " or ".join(f'"{name}"' for name, cell in CELLS.items() if cell.forget is not None)
                raise ValueError(
                    f'forget_bias: expected None for cell "{self.cell}", which has no gate to forget by '
                    f"({gated} has), got {brief(self.forget_bias)}"
                )
        self.parameter_shapes  # noqa: B018 - an alignment may not take all sizes

    def __repr__(self) -> str:
        E, D, H, A = self.embedding_size, self.hidden_size, self.encoder_size or self.hidden_size, self.alignment_size
        count = sum(map(prod, self.parameter_shapes.values()))
        return (
            f"Seq2Seq({self.source_vocabulary} to {self.target_vocabulary} tokens, E={E}, H={H}"
            f"{' in each direction' if self.bidirectional else ''}, D={D}, A={A or D}, "
            f"cell={self.cell!r}, alignment={self.alignment!r}: {count:,} parameters)"
        )

    @cached_property
    def parameter_shapes(self) -> dict[str, tuple[int, ...]]:
        """Shape of every parameter, by name, in the order of the forward pass."""
        E, D, V = self.embedding_size, self.hidden_size, self.target_vocabulary
        H = self.encoder_size or D
        cell, look = CELLS[self.cell], ALIGNMENTS[self.alignment]
        G = cell.gates
        shapes: dict[str, tuple[int, ...]] = {"source_embedding": (self.source_vocabulary, E)}
        prefixes = DIRECTIONS[self.bidirectional]
        for prefix in prefixes:
            shapes |= {f"{prefix}.W": (E, G * H), f"{prefix}.U": (H, G * H), f"{prefix}.b": (G * H,)}
        width = H * len(prefixes)  # H'
        shapes |= {"bridge.W": (width, cell.states * D), "bridge.b": (cell.states * D,)}
        if look is not None:
            for name, shape in look.shapes(D, width, self.alignment_size or D).items():
                shapes[f"alignment.{name}"] = shape
        shapes |= {"target_embedding": (V, E)}
        shapes |= {"decoder.W": (E, G * D), "decoder.U": (D, G * D), "decoder.b": (G * D,)}
        shapes |= {"output.W": (D, V), "output.b": (V,)}
        if look is not None:
            shapes |= {"decoder.C": (width, G * D), "output.C": (width, V)}
        return shapes

    def init(self, seed: int = 0, dtype: Any = np.float64) -> Params:
        """Draw initial parameters.

        Recurrent matrices (``.U`` of the encoder and the decoder; of a gated cell, each gate's block) are orthogonal.
        Biases are zero, but for ``forget_bias``. All else is normal with variance 1 / rows (embeddings: 1 / columns).
        Each parameter has a random stream of its own, from the seed and its name, so models that differ in their
        alignment share the values of all parameters that both have.

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
        forget = CELLS[self.cell].forget
        if forget is not None:
            for prefix in (*DIRECTIONS[self.bidirectional], "decoder"):
                H = len(params[f"{prefix}.U"])
                params[f"{prefix}.b"][forget * H : (forget + 1) * H] = (
                    1 if self.forget_bias is None else self.forget_bias
                )
        return params

    def loss(self, params: Params, batch: Batch, token_count: int | None = None) -> Any:
        """Mean over the real target tokens of -log softmax(logits)[y], in nats, the decoder reading the true tokens.

        Parameters
        ----------
        params : dict of arrays
            As :meth:`init` makes them; float32, float64 or complex128, complex and real mixed at will.
        batch : Batch
        token_count : int, optional
            Divide by this rather than by the batch's own number of real target tokens.

        Returns
        -------
        loss : scalar
            Of the parameters' common dtype. With parameters so large that a product of them overflows it may be nan or
            inf, and NumPy warns.

        Raises
        ------
        ValueError
            If a parameter is missing, unknown, of the wrong shape or dtype or not finite, or a token id is outside
            the vocabulary.
        """
        return self.forward(params, batch, token_count, recompute=True)[0]

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
            Compute the alignment's activations, (B, T, U, A) in all, a second time in the backward instead of keeping
            them: less memory for a little more work.

        Returns
        -------
        loss : scalar
            That of :meth:`loss`; with dropout or smoothing the one that is trained on.
        gradients : dict of arrays
            Of the parameters' names, shapes and common dtype, in the parameters' order.

        Raises
        ------
        ValueError
            As :meth:`loss`.
        """
        loss, cache = self.forward(params, batch, token_count, dropout, label_smoothing, recompute)
        return loss, {**params, **self.backward(cache)}  # every value replaced, in the order of the parameters

    def forward(
        self,
        params: Params,
        batch: Batch,
        token_count: int | None = None,
        dropout: DropoutMasks | None = None,
        label_smoothing: float = 0.0,
        recompute: bool = False,
    ) -> tuple[Any, ModelCache]:
        """Loss as in :meth:`loss_and_gradients`, and the cache for :meth:`backward`."""
        check_params(self.parameter_shapes, params)
        if not isinstance(batch, Batch):
            raise ValueError(f"batch: expected a Batch, got {type(batch).__name__}")
        check_tokens("source", batch.source, self.source_vocabulary)
        check_tokens("target", batch.target_input, self.target_vocabulary)
        check_tokens("target", batch.target_output, self.target_vocabulary)
        if token_count is not None or dropout is not None or label_smoothing:
            _check_step(token_count, dropout, label_smoothing)
        shared, s_0, encoder, last = self._encode(params, batch.source, batch.source_mask, dropout)
        logits, decoder = decoder_forward(shared, batch.target_input, s_0, dropout, recompute, batch.live)
        targets, mask = batch.target_output.T, batch.target_mask.T
        loss, cross_entropy = cross_entropy_forward(logits, targets, mask, token_count, label_smoothing)
        return loss, ModelCache(params, encoder, last, decoder, cross_entropy, dropout)

    def backward(self, cache: ModelCache) -> Params:
        """Gradient of the loss with respect to every parameter, from the cache of :meth:`forward`."""
        dlogits = cross_entropy_backward(1.0, cache.loss)
        decoder, paths = decoder_backward(dlogits, cache.decoder)
        bridge, dlast = bridge_backward(paths.s_0, cache.params, cache.last, cache.decoder.s[0])
        dh = paths.context + paths.key
        if cache.dropout is not None:
            dh, dlast = dh * cache.dropout.h, dlast * cache.dropout.last
        encoder, _ = encoder_backward(dh, dlast, cache.encoder)
        return decoder | bridge | encoder

    def dropout_masks(
        self, batch: Batch, rate: float, rng: np.random.Generator, dtype: Any = np.float64
    ) -> DropoutMasks:
        """Draw dropout masks for one pass: of the input projections, the encoder states, and the readout's input.

        Parameters
        ----------
        batch : Batch
            For the shapes.
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
            If the rate is not at least 0 and below 1, or another argument is of the wrong type.
        """
        if not isinstance(batch, Batch):
            raise ValueError(f"batch: expected a Batch, got {type(batch).__name__}")
        if not isinstance(rng, np.random.Generator):
            raise ValueError(f"rng: expected a numpy.random.Generator, got {brief(rng)}")
        check_share("rate", rate)
        check_dtype("dtype", dtype)
        shapes = self.parameter_shapes
        (B, T), U = batch.source.shape, batch.target_input.shape[1]
        D, width = self.hidden_size, shapes["bridge.W"][0]

        def draw(*shape: int) -> Array:
            return dropout_mask(rng, shape, rate, dtype)

        return DropoutMasks(
            source={prefix: draw(T, B, *shapes[f"{prefix}.b"]) for prefix in DIRECTIONS[self.bidirectional]},
            h=draw(B, T, width),
            target=draw(U, B, *shapes["decoder.b"]),
            readout=draw(U, B, D if ALIGNMENTS[self.alignment] is None else D + width),
            last=draw(B, width),
        )

    @overload
    def translate(
        self,
        params: Params,
        sources: Sequence[Sequence[int]],
        beam_size: int = 1,
        n_best: None = None,
        max_length: int | Sequence[int] | None = None,
        attention: bool = True,
    ) -> list[Translation]: ...

    @overload
    def translate(
        self,
        params: Params,
        sources: Sequence[Sequence[int]],
        beam_size: int = 1,
        *,
        n_best: int,
        max_length: int | Sequence[int] | None = None,
        attention: bool = True,
    ) -> list[list[Translation]]: ...

    def translate(
        self,
        params: Params,
        sources: Sequence[Sequence[int]],
        beam_size: int = 1,
        n_best: int | None = None,
        max_length: int | Sequence[int] | None = None,
        attention: bool = True,
    ) -> list[Translation] | list[list[Translation]]:
        """Translate sources by greedy or beam search: every step reads the token that the step before wrote.

        Parameters
        ----------
        params : dict of arrays
            Real; as for :meth:`loss`.
        sources : sequence of sequences of token ids
        beam_size : int
            Beginnings kept per source at every step; 1 is greedy search.
        n_best : int, optional
            Give this many outputs per source, at most ``beam_size``.
        max_length : int, or one for each source, optional
            Number of steps at the most, the one that gives EOS included; None: for each source, twice its own length
            plus 10.
        attention : bool
            Keep the attention weights, which can take more memory than all else.

        Returns
        -------
        translations : list of Translation, or with ``n_best`` list of lists of Translation
            One per source, in their order; with ``n_best`` a list per source, best first, by
            :attr:`Translation.score_per_step`. It is shorter than ``n_best`` only where there are fewer outputs of that
            length. A source has the same outputs alone and in any company, with scores equal up to rounding.

        Raises
        ------
        ValueError
            As for :meth:`loss`; also if a source is empty, ``max_length``, ``beam_size`` or ``n_best`` is below 1,
            ``n_best`` is above ``beam_size``, or a parameter is complex.
        FloatingPointError
            If the parameters are so large that logits are no longer finite.
        """
        self.check_writer(params, sources, beam_size, n_best, max_length)
        found = search(
            lambda tokens, mask: [self.writer(params, tokens, mask)],
            self.target_vocabulary,
            sources,
            beam_size,
            n_best or 1,
            max_length,
            attention,
        )
        return [best[0] for best in found] if n_best is None else found

    def check_writer(
        self,
        params: Params,
        sources: Sequence[Sequence[int]],
        beam_size: int,
        n_best: int | None,
        max_length: int | Sequence[int] | None,
    ) -> None:
        """Raise the ValueError of :meth:`translate`, if there is a reason."""
        check_params(self.parameter_shapes, params)
        check_real(params)
        check_search(sources, beam_size, n_best, max_length)
        if max(map(max, sources), default=0) >= self.source_vocabulary:
            for number, source in enumerate(sources):
                check_tokens("sources", np.array([source]), self.source_vocabulary, first=number)

    def writer(self, params: Params, source: Array, mask: Array) -> Writer:
        """The model before its first step, after it has read (B, T) sources."""
        shared, s_0, _, _ = self._encode(params, source, mask)
        return Writer(params, shared, s_0)

    def logits(self, params: Params, batch: Batch) -> Array:
        """Logits (U, B, V) of every step, the decoder reading the true tokens."""
        shared, s_0, _, _ = self._encode(params, batch.source, batch.source_mask)
        return decoder_forward(shared, batch.target_input, s_0, None, recompute=True)[0]

    def _encode(
        self, params: Params, source: Array, mask: Array, dropout: DropoutMasks | None = None
    ) -> tuple[Shared, Array, EncoderCache, Array]:
        """Read the source: all that the decoder's steps share, its first state, and what the backward needs."""
        cell, look = CELLS[self.cell], ALIGNMENTS[self.alignment]
        h, last, encoder = encoder_forward(params, cell, source, mask, self.bidirectional, dropout)
        if dropout is not None:
            h, last = h * dropout.h, last * dropout.last
        return share(params, cell, look, h, mask), bridge_forward(params, last), encoder, last


def _check_step(token_count: Any, dropout: Any, label_smoothing: Any) -> None:
    """Raise ValueError unless these are of the right type, the first two or None."""
    check_share("label_smoothing", label_smoothing)
    if token_count is not None:
        check_size("token_count", token_count)
    if not isinstance(dropout, DropoutMasks | None):
        raise ValueError(f"dropout: expected masks from Seq2Seq.dropout_masks, got {brief(dropout)}")


def is_recurrent(name: str) -> bool:
    """True of the recurrent matrices: those that a state is multiplied with to become the next one."""
    return name.endswith(".U") and name != "alignment.U"


def _initial_value(name: str, shape: tuple[int, ...], rng: np.random.Generator) -> Array:
    if name.endswith(".b"):
        return np.zeros(shape)
    values: Array = rng.standard_normal(shape)
    if is_recurrent(name):
        return np.concatenate([_orthogonal(gate) for gate in np.split(values, shape[1] // shape[0], axis=1)], axis=1)
    scaled: Array = values / np.sqrt(shape[-1] if name.endswith("embedding") else shape[0])
    return scaled


def _orthogonal(values: Array) -> Array:
    """Orthogonal matrix from a square one of normal numbers, uniform over all of them by the choice of signs."""
    orthogonal, upper = np.linalg.qr(values)
    orthogonal *= np.sign(np.diag(upper))
    return orthogonal
