"""The same training on two sides: from the same weights, on the same batches, by the same rule.

``OurRun`` is made of the parts that ``numpy_attention.train`` is made of; ``TorchRun`` is the same in PyTorch, with
its own Adam and clipping. Both are moved on by the worker, some updates at a time.
"""

from __future__ import annotations

import time
from functools import partial
from typing import Any

import numpy as np

from benchmarks.crew import Side
from benchmarks.sides import SharedStep, keep_memory, load, ours_step
from numpy_attention import TrainConfig, evaluate
from numpy_attention.training.optimizers import Adam, clip_by_global_norm
from numpy_attention.training.schedule import learning_rate
from numpy_attention.training.trainer import flatten, views


class Run:
    """What both sides have in common.

    Parameters
    ----------
    config : TrainConfig
        Of a random task, with Adam and without dropout, weight decay and label smoothing.
    """

    def __init__(self, config: TrainConfig) -> None:
        if config.optimizer != "adam" or config.dropout or config.weight_decay or config.label_smoothing:
            raise ValueError("config: expected Adam alone, without dropout, weight decay and label smoothing")
        self.data = config.data()
        self.config = config.settled(self.data)
        self.model = config.model(len(self.data.source_vocabulary), len(self.data.target_vocabulary))
        self.params = self.model.init(config.seed, config.dtype)
        self.step = 0

    def rate(self) -> float:
        """Learning rate of this update."""
        assert self.config.steps is not None
        return learning_rate(self.step, self.config.steps, self.config.learning_rate, self.config.warmup)

    def warm(self) -> None:
        """Do whatever is done once, compilation for example; nothing is learnt."""
        raise NotImplementedError

    def update(self) -> float:
        """One update; the loss before it."""
        raise NotImplementedError

    def arrays(self) -> dict[str, np.ndarray]:
        """The parameters in NumPy."""
        return self.params


class OurRun(Run):
    """Ours, on one process or on the ranks of MPI."""

    def __init__(self, config: TrainConfig, shared: bool = False) -> None:
        super().__init__(config)
        self.flat = flatten(self.params)
        self.params = views(self.flat, self.params)
        self.optimizer = Adam(self.flat)
        self.shared = SharedStep(self.model, self.params) if shared else None

    def _gradient(self) -> tuple[float, np.ndarray]:
        batch = self.data.batch(self.step, self.config.batch_size)
        if self.shared is not None:
            loss, gradients = self.shared(self.shared.part(batch), batch.token_count)
        else:
            loss, gradients = ours_step(self.model, self.params, batch)
        return float(loss), flatten(gradients)

    def warm(self) -> None:
        """Load what is loaded at the first call."""
        self._gradient()

    def update(self) -> float:
        """As the training loop does it."""
        loss, gradient = self._gradient()
        assert self.config.clip is not None
        clip_by_global_norm(gradient, self.config.clip)
        self.optimizer.update(self.flat, gradient, self.rate())
        self.step += 1
        return loss


class TorchRun(Run):
    """PyTorch: eager, with the encoder's cell and the decoder's step compiled, or with the whole loss as one graph."""

    def __init__(self, config: TrainConfig, compiled: str = "") -> None:
        super().__init__(config)
        import torch

        from benchmarks.peers import pytorch_model

        self.peer = pytorch_model
        self.torch, self.loss = torch, pytorch_model.loss
        if compiled == "step":  # the loops stay Python's: long ones take minutes to compile as a whole
            cell, step = (
                torch.compile(each, dynamic=False) for each in (pytorch_model.cell, pytorch_model.decoder_step)
            )
            self.loss = partial(pytorch_model.loss, cell=cell, decoder_step=step)
        elif compiled:
            self.loss = torch.compile(pytorch_model.loss, dynamic=False)
        self.tensors = pytorch_model.to_tensors(self.params)
        self.optimizer = self._adam(list(self.tensors.values()))

    def _adam(self, tensors: list[Any]) -> Any:
        return self.torch.optim.Adam(tensors, betas=(0.9, 0.999), eps=1e-8, fused=True)

    def _backward(self) -> Any:
        batch = self.data.batch(self.step, self.config.batch_size)
        loss = self.loss(self.model, self.tensors, self.peer.to_torch_batch(batch))
        self.optimizer.zero_grad()
        loss.backward()
        return loss.detach()

    def warm(self) -> None:
        """Compile, if it compiles; and step a vector that is of no use, as the first step loads a great deal."""
        self._backward()
        vector = self.torch.ones(2, requires_grad=True)
        vector.sum().backward()
        self.torch.nn.utils.clip_grad_norm_([vector], 1.0)
        self._adam([vector]).step()

    def update(self) -> float:
        """The same update."""
        loss = self._backward()
        self.torch.nn.utils.clip_grad_norm_(self.tensors.values(), self.config.clip)
        for group in self.optimizer.param_groups:
            group["lr"] = self.rate()
        self.optimizer.step()
        self.step += 1
        return float(loss)

    def arrays(self) -> dict[str, np.ndarray]:
        """Views of the tensors."""
        return {name: tensor.detach().numpy() for name, tensor in self.tensors.items()}


def prepare(desk: dict[str, Any], side: Side, config: dict[str, Any]) -> float:
    """Make the side's run ready; seconds that its first step took."""
    settings = TrainConfig(**config)
    keep_memory(desk, side)
    if side.kind == "ours":
        run: Run = OurRun(settings, side.mpi)
    else:
        load("torch", side.threads)
        run = TorchRun(settings, side.kind.partition(" ")[2])
    start = time.perf_counter()
    run.warm()
    desk["run"] = run
    return time.perf_counter() - start


def updates(desk: dict[str, Any], count: int) -> tuple[float, list[float]]:
    """Some updates, data drawing included: seconds, and the losses."""
    run: Run = desk["run"]
    start = time.perf_counter()
    losses = [run.update() for _ in range(count)]
    return time.perf_counter() - start, losses


def look(desk: dict[str, Any]) -> float | None:
    """Share of the held-out sequences that come out whole; of several ranks the first looks."""
    if desk["rank"]:
        return None
    run: Run = desk["run"]
    return evaluate(run.model, run.arrays(), *run.data.held_out).sequence_accuracy
