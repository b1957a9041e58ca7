"""``numpy-attention evaluate``: figures of a trained model on a file of pairs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from typing import Annotated

from rich.console import Console
from rich.table import Table
from rich.text import Text

from .._checks import check_size
from .._json import to_json
from .._text import brief, printable
from ..data.batch import PAD
from ..data.pairs import JOIN, read_encoded
from ..run import load_runs
from ..training.evaluation import edit_distance, judge, without_unknown
from .flags import Positional
from .translate import leading_runs

ERRORS = {"words": "word error rate", "characters": "char. error rate"}  # of a token, by what it is


def evaluate_command(
    run: Annotated[Path, Positional("RUN")],
    pairs: Annotated[tuple[str, ...], Positional("PAIRS")] = (),
    beam: int = 1,
    worst: int = 5,
    json: Path | None = None,
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
    """
    check_size("worst", worst, least=0)
    check_size("beam", beam)
    if json is not None and (json.is_dir() or not json.parent.is_dir()):
        raise ValueError(f"json: expected a file in a folder that exists, got {json}")
    more, files = leading_runs(pairs)
    gone = next((name for name in files[:-1] if not Path(name).exists()), None)
    if gone is not None:
        raise ValueError(f"run: expected the folder of a run, there is no {brief(gone)}")
    if len(files) != 1:
        got = ", ".join(map(brief, files)) or "none"
        raise ValueError(f"expected PAIRS: one file of UTF-8 lines of source, tab, target, got {got}")
    trained = load_runs([run, *more])
    tokens = trained.tokens
    read = read_encoded(files[0], tokens, trained.source_vocabulary, trained.target_vocabulary)
    unknown = trained.target_vocabulary.unknown
    found = judge(trained.model, trained.params, read, beam, unknown)
    shares = {"source": share_of(read.sources, unknown), "target": share_of(read.targets, unknown)}
    decode, join = trained.target_vocabulary.decode, JOIN[tokens]
    console = Console(highlight=False)
    console.print(f"exact match       {100 * found.exact_match:.2f} %  ({len(read.sources):,} pairs)")
    known = without_unknown(read.targets, unknown, PAD)  # an unknown word is never right, and no output has padding
    texts = [join(decode(output.tokens)) for output in found.outputs], [join(decode(target)) for target in known]
    rates = {ERRORS[tokens]: found.token_error_rate, "word error rate": word_error_rate(*texts)}
    if tokens == "words":  # the same, but for unknown words, which are never right
        rates = {"word error rate": found.token_error_rate}
    for name, rate in rates.items():
        console.print(f"{name:17} {100 * rate:.2f} %")
    score = bleu(*texts, tokens)
    told = "needs sacrebleu: pip install '.[bleu]' in the project's folder"
    console.print(Text(f"BLEU              {told if score is None else f'{score[0]:.2f}'}"), soft_wrap=True)
    if score is not None:
        console.print(Text(f"  by sacrebleu    {score[1]}"), soft_wrap=True)
    console.print(f"perplexity        {found.perplexity:.4f}")
    if any(shares.values()):
        told = " and ".join(f"{100 * share:.1f} % of the {side} tokens" for side, share in shares.items())
        console.print(f"unknown           {told}; an output with an unknown target token is never right")
    seen = trained.lengths
    shortest, longest = seen or (0, math.inf)
    outside = sum(not shortest <= len(source) <= longest for source in read.sources)
    if outside:
        never = f"lengths that never came in training ({shortest} to {longest})"
        console.print(f"lengths           {outside:,} of {len(read.sources):,} sources have {never}", soft_wrap=True)
    table = Table("target length", "pairs", "exact match", box=None, padding=(0, 2, 0, 0), title_justify="left")
    for length, (number, right) in found.by_length.items():
        table.add_row(length, f"{number:,}", f"{100 * right:.1f} %")
    console.print()
    console.print(table)
    shown = [
        {
            "source": join(trained.source_vocabulary.decode(read.sources[number])),
            "expected": join(decode(read.targets[number])),
            "produced": join(decode(found.outputs[number].tokens)),
            "token_errors": found.errors[number],
        }
        for number in found.worst[:worst]
    ]
    if shown:
        console.print("\nthe worst", style="bold")
    for example in shown:
        for name, value in example.items():
            console.print(Text(f"  {name.replace('_', ' '):13}{printable(str(value))}"))
        console.print()
    if json is not None:
        plain = {
            "pairs": len(read.sources),
            "exact_match": found.exact_match,
            "token_error_rate": found.token_error_rate,
            "word_error_rate": rates["word error rate"],
            "bleu": None if score is None else {"score": score[0], "signature": score[1]},
            "perplexity": found.perplexity,
            "unknown": shares,
            "by_length": {length: {"pairs": n, "exact_match": right} for length, (n, right) in found.by_length.items()},
            "worst": shown,
        }
        json.write_text(to_json(plain, indent=1) + "\n", encoding="utf-8")
    return 0


def word_error_rate(outputs: Sequence[str], targets: Sequence[str]) -> float:
    """Insertions, deletions and substitutions of words, per word of the targets."""
    pairs = [(output.split(), target.split()) for output, target in zip(outputs, targets, strict=True)]
    words: dict[str, int] = {}
    for word in chain.from_iterable(chain(*pairs)):
        words.setdefault(word, len(words))
    errors = sum(edit_distance(*([words[word] for word in side] for side in pair)) for pair in pairs)
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


def share_of(sequences: list[list[int]], unknown: int | None) -> float:
    """Share of the unknown token."""
    if unknown is None:
        return 0.0
    return sum(sequence.count(unknown) for sequence in sequences) / max(1, sum(map(len, sequences)))
