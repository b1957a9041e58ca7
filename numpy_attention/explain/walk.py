"""One target step as text: every stage with its equation and its numbers, forward and then backward, in 80 columns."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from html import escape
from typing import Any

import numpy as np

from .._checks import check_choice, check_size
from .._text import brief, printable
from .._typing import Array
from ..superhighway.profile import norm
from ..superhighway.study import double
from ..views.terminal import columns, filled, shortened
from .sentence import Sentence
from .stages import Stage, stages
from .step import Step, step_of

WIDTH = 80
INDENT = 4
NAME = 8  # columns of a name in the head
WORD = 12  # of a word in a table
BAR = 12  # of a bar
ENTRIES = 4  # of a vector or a state
TOP = 5  # words of the readout
LANES = {"context": "█", "key": "▓", "bridge": "▒", "recurrent": "░"}


@dataclass(frozen=True, eq=False, repr=False)
class Explanation:
    """One step of a model, forward and backward: ``str`` of it is the walk as text, ``repr`` one line.

    Attributes
    ----------
    sentence : Sentence
    u : int
        Number of the target step, from 1.

    Raises
    ------
    ValueError
        If the sentence has no such step.
    """

    sentence: Sentence
    u: int = 1

    def __post_init__(self) -> None:
        check_size("step", self.u, most=len(self.sentence.written))

    def __repr__(self) -> str:
        source, target = (brief(" ".join(words)) for words in (self.sentence.source.words, self.sentence.written))
        return f"Explanation({source} -> {target}, step {self.u} of {len(self.sentence.written)})"

    @cached_property
    def step(self) -> Step:
        """The numbers, in double precision."""
        run = self.sentence.run
        return step_of(run.model, double(run.params), self.sentence.batch, self.u)

    def __str__(self) -> str:
        blocks, backward = ["\n".join(_head(self))], None
        for stage in stages(self.sentence.run.model):
            if stage.backward != backward:
                backward = stage.backward
                blocks.append("BACKWARD: gradients of the loss L" if backward else "FORWARD")
            blocks.append(self._told(stage))
        return "\n\n".join(blocks)

    def _repr_html_(self) -> str:
        """The page, for a notebook; the walk as text if there is none."""
        from .page import framed

        try:
            return framed(self.sentence)
        except ValueError as error:
            return f"<p>{escape(str(error))}</p><pre>{escape(str(self))}</pre>"

    def stage(self, key: str) -> str:
        """One stage alone, such as ``"alpha"``, the attention weights.

        Parameters
        ----------
        key : str
            h, s_0, keys, query, e, alpha, c, s, logits, loss, and backward dlogits, ds, dc, dalpha, de, dquery,
            ds_before, dh.

        Raises
        ------
        ValueError
            If the model has no such stage.
        """
        found = {stage.key: stage for stage in stages(self.sentence.run.model)}
        check_choice("key", key, found)
        return self._told(found[key])

    def _told(self, stage: Stage) -> str:
        """A stage: its title, equation, what it is for, and its numbers."""
        equation = _filled(_at(stage.equation, self.u), 2 * INDENT)
        lines = [stage.title, *equation, *_filled(stage.about), *NUMBERS[stage.key](self)]
        return "\n".join(line.rstrip() for line in lines)


def _head(told: Explanation) -> Iterator[str]:
    """What is explained."""
    sentence, u, model = told.sentence, told.u, told.sentence.run.model
    yield from _named("source", sentence.source.words, "")
    yield from _named("target", sentence.written, f"({sentence.origin})")
    if sentence.unknown:
        yield from _named("unknown", sentence.unknown, "(read as <unk>)")
    directions = ", both directions" if model.bidirectional else ""
    updates = f"{sentence.run.step:,} updates"
    yield f"{'model':{NAME}}alignment {model.alignment}, cell {model.cell}{directions}, {updates}"
    if model.alignment == "none":
        yield f"{'':{NAME}}without attention there are no keys, query, scores, weights and context"
    if model.cell == "lstm":
        yield f"{'':{NAME}}of the LSTM's states [h ; c] the h is shown"
    reads, writes = (_label(words[u - 1]) for words in (sentence.read, sentence.written))
    yield ""
    yield f"Step u = {u} of {len(sentence.written)}: the decoder reads {reads} and should write {writes}."


def _states(values: Array, told: Explanation) -> Iterator[str]:
    """A table of the first entries of a vector at each source position."""
    first = values[:, :ENTRIES]
    yield _row("t", "word", *(f"[{number}]" for number in range(first.shape[1])), "norm")
    for t, (word, entries, size) in enumerate(zip(told.sentence.source.words, first, norm(values), strict=True)):
        yield _row(t + 1, word, *entries, size)


def _scalars(name: str, values: Array, told: Explanation, bars: bool = False) -> Iterator[str]:
    """A table of one number at each source position."""
    yield _row("t", "word", name)
    for t, (word, value) in enumerate(zip(told.sentence.source.words, values, strict=True), start=1):
        yield _row(t, word, f"{value:.4f}" if bars else value, bar="█" * round(BAR * float(value)) if bars else "")


def _logits(told: Explanation) -> Iterator[str]:
    """A table of the likeliest words."""
    step = told.step
    yield _row("", "word", "logit", "softmax")
    for token, word, mark in _likeliest(told):
        yield _row("", word, step.logits[token], f"{step.p[token]:.4f}", bar=mark)


def _dlogits(told: Explanation) -> Iterator[str]:
    """The same words, and the gradients of their logits."""
    yield _row("", "word", "dL/dlogit")
    for token, word, mark in _likeliest(told):
        yield _row("", word, told.step.dlogits[token], bar=mark)


def _likeliest(told: Explanation) -> Iterator[tuple[int, str, str]]:
    """Token, word and mark of the likeliest words, and of the one that should be written."""
    right = int(told.sentence.batch.target_output[0, told.u - 1])
    order = np.argsort(-told.step.logits, kind="stable")[:TOP].tolist()
    for token in order if right in order else [*order[:-1], right]:
        yield token, told.sentence.run.target_vocabulary.words[token], "<- y" * (token == right)


def _loss(told: Explanation) -> Iterator[str]:
    step, U = told.step, len(told.sentence.written)
    mean = f"L, the mean of all {U} steps: {_number(step.mean_loss)}"
    yield f"{'':{INDENT}}step {told.u}: {_number(step.loss)}     {mean}"


def _ds(told: Explanation) -> Iterator[str]:
    step = told.step
    yield _vector(step.ds)
    if told.u < len(told.sentence.written):
        yield _parts("from the readout", step.ds_readout, f"from step {told.u + 1}", step.ds - step.ds_readout)
    else:
        yield f"{'':{INDENT}}It is the last step: nothing comes back from later ones."


def _ds_before(told: Explanation) -> Iterator[str]:
    step, look = told.step, told.step.look
    yield _vector(step.ds_before if look is None else step.ds_before + look.ds_before)
    if look is not None:
        yield _parts("through the cell", step.ds_before, "through the scores", look.ds_before)


def _dh(told: Explanation) -> Iterator[str]:
    """A table of the gradient that arrives at every encoder state, by path."""
    paths = told.step.paths
    shown = [name for name in LANES if told.step.look or name in ("bridge", "recurrent")]
    norms = np.stack([norm(getattr(paths, name)[0]) for name in shown], axis=1)  # (T, paths)
    longest = norms.sum(axis=1).max() or 1
    yield _row("t", "norms", *shown, "dL/dh_t")
    for t, (word, each, total) in enumerate(zip(told.sentence.source.words, norms, norm(paths.total[0]), strict=True)):
        ends = np.round(np.cumsum(each) / longest * BAR).astype(int)
        bar = "".join(LANES[name] * count for name, count in zip(shown, np.diff(ends, prepend=0), strict=True))
        yield _row(t + 1, word, *each, total, bar=bar)
    yield f"{'':{INDENT}}{', '.join(f'{LANES[name]} {name}' for name in shown)}: shares of the sum of the norms"


def _look(name: str, told: Explanation) -> Array:
    """An array of the attention at this step."""
    found: Array = getattr(told.step.look, name)
    return found


# The numbers of each stage, by its key.
NUMBERS: dict[str, Callable[[Explanation], Iterator[str]]] = {
    "h": lambda told: _states(told.step.h, told),
    "s_0": lambda told: iter([_vector(told.step.s_0)]),
    "keys": lambda told: _states(_look("keys", told), told),
    "query": lambda told: iter([_vector(_look("query", told))]),
    "e": lambda told: _scalars("e", _look("e", told), told),
    "alpha": lambda told: _scalars("alpha", _look("alpha", told), told, bars=True),
    "c": lambda told: iter([_vector(_look("c", told))]),
    "s": lambda told: iter([_vector(told.step.s)]),
    "logits": _logits,
    "loss": _loss,
    "dlogits": _dlogits,
    "ds": _ds,
    "dc": lambda told: iter([_vector(_look("dc", told))]),
    "dalpha": lambda told: _scalars("dL/dalpha", _look("dalpha", told), told),
    "de": lambda told: _scalars("dL/de", _look("de", told), told),
    "dquery": lambda told: iter([_vector(_look("dquery", told))]),
    "ds_before": _ds_before,
    "dh": _dh,
}


def _at(equation: str, u: int) -> str:
    """An equation with the number of the step in place of u.

    Examples
    --------
    >>> _at("e_{u,t} = s_{u-1} . h_t, and step u + 1", 3)
    'e_{3,t} = s_2 . h_t, and step 4'
    """
    equation = equation.replace("_{u-1}", f"_{u - 1}").replace("u + 1", str(u + 1))
    return re.sub(r"(?<=_\{)u(?=,)|(?<=_)u\b|(?<=step )u\b", str(u), equation)


def _row(t: int | str, word: str, *cells: str | float, bar: str = "") -> str:
    """A row of a table: its place, a word, columns of ten characters, a bar."""
    texts = (cell if isinstance(cell, str) else _number(cell) for cell in cells)
    shown = printable(word)
    most = WORD
    while columns(shown) > WORD:  # letters of the wide scripts take two columns
        shown, most = shortened(printable(word), most), most - 1
    return f"{t!s:>{INDENT}} {filled(shown, WORD)}" + "".join(f"{text:>10}" for text in texts) + f" {bar}"


def _vector(values: Array) -> str:
    """The first entries of a vector, and its norm."""
    entries = "".join(f"{_number(value):>10}" for value in values[:ENTRIES])
    rest = f" ... {len(values)} in all" if len(values) > ENTRIES else ""
    return f"{'':{INDENT}}[{entries}{rest} ]  norm {_number(norm(values))}"


def _parts(first: str, one: Array, second: str, other: Array) -> str:
    """The norms of two vectors that add up to one."""
    return f"{'':{INDENT}}norms: {first} {_number(norm(one))}, {second} {_number(norm(other))}"


def _number(value: Any) -> str:
    """A number in at most nine columns."""
    if value == 0:
        return "0"
    return f"{value:.4f}" if 0.01 <= abs(value) < 1000 else f"{value:.2e}"


def _filled(text: str, further: int = INDENT) -> list[str]:
    """Text in lines, indented, those after the first by ``further``."""
    return textwrap.wrap(text, WIDTH, initial_indent=" " * INDENT, subsequent_indent=" " * further)


def _named(name: str, words: Sequence[str], note: str) -> Iterator[str]:
    """A name, words and a note on them, in as many lines as they take."""
    line = ""
    for word in filter(None, [*map(_label, words), note]):
        if line and columns(line) + 1 + columns(word) > WIDTH - NAME:
            yield f"{name:{NAME}}{line}"
            name, line = "", ""
        line = f"{line} {word}" if line else word
    yield f"{name:{NAME}}{line}"


def _label(word: str) -> str:
    """A word from outside, safe to print."""
    return shortened(printable(word), WIDTH // 2 - NAME)
