"""The PyTorch peer under torch.compile, as its user would: the whole loss as one graph where that compiles in time.

With its loops unrolled the loss is one graph, and so is its backward, so that Python runs no step. The time to compile
it grows with the number of steps: about a minute at 10 on each side, and two at 50. Beyond LONGEST steps in all, the
encoder's cell and the decoder's step are compiled once each and run from Python's loop. Short graphs also get a wrapper
in C++, which calls the kernels faster than Python does but takes longer to compile. The compiler's tanh by way of exp
saves up to a fifth of the whole and is as exact as we need. Recomputing the alignment's activations on the way back,
which helps JAX, took longer here.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import torch._dynamo
from torch import Tensor

from numpy_attention import Batch, Seq2Seq

from . import pytorch_model, require_additive
from .pytorch_model import set_threads, step_of, to_tensors, to_torch_batch

__all__ = ["make_step", "set_threads"]

SHORT = 40  # steps, the encoder's and the decoder's: up to here with a wrapper in C++
LONGEST = 100  # up to here as one graph
OPTIONS = {"cpp.use_decompose_tanh": True}  # by exp


def make_step(
    model: Seq2Seq, params: dict[str, np.ndarray], batch: Batch
) -> Callable[[], tuple[Tensor, dict[str, Tensor]]]:
    """One forward and backward, compiled; gives loss and gradients."""
    require_additive(model)
    tensors, torch_batch = to_tensors(params), to_torch_batch(batch)
    steps = batch.source.shape[1] + batch.target_input.shape[1]
    torch._dynamo.config.recompile_limit = 64  # of all sizes in this process together; 8 by default
    if steps <= LONGEST:
        whole = _compile(pytorch_model.loss, cpp_wrapper=steps <= SHORT)
        step = step_of(lambda: whole(tensors, torch_batch), tensors)
    else:
        cell, decoder_step = _compile(pytorch_model.cell), _compile(pytorch_model.decoder_step)
        step = step_of(lambda: pytorch_model.loss(tensors, torch_batch, cell, decoder_step), tensors)
    _compile_by(step)
    return step


def _compile_by(step: Callable[[], Any]) -> None:
    """Call it twice, as a second call may compile more, and hide what the compiler says of its own code."""
    for name in ("torch._dynamo", "torch._inductor"):
        logging.getLogger(name).setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for _ in range(2):
            step()


def _compile(function: Callable[..., Any], *, cpp_wrapper: bool = False) -> Callable[..., Any]:
    """Without graph breaks, and for these shapes alone."""
    return torch.compile(function, fullgraph=True, dynamic=False, options=OPTIONS | {"cpp_wrapper": cpp_wrapper})
