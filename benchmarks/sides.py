"""The sides of a comparison, and their training step: ours or a peer's, checked before it is timed."""

from __future__ import annotations

import math
import os
import socket
import time
from functools import partial
from typing import Any

import numpy as np

from benchmarks import floor, peers
from benchmarks.crew import CORES, TEAM, Side
from benchmarks.measuring import timed
from benchmarks.peers import Step, require_agreement
from benchmarks.problems import Problem, Size, make_problem
from numpy_attention import memory_kept
from numpy_attention.training.parallel import Ranks, Together, find_ranks
from numpy_attention.training.replays import Replays
from numpy_attention.training.step import batch_gradient, views
from numpy_attention.training.workers import Channel, Team

OURS, THREADS = Side("ours, 1 thread", "ours"), Side(f"ours, {CORES} threads", "ours", CORES)
WORKERS = Side("ours, 2 workers", "ours", 1, 2)
UNRECORDED = Side("ours, 1 thread, no record", "ours")  # without the records of numpy_attention.training.replays
ONE_CORE = "compile", "jax"  # peers that are measured on one core as well
PEERS = {key: entry.name for key, entry in peers.PEERS.items()}
AGREEMENT = 1e-10  # in float64, of the loss and of every gradient
SINGLE = 1e-3  # in float32, relative to the largest entry: what is timed is what was checked
CHECKED = 4  # sequences of the batch that is compared in float64


def peer_sides(keys: list[str]) -> list[Side]:
    """Peers, each with all cores, and some of them on one."""
    one = [Side(f"{PEERS[key]}, 1 core", key, 1, alone=True) for key in keys if key in ONE_CORE and CORES > 1]
    return [*(Side(PEERS[key], key, CORES) for key in keys), *one]


def fastest_peer(seconds: dict[str, list[float]], cores: str = "") -> str | None:
    """The peer of the smallest median, of those with all cores or (``cores`` is ", 1 core") on one."""
    there = [name for name in seconds if name in {f"{peer}{cores}" for peer in PEERS.values()}]
    return min(there, key=lambda name: float(np.median(seconds[name])), default=None)


def ranks_of(desk: dict[str, Any]) -> Ranks:
    """The ranks of our training, with memory kept, both as :func:`numpy_attention.train` has them."""
    if "ranks" not in desk:
        desk["stack"].enter_context(memory_kept())
        desk["ranks"] = meet(desk["rank"]) if TEAM in os.environ else desk["stack"].enter_context(find_ranks())
    ranks: Ranks = desk["ranks"]
    return ranks


def meet(rank: int) -> Ranks:
    """Two workers of our training, as it starts them itself, but with a socket in place of two pipes."""
    if rank:
        for _ in range(1000):
            try:
                end = socket.socket(socket.AF_UNIX)
                end.connect(os.environ[TEAM])
                break
            except OSError:
                time.sleep(0.01)
    else:
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(os.environ[TEAM])
        listener.listen()
        end, _ = listener.accept()
    number = end.detach()
    return Together(Team(rank, 2, [Channel(number, os.dup(number), "the other")]))


def load(side: Side) -> peers.Peer:
    """The peer, with as many threads as the side has."""
    peer = peers.load_peer(side.kind)
    if peer.set_threads is not None:
        peer.set_threads(side.threads)
    return peer


def make_step(desk: dict[str, Any], side: Side, problem: Problem, **keywords: Any) -> Step:
    """The side's training step of a problem; ours with keywords of ``loss_and_gradients``."""
    if side.kind == "ours":
        return our_step(*problem, ranks_of(desk), Replays(math.inf if side == UNRECORDED else 0), **keywords)
    return load(side).make_step(*problem)


def our_step(
    model: Any, params: peers.Params, batch: Any, ranks: Ranks, records: Replays | None = None, **keywords: Any
) -> Step:
    """One forward and backward, as training makes it.

    On several ranks each takes its part of the batch, and all gradients are added up.
    """
    part, token_count = batch.part(ranks.rank, ranks.size), batch.token_count
    records = Replays() if records is None else records
    settings = {"dropout": None, "label_smoothing": 0.0, "recompute": False, **keywords}

    def step() -> tuple[Any, peers.Params]:
        if ranks.size == 1:
            return records.loss_and_gradients(model, params, part, token_count, **settings)
        shared = {"token_count": token_count, "all_reduce": ranks.all_reduce, "replays": records}
        loss, gradient = batch_gradient(model, params, part, **shared, **settings)
        return loss, views(gradient, params)

    return step


def prepare(desk: dict[str, Any], side: Side, size: Size) -> float:
    """Check the side against ours in float64, and make its step ready in float32.

    Seconds until its first step was done, compilation included.
    """
    if side.kind == "floor":
        desk["turn"] = floor.make(size._replace(B=max(1, size.B // side.ranks)))
        return 0.0
    double = make_problem(size, np.float64, sequences=CHECKED)
    require_agreement(*double, make_step(desk, side, double), AGREEMENT)
    problem = make_problem(size)
    start = time.perf_counter()
    step = make_step(desk, side, problem)
    step()
    seconds = time.perf_counter() - start
    require_agreement(*problem, step, SINGLE, relative=True)
    desk["turn"] = partial(timed, step)
    return seconds
