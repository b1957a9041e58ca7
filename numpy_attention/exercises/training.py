"""The last exercise: the model trains with the reader's functions in place of ours."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np

from .._typing import Array
from ..explain.shipped import ATTENTION, TEXT
from ..model.seq2seq import Seq2Seq
from ..ops import attention, cells, cross_entropy, embedding
from ..run import END
from ..training import step
from ..training.evaluation import evaluate
from ..training.schedule import learning_rate
from ..verification.mutants import replaced
from ..views.terminal import attention_map
from .cases import Functions
from .course import BY_NAME, Exercise
from .judge import Judgement, answers_of, judged

USED = ("softmax", "cross_entropy", "embedding", "tanh_step", "additive", "context")
UPDATES, BATCH = 300, 64
ENOUGH = 0.9  # of the held-out sequences
Params = dict[str, Array]


def trained(exercise: Exercise, functions: Functions, folder: Path) -> Judgement:
    """Train with the answers in a folder, and show where the model looks."""
    answers, missing = dict(functions), []
    for name in USED:
        found = answers_of(BY_NAME[name], folder)
        if not isinstance(found, Judgement) and judged(BY_NAME[name], found, folder / f"{name}.py").ok:
            answers |= found
        else:
            missing.append(name)
    if missing:
        told = f"clipped is right. The training needs right answers here as well: {', '.join(missing)}."
        return Judgement(exercise.name, "wrong", "NOT YET", [told])
    with in_place_of_ours(answers):
        lines, accuracy = _training()
    return Judgement(exercise.name, "solved" if accuracy >= ENOUGH else "wrong", "RIGHT", lines)


def _training() -> tuple[list[str], float]:
    """Train on reversing sequences: what to tell of it, and the share of the held-out sequences that come out right."""
    config = replace(ATTENTION, steps=UPDATES, batch_size=BATCH)
    data = config.data()
    source, target = data.source_vocabulary, data.target_vocabulary
    config = config.settled(data)
    model: Seq2Seq = config.model(len(source), len(target))
    state = step.TrainingState(model.init(config.seed))
    assert config.clip is not None
    losses = []
    for number in range(UPDATES):
        rate = learning_rate(number, UPDATES, config.learning_rate, config.warmup)
        batch = data.batch(number, BATCH)
        losses.append(step.training_step(model, state, batch, rate, clip=config.clip).loss)
    right = evaluate(model, state.params, data.held_out).sequence_accuracy
    found = model.translate(state.params, [source.encode(TEXT.split())])[0]
    words = target.decode(found.tokens)
    assert found.attention is not None
    rows = [*words, END] if found.finished else words
    return [
        f"Your functions trained the model: {UPDATES} updates, loss {losses[0]:.2f} to {losses[-1]:.3f}, "
        f"{100 * right:.0f} % of the sequences that it never saw are reversed right.",
        f"{TEXT}  ->  {' '.join(words)}. Where it looked, word by word (darker is more):",
        *(f"  {line}" for line in attention_map(found.attention, TEXT.split(), rows).splitlines()),
    ], right


@contextmanager
def in_place_of_ours(f: Functions) -> Iterator[None]:
    """Inside the context the model computes with these functions."""
    with ExitStack() as stack:
        for original, other in _replacements(f):
            stack.enter_context(replaced(original, other))
        stack.enter_context(mock.patch.object(step, "clip_by_global_norm", _clipping(f)))
        yield


def _replacements(f: Functions) -> Iterator[tuple[Any, Any]]:
    """Our functions, and the reader's with the arguments of ours."""
    yield attention.softmax, f["softmax"]
    yield attention.softmax_backward, f["softmax_backward"]
    yield attention.context, f["context"]
    yield attention.context_backward, lambda dc, h: f["context_backward"](dc, np.zeros(h.shape[:2]), h)[0]
    yield cells.tanh_step, lambda a, s, U: (f["tanh_step"](a, s, U), None)

    def tanh_step_backward(dnew: Array, s: Array, new: Array, gates: None, U: Array) -> Any:
        da, ds, _ = f["tanh_step_backward"](dnew, s, new, U)
        return da, da, ds

    yield cells.tanh_step_backward, tanh_step_backward
    yield from _additive(f)
    yield from _loss(f)

    def embedding_backward(da: Array, cache: embedding.EmbeddingCache) -> Any:
        drows, dW, db = f["embedding_backward"](da, cache.row, cache.vectors, cache.W)
        if cache.distinct is None:
            return drows, dW, db
        dembedding = np.zeros((cache.vocabulary, drows.shape[1]))
        dembedding[cache.distinct] = drows
        return dembedding, dW, db

    yield embedding.embedding_backward, embedding_backward


def _additive(f: Functions) -> Iterator[tuple[Any, Any]]:
    """The alignment: keys are the encoder states themselves, and every step gives its whole gradient."""
    yield attention.additive_keys, lambda p, h: h

    def scores(p: Params, s: Array, h: Array, keep_z: bool = True) -> tuple[Array, None]:
        return f["additive_scores"](s, h[: len(s)], p["W"], p["U"], p["v"]), None

    def scores_backward(p: Params, de: Array, s: Array, h: Array, z: None, sums: Any) -> Any:
        ds, *parts = f["additive_scores_backward"](de, s, h[: len(s)], p["W"], p["U"], p["v"])
        parts[0] = np.concatenate([parts[0], np.zeros(h[len(s) :].shape)])  # of the sequences that have ended
        sums = parts if sums is None else [one + other for one, other in zip(sums, parts, strict=True)]
        return ds, np.zeros((len(s), 0)), sums

    def after(p: Params, de: Array, dquery: Array, s: Array, h: Array, keys: Array, sums: Any) -> Any:
        dh, dW, dU, dv = sums
        return {"W": dW, "U": dU, "v": dv}, dh

    yield attention.additive_scores, scores
    yield attention.additive_scores_backward, scores_backward
    yield attention.additive_after, after


def _loss(f: Functions) -> Iterator[tuple[Any, Any]]:
    """The loss; label smoothing is not part of the exercise, and is off."""

    def forward(
        logits: Array, targets: Array, mask: Array, token_count: int | None = None, smoothing: float = 0.0
    ) -> Any:
        y, real = targets.ravel(), mask.ravel()
        loss, p = f["cross_entropy"](logits.reshape(-1, logits.shape[-1]), y, real)
        count = int(real.sum())
        return loss, cross_entropy.CrossEntropyCache(p, (np.arange(len(y)), y), real, count, 0.0, logits.shape)

    def backward(dloss: Any, cache: cross_entropy.CrossEntropyCache) -> Array:
        dlogits: Array = f["cross_entropy_backward"](dloss, cache.probabilities, cache.chosen[1], cache.mask)
        return dlogits.reshape(cache.shape)

    yield cross_entropy.cross_entropy_forward, forward
    yield cross_entropy.cross_entropy_backward, backward


def _clipping(f: Functions) -> Any:
    def clip(gradient: Array, limit: float) -> float:
        norm = float(np.sqrt(gradient @ gradient))
        gradient[...] = f["clipped"]({"all": gradient}, limit)["all"]
        return norm

    return clip
