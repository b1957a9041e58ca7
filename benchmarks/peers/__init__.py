"""The peers: our training step and search, with the same equations, parameters and batch, in other frameworks.

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
    """The functions of a peer.

    ``make_step`` returns a function that completes one forward and backward and returns loss and gradients,
    ``make_search`` one that translates all sources and returns the token ids of the best output of each.
    """

    make_step: Callable[[Seq2Seq, Params, Batch], Step]
    make_search: Callable[[Seq2Seq, Params, Sequence[Sequence[int]], int, int], Search] | None
    set_threads: Callable[[int], None] | None  # None: by environment variables, before the import


class Entry(NamedTuple):
    """Name and place of a peer."""

    name: str
    package: str  # must be importable
    module: str


PEERS = {
    "torch": Entry("PyTorch eager", "torch", "pytorch_model"),
    "compile": Entry("PyTorch compile", "torch", "compiled_model"),
    "jax": Entry("JAX jit", "jax", "jax_model"),
    "autograd": Entry("HIPS autograd", "autograd", "autograd_model"),
}


def installed(key: str) -> bool:
    """True if the framework of a peer can be imported."""
    return find_spec(PEERS[key].package) is not None


def load_peer(key: str) -> Peer:
    """Import the peer of a key of ``PEERS``, and its framework with it."""
    loaded = import_module(f"{__name__}.{PEERS[key].module}")
    optional = (getattr(loaded, each, None) for each in ("make_search", "set_threads"))
    return Peer(loaded.make_step, *optional)


def require_additive(model: Seq2Seq) -> None:
    """Raise NotImplementedError for a model that the peers do not have."""
    if model.alignment != "additive":
        raise NotImplementedError(f'alignment: the peers have "additive" only, got "{model.alignment}"')
    if model.bidirectional:
        raise NotImplementedError("bidirectional: the peers have one direction only, got two")
    if model.cell != "tanh":
        raise NotImplementedError(f'cell: the peers have "tanh" only, got "{model.cell}"')


def require_agreement(
    model: Seq2Seq, params: Params, batch: Batch, step: Step, tolerance: float = 1e-10, *, relative: bool = False
) -> None:
    """Raise unless a side's loss and every gradient are ours: a step that computes something else is not timed.

    Parameters
    ----------
    model : Seq2Seq
    params : dict of arrays
        The side's too; in float64, or with a tolerance that suits float32.
    batch : Batch
    step : callable
        From the peer's ``make_step``.
    tolerance : float
        Largest difference.
    relative : bool
        Divide the differences of each array by its largest entry.

    Raises
    ------
    ValueError
        In one line: what differs, and by how much.
    """
    loss, gradients = model.loss_and_gradients(params, batch)
    their_loss, their_gradients = step()
    if their_gradients.keys() != gradients.keys():
        names = ", ".join(sorted(their_gradients.keys() ^ gradients.keys()))
        raise ValueError(f"{names}: only one of the two sides has a gradient, so there is nothing to time")
    for name, ours in {"the loss": loss, **gradients}.items():
        ours, theirs = np.asarray(ours), np.asarray(their_loss if name == "the loss" else their_gradients[name])
        if ours.shape != theirs.shape:
            raise ValueError(f"{name}: shapes {ours.shape} and {theirs.shape}, so there is nothing to time")
        scale = float(np.abs(ours).max()) if relative else 0.0
        error = float(np.abs(ours - theirs).max()) / (scale or 1.0)
        if not error <= tolerance:
            raise ValueError(f"{name}: the two sides differ by {error:.1e}, so there is nothing to time")
