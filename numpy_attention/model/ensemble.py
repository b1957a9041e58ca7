"""Ensemble: several models that write one output together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, overload

from ..data.batch import Batch
from ..ops.cross_entropy import cross_entropy_forward
from .search import Translation, mean, search
from .seq2seq import Params, Seq2Seq


@dataclass(frozen=True)
class Ensemble:
    r"""Several models whose probabilities are averaged at every step.

    The next token's probability is the normalised geometric mean of those of the M models:

        log p(y) = mean_m log p_m(y) - log sum_y' exp(mean_m log p_m(y'))

    The sum is at most 1, so the loss is never higher than the mean of the losses of the models.

    Its methods are those of :class:`Seq2Seq`, with the parameters of each model in a sequence.

    Parameters
    ----------
    models : sequence of Seq2Seq
        All with the same vocabularies. Cells, alignments and sizes may differ.

    Raises
    ------
    ValueError
        If there are no models, or their vocabularies are not of the same size.

    References
    ----------
    Heskes (1998), "Selecting weighting factors in logarithmic opinion pools" (the geometric mean); Sutskever, Vinyals
    and Le (2014), "Sequence to sequence learning with neural networks", section 3.6 (models that translate together).

    Examples
    --------
    >>> model = Seq2Seq(source_vocabulary=8, target_vocabulary=8, embedding_size=4, hidden_size=5)
    >>> params = model.init(seed=0)
    >>> alone, both = model.translate(params, [[3, 4]]), Ensemble([model, model]).translate([params, params], [[3, 4]])
    >>> alone[0].tokens == both[0].tokens
    True
    """

    models: Sequence[Seq2Seq]

    def __post_init__(self) -> None:
        sizes = {(model.source_vocabulary, model.target_vocabulary) for model in self.models}
        if len(sizes) != 1:
            got = " and ".join(f"{source} to {target}" for source, target in sorted(sizes)) or "no model"
            raise ValueError(f"models: expected at least one, all with the same vocabularies, got {got}")

    @property
    def target_vocabulary(self) -> int:
        """Tokens that the models choose from."""
        return self.models[0].target_vocabulary

    @overload
    def translate(
        self,
        params: Sequence[Params],
        sources: Sequence[Sequence[int]],
        beam_size: int = 1,
        n_best: None = None,
        max_length: int | Sequence[int] | None = None,
        attention: bool = True,
    ) -> list[Translation]: ...

    @overload
    def translate(
        self,
        params: Sequence[Params],
        sources: Sequence[Sequence[int]],
        beam_size: int = 1,
        *,
        n_best: int,
        max_length: int | Sequence[int] | None = None,
        attention: bool = True,
    ) -> list[list[Translation]]: ...

    def translate(
        self,
        params: Sequence[Params],
        sources: Sequence[Sequence[int]],
        beam_size: int = 1,
        n_best: int | None = None,
        max_length: int | Sequence[int] | None = None,
        attention: bool = True,
    ) -> list[Translation] | list[list[Translation]]:
        """Translate sources: as :meth:`Seq2Seq.translate`, with the mean of the attention of those that have one."""
        members = list(zip(self.models, params, strict=True))
        for model, each in members:
            model.check_writer(each, sources, beam_size, n_best, max_length)
        found = search(
            lambda tokens, mask: [model.writer(each, tokens, mask) for model, each in members],
            self.target_vocabulary,
            sources,
            beam_size,
            n_best or 1,
            max_length,
            attention,
        )
        return [best[0] for best in found] if n_best is None else found

    def loss(self, params: Sequence[Params], batch: Batch, token_count: int | None = None) -> Any:
        """Mean of -log p(y) over the real target tokens, in nats, with the decoders reading the true tokens."""
        logits = [model.logits(each, batch) for model, each in zip(self.models, params, strict=True)]
        return cross_entropy_forward(mean(logits), batch.target_output.T, batch.target_mask.T, token_count, 0.0)[0]
