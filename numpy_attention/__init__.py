"""Sequence-to-sequence learning with attention in pure NumPy, every forward and backward pass written by hand."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .data.batch import BOS, EOS, PAD, Batch
from .model.search import Translation
from .model.seq2seq import Seq2Seq

if TYPE_CHECKING:
    from .data.tasks import Task
    from .data.vocabulary import Vocabulary
    from .gradcheck import (
        GradientReport,
        assert_gradients,
        check_gradients,
        check_hessian,
        check_vjp,
        complex_step_gradient,
        hessian_vector_product,
    )
    from .superhighway.paths import GradientPaths, gradient_paths
    from .training.config import TrainConfig
    from .training.evaluation import Evaluation, evaluate
    from .training.memory import memory_kept
    from .training.run import Run, WordTranslation, load_run, plot_attention
    from .training.trainer import resume, train

__all__ = [
    "BOS",
    "Batch",
    "EOS",
    "Evaluation",
    "GradientPaths",
    "GradientReport",
    "PAD",
    "Run",
    "Seq2Seq",
    "Task",
    "TrainConfig",
    "Translation",
    "Vocabulary",
    "WordTranslation",
    "assert_gradients",
    "check_gradients",
    "check_hessian",
    "check_vjp",
    "complex_step_gradient",
    "evaluate",
    "gradient_paths",
    "hessian_vector_product",
    "load_run",
    "memory_kept",
    "plot_attention",
    "resume",
    "train",
]

# Where the other names come from: each module is imported when one of its names is first used.
_LATER = {
    ".data.tasks": ("Task",),
    ".data.vocabulary": ("Vocabulary",),
    ".gradcheck": (
        "GradientReport",
        "assert_gradients",
        "check_gradients",
        "check_hessian",
        "check_vjp",
        "complex_step_gradient",
        "hessian_vector_product",
    ),
    ".superhighway.paths": ("GradientPaths", "gradient_paths"),
    ".training.config": ("TrainConfig",),
    ".training.evaluation": ("Evaluation", "evaluate"),
    ".training.memory": ("memory_kept",),
    ".training.run": ("Run", "WordTranslation", "load_run", "plot_attention"),
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
    return sorted({*globals(), *__all__})
