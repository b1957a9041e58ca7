"""What the workers call: one forward and backward, ours or a peer's, checked before it is timed."""

from __future__ import annotations

import time
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import numpy as np

from benchmarks import peers
from benchmarks.crew import CORES, Side, mpiexec
from benchmarks.measuring import timed
from benchmarks.problems import Problem, Size, make_problem
from numpy_attention import Batch, Seq2Seq, memory_kept

OURS = Side("ours, 1 thread", "ours")
PEERS = {key: entry.name for key, entry in peers.PEERS.items()}
AGREEMENT = 1e-10  # in float64, of the loss and of every gradient
SINGLE = 1e-3  # in float32, relative to the largest entry: that what is timed is what was checked
CHECKED = 4  # sequences of the batch that is compared in float64

Step = Callable[[], tuple[Any, dict[str, Any]]]


def ours_step(model: Seq2Seq, params: dict[str, np.ndarray], batch: Batch, token_count: int | None = None, **keywords):
    """One forward and backward as the library does it by itself."""
    return model.loss_and_gradients(params, batch, token_count, **keywords)


def keep_memory(desk: dict[str, Any], side: Side) -> None:
    """Let this process keep what it frees, as ours does where it trains; for good, as it is this side's alone."""
    if side.kind == "ours" and "kept" not in desk:
        desk["kept"] = memory_kept()
        desk["kept"].__enter__()


class SharedStep:
    """Ours on several ranks: each takes its rows, and one Allreduce of one vector adds loss and gradients up."""

    def __init__(self, model: Seq2Seq, params: dict[str, np.ndarray]) -> None:
        from mpi4py import MPI

        self.comm, self.in_place = MPI.COMM_WORLD, MPI.IN_PLACE
        self.model, self.params = model, params
        sizes = [value.size for value in params.values()]
        dtype = next(iter(params.values())).dtype
        self.flat = np.empty(sum(sizes) + 1, dtype)  # the loss stands last
        parts = np.split(self.flat, np.cumsum(sizes))
        self.gradients = {name: part.reshape(params[name].shape) for name, part in zip(params, parts, strict=False)}

    def part(self, batch: Batch) -> Batch:
        """The sequences of this rank."""
        return batch.part(self.comm.rank, self.comm.size)

    def __call__(self, part: Batch, token_count: int) -> tuple[Any, dict[str, np.ndarray]]:
        """Loss and gradients of the whole batch, on every rank."""
        loss, gradients = ours_step(self.model, self.params, part, token_count)
        np.concatenate([*(gradients[name].reshape(-1) for name in self.params), [loss]], out=self.flat)
        self.comm.Allreduce(self.in_place, self.flat)
        return self.flat[-1], self.gradients


def training_sides(keys: list[str]) -> tuple[list[Side], dict[str, str]]:
    """Ours in three ways and the peers on all cores; and who is left out, with the reason."""
    sides = [
        OURS,
        Side(f"ours, {CORES} threads", "ours", CORES),
        Side("ours, 2 ranks", "ours", 1, 2, mpi=True),
    ]
    left_out = {}
    if CORES == 1:
        del sides[1]
    if mpiexec() is None or find_spec("mpi4py") is None:
        left_out[sides.pop().name] = "MPI is not installed"
    chosen, missing = peer_sides(keys)
    return sides + chosen, left_out | missing


def peer_sides(keys: list[str]) -> tuple[list[Side], dict[str, str]]:
    """The peers that are installed, and why the others are left out."""
    there = {key: peers.installed(key) for key in keys}
    sides = [Side(PEERS[key], key, CORES) for key in keys if there[key]]
    return sides, {PEERS[key]: "not installed" for key in keys if not there[key]}


def load(kind: str, threads: int) -> Any:
    """The peer, its pool set to so many threads where it can be told."""
    peer = peers.load_peer(kind)
    if peer.set_threads is not None:
        peer.set_threads(threads)
    return peer


def make_step(side: Side, problem: Problem) -> Step:
    """The side's own step of a problem."""
    model, params, batch = problem
    if side.kind != "ours":
        return load(side.kind, side.threads).make_step(model, params, batch)
    if side.mpi:
        shared, whole = SharedStep(model, params), batch.token_count
        part = shared.part(batch)
        return lambda: shared(part, whole)
    return lambda: ours_step(model, params, batch)


def prepare(desk: dict[str, Any], side: Side, size: Size) -> float:
    """Check the side against ours, and make its step ready; seconds that the latter took, compilation included."""
    keep_memory(desk, side)
    check(side, size)
    problem = make_problem(size)
    start = time.perf_counter()
    step = desk["step"] = make_step(side, problem)
    found = step()
    seconds = time.perf_counter() - start
    compare(side, found, problem.model.loss_and_gradients(problem.params, problem.batch), SINGLE, relative=True)
    return seconds


def check(side: Side, size: Size) -> None:
    """Raise unless loss and every gradient agree with ours in float64, on the size's first few sequences."""
    problem = make_problem(size, np.float64, sequences=CHECKED)
    expected = problem.model.loss_and_gradients(problem.params, problem.batch)
    compare(side, make_step(side, problem)(), expected, AGREEMENT)


def compare(side: Side, found: tuple[Any, Any], expected: tuple[Any, Any], allowed: float, relative: bool = False):
    """Raise unless the two agree, entry by entry."""
    (loss, gradients), (our_loss, ours) = found, expected
    if set(gradients) != set(ours):
        raise ValueError(f"{side.name}: other gradients than ours: {sorted(set(gradients) ^ set(ours))}")
    apart = {"the loss": abs(float(np.asarray(loss)) - float(our_loss)) / (abs(float(our_loss)) if relative else 1)}
    for name, value in ours.items():
        if np.shape(gradients[name]) != value.shape:
            raise ValueError(f"{side.name}: {name} has shape {np.shape(gradients[name])}, ours {value.shape}")
        scale = np.abs(value).max() if relative else 1.0
        apart[name] = float(np.abs(np.asarray(gradients[name]) - value).max()) / float(scale or 1.0)
    for name, error in apart.items():
        if not error <= allowed:
            raise ValueError(f"{side.name}: {name} differs from ours by {error:.1e}, so there is nothing to time")


def turn(desk: dict[str, Any], calls: int) -> float:
    """Seconds per step."""
    return timed(desk["step"], calls)
