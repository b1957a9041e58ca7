"""Sequence-to-sequence learning with attention in pure NumPy, every forward and backward pass written by hand.

A recurrent encoder reads a sequence. A decoder writes another, and before every step attention says where to look back.

* the model: Seq2Seq holds sizes, a dict of arrays holds its parameters, a Batch holds sequences
* training: TrainConfig, train, resume, load_run, load_runs, evaluate; or your own loop with training_step, Adam, SGD
* data: Task, Vocabulary, files of pairs (docs/data.md)
* gradients of any NumPy code, proved or measured: check_vjp, check_gradients, check_hessian
* the way of the gradient through the model: gradient_paths; one step of it with all its numbers: explain

>>> import numpy_attention as na
>>> model = na.Seq2Seq(source_vocabulary=8, target_vocabulary=8)
>>> params = model.init(seed=0)
>>> batch = na.Batch.from_sequences([[3, 4, 5], [6]], [[5, 4, 3], [6]])
>>> loss, gradients = model.loss_and_gradients(params, batch)

The command line is ``numpy-attention --help``.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .explain import explain

if TYPE_CHECKING:
    from .data.batch import BOS, EOS, PAD, Batch
    from .data.tasks import Task
    from .data.vocabulary import Vocabulary
    from .explain.walk import Explanation
    from .gradcheck import (
        GradientReport,
        assert_gradients,
        check_gradients,
        check_hessian,
        check_vjp,
        complex_step_gradient,
        hessian_vector_product,
    )
    from .memory import memory_kept
    from .model.search import Translation
    from .model.seq2seq import Seq2Seq
    from .run import Run, WordTranslation, load_run, load_runs, plot_attention
    from .superhighway.paths import GradientPaths, gradient_paths
    from .training.config import TrainConfig
    from .training.evaluation import Evaluation, evaluate
    from .training.optimizers import SGD, Adam
    from .training.schedule import learning_rate
    from .training.step import TrainingState, training_step
    from .training.trainer import resume, train

__version__ = "0.1.0"

__all__ = [
    "Adam",
    "BOS",
    "Batch",
    "EOS",
    "Evaluation",
    "Explanation",
    "GradientPaths",
    "GradientReport",
    "PAD",
    "Run",
    "SGD",
    "Seq2Seq",
    "Task",
    "TrainConfig",
    "TrainingState",
    "Translation",
    "Vocabulary",
    "WordTranslation",
    "assert_gradients",
    "check_gradients",
    "check_hessian",
    "check_vjp",
    "complex_step_gradient",
    "evaluate",
    "explain",
    "gradient_paths",
    "hessian_vector_product",
    "learning_rate",
    "load_run",
    "load_runs",
    "memory_kept",
    "plot_attention",
    "resume",
    "train",
    "training_step",
]

# The modules of all names. Each is imported when one of its names is first used.
_LATER = {
    ".data.batch": ("BOS", "EOS", "PAD", "Batch"),
    ".data.tasks": ("Task",),
    ".data.vocabulary": ("Vocabulary",),
    ".explain.walk": ("Explanation",),
    ".gradcheck": (
        "GradientReport",
        "assert_gradients",
        "check_gradients",
        "check_hessian",
        "check_vjp",
        "complex_step_gradient",
        "hessian_vector_product",
    ),
    ".memory": ("memory_kept",),
    ".model.search": ("Translation",),
    ".model.seq2seq": ("Seq2Seq",),
    ".run": ("Run", "WordTranslation", "load_run", "load_runs", "plot_attention"),
    ".superhighway.paths": ("GradientPaths", "gradient_paths"),
    ".training.config": ("TrainConfig",),
    ".training.evaluation": ("Evaluation", "evaluate"),
    ".training.optimizers": ("Adam", "SGD"),
    ".training.schedule": ("learning_rate",),
    ".training.step": ("TrainingState", "training_step"),
    ".training.trainer": ("resume", "train"),
}
_MODULE_OF = {name: module for module, names in _LATER.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_MODULE_OF[name], __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*__all__, *(name for name in globals() if name.startswith("__"))})
