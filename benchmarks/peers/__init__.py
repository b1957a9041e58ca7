"""The peers that our train step and search are measured against: the same equations, parameters and batch elsewhere.

Each is written as a good user of its framework writes it to be fast on a CPU. A framework is imported only when its
peer is loaded, so that this registry works where none is installed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib import import_module
from importlib.util import find_spec
from typing import Any, NamedTuple

import numpy as np

from numpy_attention import Batch, Seq2Seq

Params = dict[str, Any]
Step = Callable[[], tuple[Any, dict[str, Any]]]
Search = Callable[[], list[list[int]]]


class Peer(NamedTuple):
    """What a benchmark calls.

    ``make_step`` gives a function that does one forward and backward to completion and returns loss and gradients,
    ``make_search`` one that translates all sources and returns the token ids of the best output of each.
    """

    make_step: Callable[[Seq2Seq, Params, Batch], Step]
    make_search: Callable[[Seq2Seq, Params, Sequence[Sequence[int]], int, int], Search] | None
    set_threads: Callable[[int], None] | None  # None: by environment variables, before the import


class Entry(NamedTuple):
    """Where a peer is found."""

    name: str
    package: str  # what must be importable
    module: str


PEERS = {
    "torch": Entry("PyTorch eager", "torch", "pytorch_model"),
    "compile": Entry("PyTorch compile", "torch", "compiled_model"),
    "jax": Entry("JAX jit", "jax", "jax_model"),
    "autograd": Entry("HIPS autograd", "autograd", "autograd_model"),
}


def installed(key: str) -> bool:
    """Whether the framework of a peer can be imported."""
    return find_spec(PEERS[key].package) is not None


def load_peer(key: str) -> Peer:
    """Import a peer, and its framework with it.

    Parameters
    ----------
    key : str
        One of ``PEERS``.

    Returns
    -------
    Peer
    """
    loaded = import_module(f"{__name__}.{PEERS[key].module}")
    optional = (getattr(loaded, each, None) for each in ("make_search", "set_threads"))
    return Peer(loaded.make_step, *optional)


def require_agreement(model: Seq2Seq, params: Params, batch: Batch, step: Step, tolerance: float = 1e-10) -> None:
    """Raise unless a peer's loss and every gradient are ours: what computes something else is not worth timing.

    Parameters
    ----------
    model : Seq2Seq
    params : dict of arrays
        The peer's too; in float64, or with a tolerance that suits float32.
    batch : Batch
    step : callable
        From the peer's ``make_step``.
    tolerance : float
        Largest absolute difference.

    Raises
    ------
    SystemExit
        In one line: what differs, and by how much.
    """
    loss, gradients = model.loss_and_gradients(params, batch)
    their_loss, their_gradients = step()
    if their_gradients.keys() != gradients.keys():
        names = ", ".join(sorted(their_gradients.keys() ^ gradients.keys()))
        raise SystemExit(f"{names}: only one of the two sides has a gradient, so there is nothing to time")
    pairs = {"the loss": (loss, their_loss)} | {name: (gradients[name], their_gradients[name]) for name in gradients}
    for name, (ours, theirs) in pairs.items():
        ours, theirs = np.asarray(ours), np.asarray(theirs)
        if ours.shape != theirs.shape:
            raise SystemExit(f"{name}: shapes {ours.shape} and {theirs.shape}, so there is nothing to time")
        error = float(np.abs(ours - theirs).max())
        if not error <= tolerance:
            raise SystemExit(f"{name}: the two sides differ by {error:.1e}, so there is nothing to time")
