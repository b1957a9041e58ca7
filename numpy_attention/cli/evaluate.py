"""``numpy-attention evaluate``: figures of a trained model on a file of pairs."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated

from rich.console import Console
from rich.table import Table
from rich.text import Text

from .._checks import check_size
from .._json import to_json
from .._text import printable
from ..data.pairs import JOIN, read_encoded
from ..run import load_run
from ..training.evaluation import judge
from .flags import Positional


def evaluate_command(
    run: Annotated[Path, Positional("RUN")],
    pairs: Annotated[Path, Positional("PAIRS")],
    beam: int = 1,
    worst: int = 5,
    json: Path | None = None,
) -> int:
    """Evaluate a trained model on a file of pairs.

    Parameters
    ----------
    run : Path
        Folder of a trained run.
    pairs : Path
        UTF-8 lines of source, tab, target.
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
    trained = load_run(run)
    tokens = trained.config.tokens
    read = read_encoded(pairs, tokens, trained.source_vocabulary, trained.target_vocabulary)
    unknown = trained.target_vocabulary.unknown
    found = judge(trained.model, trained.params, read, beam, unknown)
    shares = {"source": share_of(read.sources, unknown), "target": share_of(read.targets, unknown)}
    console = Console(highlight=False)
    console.print(f"exact match       {100 * found.exact_match:.2f} %  ({len(read.sources):,} pairs)")
    console.print(f"token error rate  {100 * found.token_error_rate:.2f} %")
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
    decode, join = trained.target_vocabulary.decode, JOIN[tokens]
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
            "perplexity": found.perplexity,
            "unknown": shares,
            "by_length": {length: {"pairs": n, "exact_match": right} for length, (n, right) in found.by_length.items()},
            "worst": shown,
        }
        json.write_text(to_json(plain, indent=1) + "\n", encoding="utf-8")
    return 0


def share_of(sequences: list[list[int]], unknown: int | None) -> float:
    """Share of the unknown token."""
    if unknown is None:
        return 0.0
    return sum(sequence.count(unknown) for sequence in sequences) / max(1, sum(map(len, sequences)))
