"""``numpy-attention evaluate``: figures of a trained model on a file of pairs."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from .._checks import check_size
from .._json import to_json
from .._text import brief, printable
from ..data.batch import PAD
from ..data.pairs import JOIN, read_encoded
from ..data.source import Pairs
from ..data.vocabulary import UNK
from ..parts import MOST_WORKERS
from ..run import Translator, load_runs
from ..training.evaluation import edit_distance, judge, without_unknown
from .flags import Positional
from .translate import leading_runs


def evaluate_command(
    run: Annotated[Path, Positional("RUN")],
    pairs: Annotated[tuple[str, ...], Positional("PAIRS")] = (),
    beam: int = 1,
    worst: int = 5,
    json: Path | None = None,
    workers: int | None = None,
) -> int:
    """Evaluate a trained model on a file of pairs.

    Several runs, one after the other, are evaluated together: the probabilities of their next token are averaged.

    Parameters
    ----------
    run : Path
        Folder of a trained run.
    pairs : tuple of str
        UTF-8 lines of source, tab, target; further runs may stand before them.
    beam : int
        Width of the beam; 1 is greedy search.
    worst : int
        Number of the worst outputs to show.
    json : Path, optional
        File to write all figures to as well.
    workers : int, optional
        Processes that share the pairs; by default one for every core if that is faster.
    """
    check_size("worst", worst, least=0)
    check_size("beam", beam)
    if workers is not None:
        check_size("workers", workers, most=MOST_WORKERS)
    if json is not None and (json.is_dir() or not json.parent.is_dir()):
        raise ValueError(f"json: expected a file in a folder that exists, got {json}")
    more, files = leading_runs(pairs)
    gone = next((name for name in files[:-1] if not os.path.exists(name)), None)
    if gone is not None:
        raise ValueError(f"run: expected the folder of a run, there is no {brief(gone)}")
    if len(files) != 1:
        got = ", ".join(map(brief, files)) or "none"
        raise ValueError(f"expected PAIRS: one file of UTF-8 lines of source, tab, target, got {got}")
    trained = load_runs([run, *more])
    read = read_encoded(files[0], trained.tokens, trained.source_vocabulary, trained.target_vocabulary)
    figures = _figures(trained, read, beam, worst, workers)
    shortest, longest = trained.lengths or (0, math.inf)
    outside = sum(not shortest <= len(source) <= longest for source in read.sources)
    _show(figures, trained.tokens, f"({shortest} to {longest})" if outside else "", outside)
    if json is not None:
        json.write_text(to_json(figures, indent=1) + "\n", encoding="utf-8")
    return 0


def _figures(trained: Translator, read: Pairs, beam: int, worst: int, workers: int | None) -> dict[str, Any]:
    """All figures, as the file of JSON holds them."""
    tokens, unknown = trained.tokens, trained.target_vocabulary.unknown
    found = judge(trained.model, trained.params, read, beam, unknown, workers)
    decode, join = trained.target_vocabulary.decode, JOIN[tokens]
    known = without_unknown(read.targets, unknown, PAD)  # an unknown word is never right, and no output has padding
    # Among characters each is one that no text has, as "<unk>" would be taken apart.
    stands = dict(zip(decode([PAD, UNK]), NO_TEXT, strict=True)) if tokens == "characters" else {}
    outputs, targets = (
        [join(stands.get(word, word) for word in decode(each)) for each in side]
        for side in ([output.tokens for output in found.outputs], known)
    )
    score = bleu(outputs, targets, tokens)
    return {
        "pairs": len(read.sources),
        "exact_match": found.exact_match,
        "token_error_rate": found.token_error_rate,
        "word_error_rate": found.token_error_rate if tokens == "words" else word_error_rate(outputs, targets),
        "bleu": None if score is None else {"score": score[0], "signature": score[1]},
        "perplexity": found.perplexity,
        "unknown": {"source": share_of(read.sources, unknown), "target": share_of(read.targets, unknown)},
        "by_length": {length: {"pairs": n, "exact_match": right} for length, (n, right) in found.by_length.items()},
        "worst": [
            {
                "source": join(trained.source_vocabulary.decode(read.sources[number])),
                "expected": join(decode(read.targets[number])),
                "produced": join(decode(found.outputs[number].tokens)),
                "token_errors": found.errors[number],
            }
            for number in found.worst[:worst]
        ],
    }


def _show(figures: dict[str, Any], tokens: str, trained_on: str, outside: int) -> None:
    """Print the figures. ``outside`` sources have lengths beside those that were ``trained_on``."""
    console, count = Console(highlight=False), figures["pairs"]

    def line(name: str, told: str) -> None:
        console.print(Text(f"{name:17} {told}"), soft_wrap=True)

    line("exact match", f"{100 * figures['exact_match']:.2f} %  ({count:,} pairs)")
    if tokens == "characters":  # of words, it is the word error rate
        line("char. error rate", f"{100 * figures['token_error_rate']:.2f} %")
    line("word error rate", f"{100 * figures['word_error_rate']:.2f} %")
    if figures["bleu"] is None:
        line("BLEU", "needs sacrebleu: pip install '.[bleu]' in the project's folder")
    else:
        line("BLEU", f"{figures['bleu']['score']:.2f}")
        line("  by sacrebleu", figures["bleu"]["signature"])
    line("perplexity", f"{figures['perplexity']:.4f}")
    if any(figures["unknown"].values()):
        told = " and ".join(f"{100 * share:.1f} % of the {side} tokens" for side, share in figures["unknown"].items())
        line("unknown", f"{told}; an output with an unknown target token is never right")
    if outside:
        line("lengths", f"{outside:,} of {count:,} sources have lengths that did not occur in training {trained_on}")
    table = Table("target length", "pairs", "exact match", box=None, padding=(0, 2, 0, 0), title_justify="left")
    for length, row in figures["by_length"].items():
        table.add_row(length, f"{row['pairs']:,}", f"{100 * row['exact_match']:.1f} %")
    console.print()
    console.print(table)
    if figures["worst"]:
        console.print("\nthe worst", style="bold")
    for example in figures["worst"]:
        for name, value in example.items():
            console.print(Text(f"  {name.replace('_', ' '):13}{printable(str(value))}"))
        console.print()


def word_error_rate(outputs: Sequence[str], targets: Sequence[str]) -> float:
    """Insertions, deletions and substitutions of words, per word of the targets."""
    pairs = [(output.split(), target.split()) for output, target in zip(outputs, targets, strict=True)]
    errors = sum(edit_distance(*pair) for pair in pairs)
    return errors / max(1, sum(len(target) for _, target in pairs))


def bleu(outputs: Sequence[str], targets: Sequence[str], tokens: str) -> tuple[float, str] | None:
    """BLEU of all outputs by sacrebleu, and its signature; None without sacrebleu.

    Words are compared as they are. Texts of characters are split into words by sacrebleu's own tokenizer.
    """
    try:
        from sacrebleu.metrics.bleu import BLEU
    except ModuleNotFoundError:
        return None
    metric = BLEU(tokenize="none" if tokens == "words" else "13a", force=True)
    return metric.corpus_score(list(outputs), [list(targets)]).score, str(metric.get_signature())


NO_TEXT = "\ufdd0", "\ufdd1"  # code points that stand for no character


def share_of(sequences: list[list[int]], unknown: int | None) -> float:
    """Share of the unknown token."""
    if unknown is None:
        return 0.0
    return sum(sequence.count(unknown) for sequence in sequences) / max(1, sum(map(len, sequences)))
