"""``numpy-attention translate``: outputs of a trained model for your texts."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Iterator
from pathlib import Path

import tyro
from rich.console import Console

from ..run import WordTranslation, load_run
from ..run import plot_attention as draw
from ..views.terminal import LEGEND, attention_map


def translate_command(
    run: tyro.conf.Positional[Path],
    text: tyro.conf.Positional[tuple[str, ...]] = (),
    beam: int = 1,
    n_best: int | None = None,
    max_length: int | None = None,
    attention: bool = False,
    plot: Path | None = None,
    jsonl: bool = False,
) -> int:
    """Translate texts, or the lines of the standard input one by one.

    Parameters
    ----------
    run : Path
        Folder of a trained run.
    text : tuple of str
        Texts to translate; if none is given, the lines of the standard input.
    beam : int
        Width of the beam; 1 is greedy search.
    n_best : int, optional
        Number of outputs per text, shown with their scores.
    max_length : int, optional
        Longest output; by default twice the length of the text plus 10.
    attention : bool
        Also show the attention.
    plot : Path, optional
        File to draw the attention into, PNG or SVG; needs a single text.
    jsonl : bool
        Print each output as a line of JSON.
    """
    if plot is not None and (len(text) != 1 or plot.suffix.lower() not in (".png", ".svg")):
        raise ValueError(f"plot: expected one text and a file that ends in .png or .svg, got {len(text)} and {plot}")
    if plot is not None and not plot.parent.is_dir():
        raise ValueError(f"plot: expected a file in a folder that exists, got {plot}")
    trained = load_run(run)
    lines = iter(text) if text else _standard_input()
    for line in lines:
        if not line.strip() and not (line and trained.config.tokens == "characters"):
            print(flush=True)
            continue
        found = trained.translate(line, beam_size=max(beam, n_best or beam), n_best=n_best or 1, max_length=max_length)
        _warn(found[0])
        for each in found:
            print("\n".join(_shown(each, n_best is not None, attention, jsonl)), flush=True)
        if plot is not None:
            draw(found[0]).savefig(plot, dpi=150)
    return 0


def _shown(found: WordTranslation, scored: bool, attention: bool, jsonl: bool) -> Iterator[str]:
    """Lines of one output."""
    if jsonl:
        plain = {
            "source": found.source,
            "output": found.text,
            "words": found.words,
            "score": found.score,
            "finished": found.finished,
            "unknown": found.unknown,
        }
        if attention:
            plain["attention"] = None if found.attention is None else found.attention.astype(float).round(6).tolist()
        yield json.dumps(plain, ensure_ascii=False)
        return
    yield f"{found.score:9.4f}  {found.text}" if scored else found.text
    if attention and found.attention is not None:
        yield attention_map(found.attention, found.source, found.rows, Console().width)
        yield f"({LEGEND})"


def _standard_input() -> Iterator[str]:
    """Lines of the standard input, without line ends and byte-order mark."""
    if isinstance(sys.stdin, io.TextIOWrapper):
        sys.stdin.reconfigure(encoding="utf-8-sig", errors="strict")
    try:
        for line in sys.stdin:
            yield line.rstrip("\r\n")
    except UnicodeDecodeError as error:
        raise ValueError(f"standard input: expected UTF-8, {error}") from error


def _warn(found: WordTranslation) -> None:
    """Warn about words that are not in the vocabulary."""
    if found.unknown:
        words = ", ".join(dict.fromkeys(found.unknown))
        print(f"never seen in training, read as <unk>: {words}", file=sys.stderr, flush=True)
