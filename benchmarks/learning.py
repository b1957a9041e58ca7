"""The same training in NumPy and in PyTorch: from the same weights, on the same batches, by the same rule.

A worker holds one of the two and makes some updates at a time.
"""

from __future__ import annotations

import time
from functools import partial
from typing import Any

import numpy as np

from benchmarks.crew import Side
from benchmarks.sides import load, our_step, ranks_of
from numpy_attention import TrainConfig, evaluate
from numpy_attention.model.seq2seq import is_recurrent
from numpy_attention.training.parallel import ALONE, Ranks
from numpy_attention.training.schedule import learning_rate
from numpy_attention.training.step import TrainingState, training_step


class Run:
    """A training run from its first update on.

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

    def batch(self) -> Any:
        """The batch of this update."""
        return self.data.batch(self.step, self.config.batch_size)

    def rate(self) -> float:
        """Learning rate of this update."""
        assert self.config.steps is not None
        return learning_rate(self.step, self.config.steps, self.config.learning_rate, self.config.warmup)

    def warm(self) -> None:
        """Load and compile whatever the first call loads and compiles; nothing is learnt."""
        raise NotImplementedError

    def update(self) -> float:
        """One update; the loss before it."""
        raise NotImplementedError

    def arrays(self) -> dict[str, np.ndarray]:
        """The parameters in NumPy."""
        return self.params


class OurRun(Run):
    """Ours, in one process or on the ranks of MPI: the update that :func:`numpy_attention.train` makes."""

    def __init__(self, config: TrainConfig, ranks: Ranks = ALONE) -> None:
        super().__init__(config)
        self.ranks = ranks
        self.state = TrainingState(self.params, recurrent_rate=config.recurrent_rate)
        self.params = self.state.params

    def warm(self) -> None:
        """One forward and backward."""
        our_step(self.model, self.params, self.batch(), self.ranks)()

    def update(self) -> float:
        """One update."""
        batch = self.batch()
        done = training_step(
            self.model,
            self.state,
            batch.part(self.ranks.rank, self.ranks.size),
            self.rate(),
            clip=self.config.clip or np.inf,
            token_count=batch.token_count,
            all_reduce=self.ranks.all_reduce,
        )
        self.step += 1
        return done.loss


class TorchRun(Run):
    """PyTorch: eager, with the encoder's cell and the decoder's step compiled, or with the whole loss as one graph."""

    def __init__(self, config: TrainConfig, compiled: str = "") -> None:
        super().__init__(config)
        import torch

        from benchmarks.peers import pytorch_model

        compiler = partial(torch.compile, dynamic=False)
        self.torch, self.peer, self.loss = torch, pytorch_model, pytorch_model.loss
        if compiled == "step":  # the loops remain Python's: long ones take minutes to compile as a whole
            cell, step = compiler(pytorch_model.cell), compiler(pytorch_model.decoder_step)
            self.loss = partial(pytorch_model.loss, cell=cell, decoder_step=step)
        elif compiled:
            self.loss = compiler(pytorch_model.loss)
        self.tensors = pytorch_model.to_tensors(self.params)
        recurrent = [tensor for name, tensor in self.tensors.items() if is_recurrent(name)]
        others = [tensor for name, tensor in self.tensors.items() if not is_recurrent(name)]
        shares = {"params": others, "share": 1.0}, {"params": recurrent, "share": config.recurrent_rate}
        self.optimizer = self._adam(list(shares))

    def _adam(self, groups: list[Any]) -> Any:
        return self.torch.optim.Adam(groups, betas=(0.9, 0.999), eps=1e-8, fused=True)

    def _backward(self) -> Any:
        loss = self.loss(self.tensors, self.peer.to_torch_batch(self.batch()))
        self.optimizer.zero_grad()
        loss.backward()
        return loss.detach()

    def warm(self) -> None:
        """One forward and backward, and one step of an unrelated vector: the first step of Adam loads a great deal."""
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
            group["lr"] = self.rate() * group["share"]
        self.optimizer.step()
        self.step += 1
        return float(loss)

    def arrays(self) -> dict[str, np.ndarray]:
        """Views of the tensors."""
        return {name: tensor.detach().numpy() for name, tensor in self.tensors.items()}


def prepare(desk: dict[str, Any], side: Side, config: dict[str, Any]) -> float:
    """Make the side's run ready. Seconds that its first forward and backward took, compilation included."""
    if side.kind == "ours":
        run: Run = OurRun(TrainConfig(**config), ranks_of(desk))
    else:
        kind, _, compiled = side.kind.partition(" ")
        load(side._replace(kind=kind))
        run = TorchRun(TrainConfig(**config), compiled)
    start = time.perf_counter()
    run.warm()
    desk["run"] = run
    return time.perf_counter() - start


def updates(desk: dict[str, Any], count: int) -> tuple[float, list[float]]:
    """Make some updates. Their seconds, the drawing of data included, and their losses."""
    run: Run = desk["run"]
    start = time.perf_counter()
    losses = [run.update() for _ in range(count)]
    return time.perf_counter() - start, losses


def accuracy(desk: dict[str, Any]) -> float | None:
    """Share of the held-out sequences that come out whole; of several ranks the first evaluates."""
    run: Run = desk["run"]
    return None if desk["rank"] else evaluate(run.model, run.arrays(), run.data.held_out).sequence_accuracy
