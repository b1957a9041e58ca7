"""Batch: ragged sequences of token ids, padded into arrays with masks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any

import numpy as np

from .._checks import check_size, is_plain
from .._text import brief
from .._typing import Array

PAD, BOS, EOS = 0, 1, 2
LARGEST = 1 << 31  # no token id is as large as this


@dataclass(frozen=True, eq=False, repr=False)
class Batch:
    """Source and target sequences, padded to a common length.

    Its arrays are copies that cannot be written to, so that what was checked stays true.

    Attributes
    ----------
    source : (B, T) int array
        Source tokens, PAD past the end.
    source_mask : (B, T) bool array
        True at the real tokens, which come first; every row has at least one.
    target_input : (B, U) int array
        Input of the decoder: BOS, then the target.
    target_output : (B, U) int array
        Right output of the decoder: the target, then EOS.
    target_mask : (B, U) bool array
        True where a target token counts in the loss. Any pattern is allowed.

    Raises
    ------
    ValueError
        If an array has the wrong shape or dtype, a token id is negative, or a source has no real token or one
        after a padded position.

    Examples
    --------
    >>> batch = Batch.from_sequences([[5, 6, 7], [8]], [[7], [8, 9]])
    >>> batch.source
    array([[5, 6, 7],
           [8, 0, 0]])
    >>> batch.target_output
    array([[7, 2, 0],
           [8, 9, 2]])
    """

    source: Array
    source_mask: Array
    target_input: Array
    target_output: Array
    target_mask: Array

    def __post_init__(self) -> None:
        _check_side("source", self.source, "source_mask", self.source_mask)
        _check_side("target_input", self.target_input, "target_mask", self.target_mask)
        _check_side("target_output", self.target_output, "target_mask", self.target_mask)
        if len(self.source) != len(self.target_input):
            raise ValueError(
                f"target_input: expected as many sequences as source has ({len(self.source)}), "
                f"got {len(self.target_input)}"
            )
        if not self.target_input.shape[1]:
            raise ValueError("target_input: expected at least one column, for BOS, got none")
        lengths = self.source_mask.sum(axis=1)
        if not len(lengths):
            raise ValueError("source: expected at least one sequence, got none")
        if not lengths.all():
            raise ValueError(f"source_mask: row {int(np.argmin(lengths))} has no real token, every source needs one")
        if (self.source_mask != prefix_mask(lengths, self.source.shape[1])).any():
            raise ValueError("source_mask: expected the real tokens first in every row, got one after padding")
        for field in fields(self):
            array = np.array(getattr(self, field.name))
            array.flags.writeable = False
            object.__setattr__(self, field.name, array)

    def __repr__(self) -> str:
        B, T = self.source.shape
        U = self.target_input.shape[1]
        return f"Batch(B={B}, T={T}, U={U}, {self.source_mask.sum()} source and {self.token_count} target tokens)"

    @classmethod
    def from_sequences(cls, sources: Sequence[Sequence[int]], targets: Sequence[Sequence[int]]) -> Batch:
        """Pad lists of token ids. BOS is put before and EOS after each target; sources are used as given.

        Any order will do. With the longest target first, the decoder takes no step past a target's end.

        Parameters
        ----------
        sources, targets : sequences of B sequences of token ids
            Ragged. A source needs at least one token, a target may be empty.

        Returns
        -------
        Batch
            With U one more than the length of the longest target, for EOS.

        Raises
        ------
        ValueError
            If there are no sequences, their numbers differ, a source is empty, or a token is no token id.
        """
        source, lengths = pad("sources", sources)
        if not lengths.all():
            raise ValueError(f"sources: sequence {int(np.argmin(lengths))} is empty, every source needs one token")
        target, target_lengths = pad("targets", targets)
        if len(source) != len(target):
            raise ValueError(f"targets: expected as many sequences as sources has ({len(source)}), got {len(target)}")
        target_output = np.pad(target, ((0, 0), (0, 1)), constant_values=PAD)
        target_output[np.arange(len(target)), target_lengths] = EOS
        return cls(
            source=source,
            source_mask=prefix_mask(lengths, source.shape[1]),
            target_input=np.pad(target, ((0, 0), (1, 0)), constant_values=BOS),
            target_output=target_output,
            target_mask=prefix_mask(target_lengths + 1, target_output.shape[1]),
        )

    @property
    def token_count(self) -> int:
        """Number of target tokens that count in the loss, which is their mean."""
        return int(self.target_mask.sum())

    @cached_property
    def live(self) -> list[int]:
        """With how many sequences each step of the decoder is made: up to the last one whose target goes on.

        With the longest target first, no step is taken past a target's end.
        """
        return live_sequences(self.target_mask)

    def part(self, number: int, parts: int) -> Batch:
        """Every ``parts``-th sequence from ``number`` on, without the columns in which all of them are padded.

        With the ``token_count`` of the whole batch, the losses of all parts sum to the loss of the batch, and so do
        their gradients. If there are more parts than sequences, each superfluous part holds the first sequence with an
        empty target mask: its loss and gradients are zero.

        Parameters
        ----------
        number : int
            From 0.
        parts : int

        Returns
        -------
        Batch

        Raises
        ------
        ValueError
            If ``number`` is not at least 0 and below ``parts``.

        Examples
        --------
        >>> batch = Batch.from_sequences([[5, 6, 7], [8], [9, 4]], [[7], [8, 9], []])
        >>> [batch.part(number, 2).source.tolist() for number in range(2)]
        [[[5, 6, 7], [9, 4, 0]], [[8]]]
        >>> [batch.part(number, 4).token_count for number in range(4)]
        [2, 3, 1, 0]
        """
        check_size("parts", parts)
        check_size("number", number, least=0, most=parts - 1)
        if parts == 1:
            return self
        rows = rows_of_part(number, parts, len(self.source))
        target_mask = self.target_mask[rows] & (number < len(self.source))
        source, target = slice(_width(self.source_mask[rows])), slice(_width(target_mask))
        return Batch(
            self.source[rows, source],
            self.source_mask[rows, source],
            self.target_input[rows, target],
            self.target_output[rows, target],
            target_mask[:, target],
        )


def rows_of_part(number: int, parts: int, rows: int) -> slice:
    """Rows of a batch that :meth:`Batch.part` takes.

    Sequences of similar length are neighbours in a batch, so that every part gets short and long ones.
    """
    return slice(number, None, parts) if number < rows else slice(1)


def pad(name: str, sequences: Sequence[Sequence[int]]) -> tuple[Array, Array]:
    """Pad ragged sequences of token ids into one array.

    Parameters
    ----------
    name : str
        Name of the sequences in an error.
    sequences : sequence of B sequences of int

    Returns
    -------
    tokens : (B, T) int array
        PAD after the end of each sequence.
    lengths : (B,) int array

    Raises
    ------
    ValueError
        If there are no sequences, or one holds anything but whole numbers of at least 0.

    Examples
    --------
    >>> pad("sources", [[3, 4], [5]])
    (array([[3, 4],
           [5, 0]]), array([2, 1]))
    """
    lengths = check_sequences(name, sequences)
    if not len(lengths):
        raise ValueError(f"{name}: expected at least one sequence, got none")
    return padded(sequences, lengths), lengths


def padded(sequences: Sequence[Sequence[int]], lengths: Array) -> Array:
    """The sequences of :func:`pad`, whose lengths are known, as (B, T) tokens."""
    tokens = np.full((len(sequences), lengths.max()), PAD)
    tokens[prefix_mask(lengths, tokens.shape[1])] = [token for sequence in sequences for token in sequence]
    return tokens


def check_sequences(name: str, sequences: Sequence[Sequence[int]]) -> Array:
    """Lengths of sequences of token ids, (B,); ValueError if one holds anything but whole numbers of at least 0."""
    if not _is_sequence(sequences):
        raise ValueError(f"{name}: expected a list of sequences of token ids, got {brief(sequences)}")
    for number, sequence in enumerate(sequences):
        if not _is_sequence(sequence):
            raise ValueError(f"{name}: expected sequences of whole numbers, got {brief(sequence)} as sequence {number}")
    ids = [token for sequence in sequences for token in sequence]
    if not all(map(_is_whole, set(map(type, ids)))):
        number = next(k for k, each in enumerate(sequences) if not all(map(_is_whole, map(type, each))))
        raise ValueError(
            f"{name}: expected sequences of whole numbers, got {brief(sequences[number])} as sequence {number}"
        )
    if ids and not 0 <= min(ids) <= max(ids) < LARGEST:
        wrong = min(ids) if min(ids) < 0 else max(ids)
        raise ValueError(f"{name}: expected token ids of at least 0 and below {LARGEST:,}, got {brief(wrong)}")
    return np.array([len(sequence) for sequence in sequences], dtype=int)


def _is_sequence(value: Any) -> bool:
    if isinstance(value, np.ndarray):
        return value.ndim > 0
    return isinstance(value, Sequence) and not isinstance(value, (str, bytes, bytearray))


def _is_whole(kind: type) -> bool:
    return issubclass(kind, (int, np.integer)) and not issubclass(kind, bool)


def prefix_mask(lengths: Array, width: int) -> Array:
    """Mask of real positions: True at the first ``lengths[b]`` of ``width`` positions of row b.

    Parameters
    ----------
    lengths : (B,) int array
    width : int

    Returns
    -------
    mask : (B, width) bool array

    Examples
    --------
    >>> import numpy as np
    >>> prefix_mask(np.array([2, 1]), 2)
    array([[ True,  True],
           [ True, False]])
    """
    mask: Array = np.arange(width) < lengths[:, None]
    return mask


def live_sequences(mask: Array) -> list[int]:
    """Of each step, the number of sequences up to the last that has a token there or later: at first B, at least 1.

    Parameters
    ----------
    mask : (B, U) bool array

    Returns
    -------
    live : list of U int

    Examples
    --------
    >>> import numpy as np
    >>> live_sequences(np.array([[True, True, True], [True, True, False], [True, False, False]]))
    [3, 2, 1]
    """
    goes_on = np.logical_or.accumulate(mask[:, ::-1], axis=1)[:, ::-1]
    numbers = np.arange(1, len(mask) + 1)[:, None]
    return [len(mask), *np.where(goes_on, numbers, 1).max(axis=0)[1:].tolist()]


def _width(mask: Array) -> int:
    """Number of columns up to the last with a True, at least 1."""
    return int(np.flatnonzero(mask.any(axis=0)).max(initial=0)) + 1


def _check_side(tokens_name: str, tokens: Array, mask_name: str, mask: Array) -> None:
    for name, array, kinds, expected in ((tokens_name, tokens, "iu", "integers"), (mask_name, mask, "b", "booleans")):
        if not is_plain(array) or array.ndim != 2 or array.dtype.kind not in kinds:
            got = f"{array.dtype} of shape {array.shape}" if is_plain(array) else type(array).__name__
            raise ValueError(f"{name}: expected a two-dimensional array of {expected}, got {got}")
    if tokens.shape != mask.shape:
        raise ValueError(f"{mask_name}: expected the shape of {tokens_name}, {tokens.shape}, got {mask.shape}")
    if tokens.size and tokens.min() < 0:
        raise ValueError(f"{tokens_name}: expected token ids of at least 0, got {tokens.min()}")
