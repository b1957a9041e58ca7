"""Output tokens a second of greedy and beam search: ours, PyTorch and JAX.

    python -m benchmarks.search [--quick] [--peers torch jax]

Every side finds the same tokens as ours in float64 before it is timed. Writes results/search.json.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np

from benchmarks import results
from benchmarks.crew import CORES, Side
from benchmarks.measuring import time_sides, timed
from benchmarks.peers import Search
from benchmarks.problems import FIRST, SearchSize
from benchmarks.results import joined, ratios, short, spread, table, wrap
from benchmarks.sides import OURS, THREADS, WORKERS, fastest_peer, load, peer_sides, ranks_of
from numpy_attention import Seq2Seq
from numpy_attention.training.parallel import ALONE, Ranks, Together

NAME = "search"
SCALE = 1.5  # of the initial weights: outputs of every length, hardly two of them the same
COMPARED = 50  # sources whose output is compared in float64


FULL = SearchSize(sources=1000, length=20, V=30, E=64, width=128, max_length=40, beam_size=1)
TINY = SearchSize(sources=20, length=5, V=12, E=8, width=16, max_length=10, beam_size=1)


def main() -> None:
    parser = results.arguments(__doc__, rounds=11, quick_rounds=2)
    results.add_peers(parser, ["torch", "jax"])
    options = results.parse(parser)
    setting, turn = (TINY, 0.02) if options.quick else (FULL, 1.0)
    sides = [*([OURS, THREADS, WORKERS] if CORES > 1 else [OURS]), *peer_sides(options.peers)]

    def measure(setting: SearchSize) -> dict[str, Any]:
        found = time_sides(sides, "benchmarks.search:prepare", setting, options, turn)
        facts = {side: ranks[0] for side, ranks in found.ready.items()}
        return {
            "setting": setting._asdict(),
            "seconds": found.seconds,
            "left_out": found.left_out,
            **{key: {side: each[key] for side, each in facts.items()} for key in ("tokens", "ready", "same")},
        }

    cases = {"greedy": setting, "beam of 5": setting._replace(beam_size=5)}
    results.measure(NAME, options, cases, measure, rounds=options.rounds)


def prepare(desk: dict[str, Any], side: Side, setting: SearchSize) -> dict[str, float]:
    """Check the side against ours in float64, and make its search ready in float32.

    Number of output tokens, seconds until the first search was done, and share of the outputs that are ours in float32.
    """
    agreed = same(ours(setting, np.float64, COMPARED)(), make_search(desk, side, setting, np.float64, COMPARED)())
    if agreed < 1:
        raise ValueError(f"{side.name}: {1 - agreed:.0%} of the outputs differ from ours in float64")
    start = time.perf_counter()
    search = make_search(desk, side, setting, np.float32)
    outputs = search()
    seconds = time.perf_counter() - start
    desk["turn"] = partial(timed, search)
    tokens = output_tokens(outputs, setting.max_length)
    return {"tokens": tokens, "ready": seconds, "same": same(ours(setting, np.float32)(), outputs)}


def same(outputs: list[list[int]], others: list[list[int]]) -> float:
    """Share of the outputs that are the same."""
    return float(np.mean([list(one) == list(other) for one, other in zip(outputs, others, strict=True)]))


def output_tokens(outputs: Sequence[Sequence[int]], max_length: int) -> int:
    """Tokens written, EOS included; an output of the largest length has none."""
    return sum(min(len(output) + 1, max_length) for output in outputs)


def problem(setting: SearchSize, dtype: Any, count: int | None) -> tuple[Seq2Seq, dict[str, Any], list[list[int]]]:
    """A model with random parameters, and random sources."""
    model = Seq2Seq(setting.V, setting.V, setting.E, setting.width)
    params = {name: (SCALE * value).astype(dtype) for name, value in model.init(0).items()}
    sources = np.random.default_rng(0).integers(FIRST, setting.V, (setting.sources, setting.length)).tolist()
    return model, params, sources[:count]


def ours(setting: SearchSize, dtype: Any, count: int | None = None, ranks: Ranks = ALONE) -> Search:
    """Our search. Workers have a share of the sources each, and all get all outputs."""
    model, params, sources = problem(setting, dtype, count)
    keywords = {"beam_size": setting.beam_size, "max_length": setting.max_length}

    def search() -> list[list[int]]:
        mine = [found.tokens for found in model.translate(params, sources[ranks.rank :: ranks.size], **keywords)]
        outputs: list[list[int]] = [[] for _ in sources]
        for rank, share in enumerate(ranks.comm.allgather(mine) if isinstance(ranks, Together) else [mine]):
            outputs[rank :: ranks.size] = share
        return outputs

    return search


def make_search(desk: dict[str, Any], side: Side, setting: SearchSize, dtype: Any, count: int | None = None) -> Search:
    """The side's own search."""
    if side.kind == "ours":
        return ours(setting, dtype, count, ranks_of(desk))
    make = load(side).make_search
    if make is None:
        raise ValueError("it has no search")
    return make(*problem(setting, dtype, count), setting.beam_size, setting.max_length)


def section(figures: dict[str, Any]) -> str:
    """The section of the page."""
    setting = SearchSize(**next(iter(figures["cases"].values()))["setting"])
    parts = []
    for name, found in figures["cases"].items():
        peer = fastest_peer(found["seconds"])
        rate = {side: [found["tokens"][side] / each for each in seconds] for side, seconds in found["seconds"].items()}
        rows = [
            [
                side,
                spread(rate[side]),
                spread(seconds, 1e3),
                spread(ratios(rate[side], rate[peer])) if peer else "",
                f"{100 * found['same'][side]:.1f} %",
                short(found["ready"][side]),
            ]
            for side, seconds in found["seconds"].items()
        ]
        head = ["side", "tokens a second", "ms", "by the fastest peer", "same", "s until the first was done"]
        parts += [f"### {name}", table(head, rows)]
    return joined(
        "## Search",
        wrap(
            f"Output tokens a second, EOS included, by `python -m benchmarks.search`: {setting.sources:,} sources of "
            f"{setting.length} tokens, V = {setting.V}, E = {setting.E}, H = D = A = {setting.width}, random "
            f"parameters, at most {setting.max_length} steps, float32, {figures['rounds']} rounds. The peers have all "
            f"{figures['cores']} cores, and what they prepare from the sources beforehand is not counted. Our workers "
            "have half of the sources each, and tell each other the outputs, which is counted. Each side "
            f"found our tokens in float64, for {COMPARED} of the sources; *same* is the share of its outputs that are "
            "ours in float32, where two tokens can be equally likely to all digits. *By the fastest peer* is above 1 "
            "for sides that are faster."
        ),
        *parts,
        results.left_out_text(figures["cases"]),
    )


if __name__ == "__main__":
    main()
