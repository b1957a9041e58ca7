"""Sequence-to-sequence learning with attention in pure NumPy, every forward and backward pass written by hand."""

from .data.batch import BOS, EOS, PAD, Batch
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
from .model.search import Translation
from .model.seq2seq import Seq2Seq
from .superhighway.paths import GradientPaths, gradient_paths
from .training.config import TrainConfig
from .training.evaluation import Evaluation, evaluate
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
    "plot_attention",
    "resume",
    "train",
]
