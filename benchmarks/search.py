"""Output tokens a second of greedy and beam search: ours, PyTorch and JAX.

    python -m benchmarks.search [--quick] [--peers torch jax]

Before anything is timed, every side gives the same tokens as ours in float64. Writes results/search.json.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.crew import CORES, Failed, Side, Worker
from benchmarks.measuring import calibrate, interleave, timed
from benchmarks.problems import FIRST, SearchSize
from benchmarks.results import add_peers, arguments, left_out_text, parse, ratios, save, short, spread, table, wrap
from benchmarks.sides import OURS, PEERS, keep_memory, load, peer_sides
from numpy_attention import Seq2Seq

NAME = "search"
TURN = "benchmarks.search:turn"
SCALE = 1.5  # of the initial weights: outputs of every length, hardly two of them the same
COMPARED = 50  # sources whose output is compared in float64
Search = Callable[[], list[list[int]]]


FULL = {"greedy": SearchSize(1000, 20, 30, 64, 128, 40, 1), "beam of 5": SearchSize(1000, 20, 30, 64, 128, 40, 5)}
QUICK = {"greedy": SearchSize(20, 5, 12, 8, 16, 10, 1), "beam of 5": SearchSize(20, 5, 12, 8, 16, 10, 5)}


def main() -> None:
    parser = arguments(__doc__, rounds=11)
    add_peers(parser, ["torch", "jax"])
    parser.add_argument("--limit", type=float, default=900.0, help="seconds that a side may take to get ready")
    options = parse(parser)
    settings = QUICK if options.quick else FULL
    seconds = 0.02 if options.quick else 1.0
    figures: dict[str, Any] = {"rounds": options.rounds, "cores": CORES, "settings": {}}
    for name, setting in settings.items():
        print(name, file=sys.stderr)
        found = measure(setting, options.peers, options.rounds, seconds, options.limit)
        figures["settings"][name] = {"setting": setting._asdict(), **found}
    save(NAME, figures, options.out)


def measure(setting: SearchSize, peers: list[str], rounds: int, seconds: float, limit: float) -> dict[str, Any]:
    """Seconds and output tokens of every side."""
    chosen, left_out = peer_sides(peers)
    ours = [OURS, Side(f"ours, {CORES} threads", "ours", CORES)][: 1 if CORES == 1 else 2]
    tokens, ready, same, calls, workers = {}, {}, {}, {}, {}
    with ExitStack() as stack:
        for side in ours + chosen:
            print(f"  {side.name} gets ready", file=sys.stderr)
            try:
                worker = stack.enter_context(Worker(side))
                found = worker.call("benchmarks.search:prepare", side, setting, limit=limit)[0]
                if found is None:
                    left_out[side.name] = "it has no search"
                    continue
                tokens[side.name], ready[side.name], same[side.name] = found
                calls[side.name] = calibrate(worker, seconds, TURN)
                workers[side.name] = worker
            except Failed as error:
                left_out[side.name] = str(error)
                print(f"  {side.name} is left out: {error}", file=sys.stderr)
        answers, lost = interleave(workers, calls, rounds, dict.fromkeys(workers, TURN))
    times = {name: [ranks[0] for ranks in each] for name, each in answers.items()}
    return {"seconds": times, "tokens": tokens, "ready": ready, "same": same, "left_out": left_out | lost}


def problem(
    setting: SearchSize, dtype: Any, count: int | None = None
) -> tuple[Seq2Seq, dict[str, Any], list[list[int]]]:
    """A model of random parameters, and random sources."""
    model = Seq2Seq(setting.V, setting.V, setting.E, setting.width)
    params = {name: (SCALE * value).astype(dtype) for name, value in model.init(0).items()}
    sources = np.random.default_rng(0).integers(FIRST, setting.V, (setting.sources, setting.length)).tolist()
    return model, params, sources[:count]


def make_search(side: Side, setting: SearchSize, dtype: Any, count: int | None = None) -> Search | None:
    """The side's own search; None where it has none."""
    model, params, sources = problem(setting, dtype, count)
    if side.kind == "ours":
        return lambda: translated(model, params, sources, setting)
    theirs = load(side.kind, side.threads).make_search
    return theirs and theirs(model, params, sources, setting.beam_size, setting.max_length)


def translated(
    model: Seq2Seq, params: dict[str, Any], sources: list[list[int]], setting: SearchSize
) -> list[list[int]]:
    """Ours."""
    found = model.translate(params, sources, beam_size=setting.beam_size, max_length=setting.max_length)
    return [translation.tokens for translation in found]


def prepare(desk: dict[str, Any], side: Side, setting: SearchSize) -> tuple[int, float, float] | None:
    """Check the side against ours in float64, and make its search ready in float32.

    Output tokens of a search, seconds until the first was done, and share of the outputs that are ours in float32.
    """
    keep_memory(desk, side)
    double = make_search(side, setting, np.float64, COMPARED)
    if double is None:
        return None
    expected = translated(*problem(setting, np.float64, COMPARED), setting)
    wrong = sum(list(mine) != list(their) for mine, their in zip(expected, double(), strict=True))
    if wrong:
        raise ValueError(f"{side.name}: {wrong} of {len(expected)} outputs differ from ours in float64")
    start = time.perf_counter()
    search = desk["search"] = make_search(side, setting, np.float32)
    assert search is not None
    outputs = search()
    seconds = time.perf_counter() - start
    ours = translated(*problem(setting, np.float32), setting)
    same = sum(list(mine) == list(their) for mine, their in zip(ours, outputs, strict=True)) / len(ours)
    return output_tokens(outputs, setting.max_length), seconds, same


def output_tokens(outputs: Sequence[Sequence[int]], max_length: int) -> int:
    """Tokens written, EOS included; an output of the largest length has none."""
    return sum(min(len(output) + 1, max_length) for output in outputs)


def turn(desk: dict[str, Any], calls: int) -> float:
    """Seconds of one search through all sources."""
    return timed(desk["search"], calls)


def fastest_peer(found: dict[str, Any]) -> str | None:
    """The peer of the smallest median."""
    peers = [name for name in found["seconds"] if name in PEERS.values()]
    return min(peers, key=lambda name: float(np.median(found["seconds"][name])), default=None)


def faster(found: dict[str, Any], name: str, peer: str) -> list[float]:
    """Tokens a second by the peer's, round by round."""
    share = found["tokens"][name] / found["tokens"][peer]
    return [share * ratio for ratio in ratios(found["seconds"][peer], found["seconds"][name])]


def summary(figures: dict[str, Any]) -> list[list[str]]:
    """Rows of the page's first table."""
    rows = []
    for name, found in figures["settings"].items():
        peer = fastest_peer(found)
        ours = [side for side in found["seconds"] if side.startswith("ours")]
        if peer and ours:
            best = min(ours, key=lambda side: float(np.median(found["seconds"][side])))
            rows.append([f"search, {name}: tokens a second, {best}, by {peer}", spread(faster(found, best, peer))])
    return rows


def section(figures: dict[str, Any], folder: Path) -> str:
    """The part of the page."""
    setting = SearchSize(**next(iter(figures["settings"].values()))["setting"])
    parts = [
        "## Search",
        wrap(
            f"Output tokens a second, EOS included, by `python -m benchmarks.search`: {setting.sources:,} sources of "
            f"{setting.length} tokens, V = {setting.V}, E = {setting.E}, H = D = A = {setting.width}, random "
            f"parameters, at most {setting.max_length} steps, float32, {figures['rounds']} rounds. The peers have all "
            f"{figures['cores']} cores, and what they make of the sources beforehand is not counted. Each side gave "
            f"our tokens in float64, for {COMPARED} of the sources; *same* is the share of its outputs that are ours "
            "in float32, where two tokens can be equally likely to all digits. *By the fastest peer* is above 1 where "
            "ours is faster."
        ),
    ]
    for name, found in figures["settings"].items():
        peer = fastest_peer(found)
        rows = []
        for side, seconds in found["seconds"].items():
            rate = [found["tokens"][side] / each for each in seconds]
            by_peer = spread(faster(found, side, peer)) if peer else ""
            same = f"{100 * found['same'][side]:.1f} %"
            rows.append([side, spread(rate), spread(seconds, 1e3), by_peer, same, short(found["ready"][side])])
        head = ["side", "tokens a second", "ms", "by the fastest peer", "same", "s until the first was done"]
        parts += [f"### {name}", table(head, rows), left_out_text(found["left_out"])]
    return "\n\n".join(part for part in parts if part)


if __name__ == "__main__":
    main()
