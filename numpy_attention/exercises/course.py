"""The exercises in their order. Texts stand in ``texts/``: a blank file and three hints for each."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from ..gradcheck.derivatives import complex_step_gradient
from ..model import decoder, encoder, seq2seq
from ..ops import attention, cells, cross_entropy, embedding
from ..training import optimizers
from . import cases, reference
from .cases import Backward, Forward

TEXTS = Path(__file__).with_name("texts")


class Exercise(NamedTuple):
    """One exercise.

    Attributes
    ----------
    name : str
        Also of its file.
    title : str
    functions : tuple of str
        What the reader writes.
    cases : function
        ``cases(functions, size)`` -> what they are tested on; None where another judge tests them.
    ours : tuple of functions
        The package's own lines, to be shown beside the reader's.
    read : str
        Where to read about it.
    given : tuple of str
        Functions that the reader may call, from :mod:`numpy_attention.exercises.reference`.
    """

    name: str
    title: str
    functions: tuple[str, ...]
    cases: Callable[..., list[Forward | Backward]] | None
    ours: tuple[Callable[..., Any], ...]
    read: str
    given: tuple[str, ...] = ()

    @property
    def blank(self) -> str:
        """The text of its file, with gaps to fill."""
        return (TEXTS / f"{self.name}.py.txt").read_text("utf-8")

    @property
    def hints(self) -> list[str]:
        """Three hints, the last one nearly the answer."""
        return (TEXTS / f"{self.name}.hints.txt").read_text("utf-8").strip().split("\n---\n")


EXERCISES = (
    Exercise(
        "dense",
        "A dense layer: y = x W + b",
        ("dense_backward",),
        cases.dense,
        (decoder.readout_backward,),
        "Goodfellow, Bengio and Courville, Deep Learning, section 6.5.6",
    ),
    Exercise(
        "tanh",
        "tanh, by its own value",
        ("tanh_backward",),
        cases.tanh,
        (cells.tanh_step_backward,),
        "Goodfellow, Bengio and Courville, Deep Learning, section 6.5.2",
    ),
    Exercise(
        "softmax",
        "Softmax with a mask",
        ("softmax", "softmax_backward"),
        cases.softmax,
        (attention.softmax, attention.softmax_backward),
        "the stage Gradient of the scores in numpy-attention explain",
    ),
    Exercise(
        "cross_entropy",
        "Cross-entropy from logits",
        ("cross_entropy", "cross_entropy_backward"),
        cases.cross_entropy_loss,
        (cross_entropy.cross_entropy_forward, cross_entropy.cross_entropy_backward),
        "the stages Loss and Gradient of the logits in numpy-attention explain",
    ),
    Exercise(
        "embedding",
        "Embedding and input projection",
        ("embedding_backward",),
        cases.embedding_lookup,
        (embedding.embedding_forward, embedding.embedding_backward),
        "the hints of exercise dense, and np.add.at",
    ),
    Exercise(
        "tanh_step",
        "One step of a recurrent network",
        ("tanh_step", "tanh_step_backward"),
        cases.tanh_step,
        (cells.tanh_step, cells.tanh_step_backward),
        "Elman (1990), Finding structure in time",
    ),
    Exercise(
        "through_time",
        "Backpropagation through time",
        ("through_time",),
        cases.through_time,
        (encoder.encoder_backward,),
        "Goodfellow, Bengio and Courville, Deep Learning, section 10.2.2",
    ),
    Exercise(
        "additive",
        "Additive alignment scores",
        ("additive_scores", "additive_scores_backward"),
        cases.additive,
        (attention.additive_scores, attention.additive_scores_backward, attention.additive_after),
        "Bahdanau, Cho and Bengio (2015), appendix A.1.2, and the stage Alignment scores in numpy-attention explain",
    ),
    Exercise(
        "context",
        "The context vector",
        ("context", "context_backward"),
        cases.context,
        (attention.context, attention.context_backward),
        "Bahdanau, Cho and Bengio (2015), eq. (5), and the stage Gradient of the weights in numpy-attention explain",
    ),
    Exercise(
        "attend",
        "The attention step as a whole",
        ("attend_backward",),
        cases.attend,
        (decoder.decoder_step, decoder.decoder_step_backward),
        "numpy-attention explain, from Gradient of the context on",
        given=("context_backward", "softmax_backward", "additive_scores_backward"),
    ),
    Exercise(
        "decoder_loop",
        "The loop of the decoder",
        ("decoder_loop_backward",),
        cases.decoder_loop,
        (decoder.decoder_backward,),
        "the stage Gradient of the decoder state in numpy-attention explain",
    ),
    Exercise(
        "doors",
        "The doors: which gradient goes where",
        ("model_backward",),
        cases.doors,
        (seq2seq.Seq2Seq.backward,),
        "the last stage of numpy-attention explain, and docs/superhighway.md",
    ),
    Exercise(
        "stacked",
        "The stacked formula cannot see the decoder",
        ("stacked_weights", "stacked_scores_backward"),
        cases.stacked,
        (attention.stacked_scores, attention.stacked_scores_backward, attention.stacked_after),
        "the hints: softmax ignores what is added to all scores alike",
    ),
    Exercise(
        "gru",
        "A gated unit",
        ("gru_step", "gru_step_backward"),
        cases.gru,
        (cells.gru_step, cells.gru_step_backward),
        "Cho et al. (2014), Learning phrase representations using RNN encoder-decoder, section 2.3",
    ),
    Exercise(
        "gradient_check",
        "Write a gradient check yourself",
        ("check_gradient",),
        None,
        (complex_step_gradient,),
        "docs/gradient_checking.md, Why the complex step",
    ),
    Exercise(
        "whole_model",
        "The whole model, trained with your own functions",
        ("clipped",),
        cases.clip,
        (optimizers.clip_by_global_norm,),
        "Pascanu, Mikolov and Bengio (2013), On the difficulty of training recurrent neural networks, section 3.2",
    ),
)
BY_NAME = {exercise.name: exercise for exercise in EXERCISES}


def given(exercise: Exercise) -> dict[str, Any]:
    """The functions that the answer may call by name."""
    return {name: getattr(reference, name) for name in exercise.given}
