"""Checks of what the model is handed: one line that names the argument, what was expected and what came."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from .._typing import Array
from ..data.batch import Batch, pad, prefix_mask

if TYPE_CHECKING:
    from .seq2seq import Seq2Seq

ALIGNMENTS = ("additive", "stacked", "dot", "none")
_REAL = (np.dtype(np.float32), np.dtype(np.float64))
_COMPLEX = np.dtype(np.complex128)


def check_model(model: Seq2Seq) -> None:
    """Raise ValueError unless the sizes are possible and the alignment is known."""
    for name in ("source_vocabulary", "target_vocabulary", "embedding_size", "hidden_size"):
        check_size(name, getattr(model, name))
    for name in ("encoder_size", "alignment_size"):
        if getattr(model, name) is not None:
            check_size(name, getattr(model, name))
    if model.target_vocabulary < 3:
        raise ValueError(f"target_vocabulary: expected at least 3, for PAD, BOS and EOS, got {model.target_vocabulary}")
    check_choice("alignment", model.alignment, ALIGNMENTS)
    check_flag("bidirectional", model.bidirectional)
    if model.alignment == "dot":
        width = (model.encoder_size or model.hidden_size) * (2 if model.bidirectional else 1)
        if width != model.hidden_size:
            raise ValueError(
                f'hidden_size: alignment "dot" needs a decoder state as wide as an annotation ({width}), '
                f"got {model.hidden_size}"
            )


def check_size(name: str, value: Any, least: int = 1) -> None:
    """Raise ValueError unless ``value`` is a whole number of at least ``least``."""
    if not isinstance(value, (int, np.integer)) or isinstance(value, bool) or value < least:
        raise ValueError(f"{name}: expected a whole number of at least {least}, got {value!r}")


def check_choice(name: str, value: Any, choices: Sequence[str]) -> None:
    """Raise ValueError unless ``value`` is one of ``choices``."""
    if not isinstance(value, str) or value not in choices:
        raise ValueError(f"{name}: expected one of {', '.join(choices)}, got {value!r}")


def check_flag(name: str, value: Any) -> None:
    """Raise ValueError unless ``value`` is True or False."""
    if not isinstance(value, (bool, np.bool_)):
        raise ValueError(f"{name}: expected True or False, got {value!r}")


def check_share(name: str, value: Any) -> None:
    """Raise ValueError unless ``value`` is a number of at least 0 and below 1."""
    if not isinstance(value, (int, float, np.floating)) or isinstance(value, bool) or not 0 <= value < 1:
        raise ValueError(f"{name}: expected a number of at least 0 and below 1, got {value!r}")


def check_params(shapes: Mapping[str, tuple[int, ...]], params: Mapping[str, Array]) -> None:
    """Raise ValueError unless ``params`` has exactly these names and shapes, and finite values of fitting dtypes."""
    if not isinstance(params, Mapping):
        raise ValueError(f"params: expected a dict of arrays, got {type(params).__name__}")
    for name, shape in shapes.items():
        if name not in params:
            raise ValueError(f"params: expected {name} of shape {shape}, it is missing")
        value = params[name]
        if not isinstance(value, np.ndarray) or value.shape != shape:
            got = f"shape {value.shape}" if isinstance(value, np.ndarray) else type(value).__name__
            raise ValueError(f"params: expected {name} of shape {shape}, got {got}")
    if len(params) > len(shapes):
        unknown = sorted(map(str, set(params) - set(shapes)))
        raise ValueError(f"params: expected the model's own parameters alone, got {', '.join(unknown)} as well")
    check_dtypes({name: value.dtype for name, value in params.items()})
    # x . x is finite only if every entry of x is, and is one fast product; an overflow is looked at again.
    with np.errstate(over="ignore", invalid="ignore"):
        squares = sum(np.vdot(value, value) for value in params.values())
    if np.isfinite(squares):
        return
    for name, value in params.items():
        finite = np.isfinite(value)
        if not finite.all():
            where = np.unravel_index(int(np.argmin(finite)), value.shape)
            index = ", ".join(map(str, where))
            raise ValueError(f"params: expected finite values, {name}[{index}] is {value[where]}")


def check_dtype(name: str, dtype: Any) -> None:
    """Raise ValueError unless ``dtype`` is, or names, float32, float64 or complex128."""
    try:
        check_dtypes({name: np.dtype(dtype)})
    except TypeError:
        raise ValueError(f"{name}: expected float32, float64 or complex128, got {dtype!r}") from None


def check_dtypes(dtypes: Mapping[str, np.dtype[Any]]) -> None:
    """Raise ValueError unless all are float32, float64 or complex128, and float32 does not meet float64."""
    for name, dtype in dtypes.items():
        if dtype not in _REAL and dtype != _COMPLEX:
            raise ValueError(f"{name}: expected dtype float32, float64 or complex128, got {dtype}")
    real = {dtype: name for name, dtype in dtypes.items() if dtype in _REAL}
    if len(real) > 1:
        single, double = (real[dtype] for dtype in _REAL)
        raise ValueError(f"params: expected one real dtype, got float32 ({single}) and float64 ({double})")


def check_real(params: Mapping[str, Array]) -> None:
    """Raise ValueError if a parameter is complex: search compares probabilities."""
    for name, value in params.items():
        if value.dtype == _COMPLEX:
            raise ValueError(f"params: search needs real parameters, {name} is {value.dtype}")


def check_batch(model: Seq2Seq, batch: Batch) -> None:
    """Raise ValueError if a token id of the batch is outside the model's vocabularies."""
    if not isinstance(batch, Batch):
        raise ValueError(f"batch: expected a Batch, got {type(batch).__name__}")
    _check_tokens("source", batch.source, model.source_vocabulary)
    _check_tokens("target", batch.target_input, model.target_vocabulary)
    _check_tokens("target", batch.target_output, model.target_vocabulary)


def check_sources(model: Seq2Seq, sources: Sequence[Sequence[int]]) -> tuple[Array, Array]:
    """Padded sources and their mask; raise ValueError if one is empty or outside the vocabulary."""
    source, lengths = pad("sources", sources)
    if not lengths.all():
        raise ValueError(f"sources: sequence {int(np.argmin(lengths))} is empty, every source needs one token")
    _check_tokens("sources", source, model.source_vocabulary)
    return source, prefix_mask(lengths, source.shape[1])


def _check_tokens(name: str, tokens: Array, vocabulary: int) -> None:
    if tokens.max(initial=0) >= vocabulary:
        row, position = np.unravel_index(int(np.argmax(tokens)), tokens.shape)
        raise ValueError(
            f"{name}: expected token ids below the vocabulary's size {vocabulary}, "
            f"got {tokens[row, position]} in sequence {row} at position {position}"
        )
