"""``numpy-attention translate``: outputs of a trained model for your texts."""

from __future__ import annotations

import io
import os
import stat
import sys
import warnings
from collections.abc import Iterable, Iterator
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Annotated, Any

from rich.console import Console

from .._checks import check_size
from .._json import to_json
from .._text import brief, printable
from ..data.pairs import SPLIT
from ..parts import MOST_WORKERS, PART, in_order
from ..run import Translator, WordTranslation, load_runs
from ..run import plot_attention as draw
from ..training.checkpoint import FILE
from ..views.terminal import LEGEND, attention_map
from .flags import Positional

PICTURES = (".png", ".svg", ".pdf")
Translated = tuple[list[str], list[WordTranslation], str | None]  # words of a text, its outputs, why there are none


def translate_command(
    run: Annotated[Path, Positional("RUN")],
    text: Annotated[tuple[str, ...], Positional("TEXT")] = (),
    beam: int = 1,
    n_best: int | None = None,
    max_length: int | None = None,
    attention: bool = False,
    plot: Path | None = None,
    jsonl: bool = False,
    workers: int | None = None,
) -> int:
    """Translate texts, or the lines of the standard input one by one.

    A line that cannot be translated gets an empty output, and an error with its number; the others go on. Several runs,
    one after the other, translate together: the probabilities of their next token are averaged.

    Parameters
    ----------
    run : Path
        Folder of a trained run.
    text : tuple of str
        Further runs, then texts to translate, each in quotes; if there is no text, the lines of the standard input.
    beam : int
        Width of the beam; 1 is greedy search.
    n_best : int, optional
        Number of outputs per text, at most the width of the beam. They are ordered by the score in front of them, the
        mean log-probability of a step.
    max_length : int, optional
        Longest output; by default twice the length of the text plus 10.
    attention : bool
        Also show the attention.
    plot : Path, optional
        File to draw the attention into, PNG, SVG or PDF; needs a single text.
    jsonl : bool
        Print each output as a line of JSON. docs/training.md lists its fields.
    workers : int, optional
        Processes that share the lines of a file; by default one for every core if that is faster. Lines that are typed,
        or that another program writes, are translated by one.
    """
    more, text = leading_runs(text)
    if text and len(text[0].split()) == 1 and "/" in text[0] and os.path.isdir(Path(text[0]).parent):
        # Meant as a run: it would be translated as a text otherwise.
        raise ValueError(f"run: expected the folder of a run, there is no {brief(text[0])}")
    if plot is not None and (len(text) != 1 or plot.suffix.lower() not in PICTURES):
        expected = f"one text and a file that ends in {', '.join(PICTURES)}"
        raise ValueError(f"plot: expected {expected}, got {len(text)} and {plot}")
    if plot is not None and (plot.is_dir() or not plot.parent.is_dir()):
        raise ValueError(f"plot: expected a file in a folder that exists, got {plot}")
    check_size("beam", beam)
    if workers is not None:
        check_size("workers", workers, most=MOST_WORKERS)
    outputs = 1 if n_best is None else n_best
    trained: Translator = load_runs([run, *more])
    trained.model.translate(trained.params, [], beam, n_best=outputs, max_length=max_length)  # checks the settings
    _advise(trained, text, attention, plot)
    kind = "text" if text else "line"
    settings = {"beam_size": beam, "n_best": outputs, "max_length": max_length}
    number, failed, seen = 0, 0, trained.lengths
    if len(text) == 1 and (plot is not None or text[0].strip()):
        trained.translate(list(SPLIT[trained.tokens](text[0])), max_length=1)  # says what is wrong with a single text
    results = _translated(trained, text or _standard_input(), settings, workers)
    for number, (source, found, error) in enumerate(results, start=1):
        place = f"{kind} {number}: " if len(text) != 1 else ""
        if error is not None:
            failed += 1
            _say(f"{place}{error}")
        if found and found[0].unknown:
            _say(f"{place}never seen in training, read as <unk>: {', '.join(dict.fromkeys(found[0].unknown))}")
        if found and seen and not seen[0] <= len(source) <= seen[1]:
            trained_on = f"{seen[0]} to {seen[1]}"
            _say(f"{place}length {len(source)} did not occur in training ({trained_on}); the output may be wrong")
            seen = None  # once is enough
        if jsonl:
            lines = _json_lines(number, source, found, attention, error)
        else:
            lines = _text_lines(found, n_best is not None, attention)
        for each in lines:
            print(each, flush=True)
        if plot is not None:
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always", UserWarning)  # a letter that no font has
                draw(found[0]).savefig(plot, dpi=150)
            for warning in dict.fromkeys(str(each.message) for each in caught):
                _say(f"plot: {warning}")
    if failed:
        raise ValueError(f"{failed:,} of {number:,} {kind}s could not be translated")
    return 0


def _translated(
    trained: Translator, texts: Iterable[str], settings: dict[str, Any], workers: int | None
) -> Iterator[Translated]:
    """What becomes of each text.

    The lines of a file are translated many at a time; those that somebody types, or another program writes, one by one.
    """
    size, workers = (PART, workers) if _is_file(sys.stdin) else (1, 1)
    trouble = list[ValueError]()
    for part in in_order(partial(_translate_part, trained, settings), _parts(texts, size, trouble), workers):
        yield from part
    if trouble:
        raise trouble[0]


def _parts(texts: Iterable[str], size: int, trouble: list[ValueError]) -> Iterator[list[str]]:
    """So many texts at a time. What ends them early is put into ``trouble``: the texts before come first."""
    texts = iter(texts)
    while not trouble:
        some = list[str]()
        try:
            some.extend(islice(texts, size))
        except ValueError as problem:
            trouble.append(problem)
        if not some:
            return
        yield some


def _translate_part(trained: Translator, settings: dict[str, Any], texts: list[str]) -> list[Translated]:
    """Translate texts together."""
    split, encode = SPLIT[trained.tokens], trained.source_vocabulary.encode
    sources, errors = [list(split(text)) for text in texts], dict[int, str]()
    for number, source in enumerate(sources):
        try:
            encode(source)
        except ValueError as problem:  # a word outside the vocabulary
            errors[number] = str(problem)
    possible = [number for number, source in enumerate(sources) if source and number not in errors]
    outputs = trained.translate_all([sources[number] for number in possible], **settings)
    found = dict(zip(possible, outputs, strict=True))
    return [(source, found.get(number, []), errors.get(number)) for number, source in enumerate(sources)]


def _is_file(stream: Any) -> bool:
    """True of a file on the disk, whose lines are all there."""
    try:
        return stat.S_ISREG(os.fstat(stream.fileno()).st_mode)
    except (AttributeError, OSError, ValueError):
        return False


def leading_runs(words: tuple[str, ...]) -> tuple[list[Path], tuple[str, ...]]:
    """The folders of runs at the beginning, and the rest."""
    count = next((number for number, word in enumerate(words) if not os.path.isfile(Path(word) / FILE)), len(words))
    return [Path(word) for word in words[:count]], words[count:]


def _advise(trained: Translator, text: tuple[str, ...], attention: bool, plot: Path | None) -> None:
    """Say what a user may not expect, before the first text is translated."""
    if not trained.has_attention:
        if plot is not None:
            raise ValueError("plot: expected a run with attention, got alignment none")
        if attention:
            _say("this run has no attention to show: its alignment is none")
    if trained.tokens == "words" and len(text) > 1 and all(len(each.split()) == 1 for each in text):
        _say(f"{len(text)} texts of one word each; if they are one text, put it in quotes: {brief(' '.join(text))}")
    if not text and sys.stdin is not None and sys.stdin.isatty():
        _say("one text a line; Ctrl-D ends")


def _text_lines(found: list[WordTranslation], scored: bool, attention: bool) -> Iterator[str]:
    """The outputs of one text, for people: an empty line if there is none."""
    if not found:
        yield ""
    for each in found:
        text = printable(each.text)
        yield f"{each.score_per_step:9.4f}  {text}" if scored else text
        if attention and each.attention is not None:
            yield attention_map(each.attention, each.source, each.rows, Console().width)
            yield f"({LEGEND})"


def _json_lines(
    number: int, source: list[str], found: list[WordTranslation], attention: bool, error: str | None
) -> Iterator[str]:
    """The outputs of one text as lines of JSON: one with an empty output if there is none."""
    for each in found or (None,):
        fields: dict[str, Any] = {
            "line": number,
            "source": source,
            "output": each.text if each else "",
            "words": each.words if each else [],
            "score": each and each.score,
            "score_per_step": each and each.score_per_step,
            "finished": each and each.finished,
            "unknown": each.unknown if each else [],
        }
        if attention:
            weights = each.attention if each else None
            fields["attention"] = None if weights is None else weights.astype(float).round(6)
        if error is not None:
            fields["error"] = error
        yield to_json(fields)


def _standard_input() -> Iterator[str]:
    """Lines of the standard input, without line ends and byte-order mark."""
    if sys.stdin is None:
        raise ValueError("standard input: expected lines of text, it is closed")
    if isinstance(sys.stdin, io.TextIOWrapper):
        sys.stdin.reconfigure(encoding="utf-8-sig", errors="strict")
    try:
        for line in sys.stdin:
            yield line.rstrip("\r\n")
    except UnicodeDecodeError as error:
        raise ValueError(f"standard input: expected UTF-8, {error}") from error


def _say(message: str) -> None:
    """Print a line to the standard error."""
    print(printable(message), file=sys.stderr, flush=True)
