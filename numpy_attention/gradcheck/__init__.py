"""Gradient checks for derivatives written by hand: right or not, and if not, where and how they are wrong.

Works with any NumPy code: a loss is a function of one array or of a dict of arrays, an operation is a forward and a
backward.
"""

from .adapters import OpaqueReport, as_pair, check_opaque
from .check import assert_gradients, check_gradients
from .derivatives import (
    FiniteDifference,
    NotAnalyticError,
    complex_step_gradient,
    finite_difference_gradient,
)
from .exact import Proof
from .mutation import Mutation, MutationReport, mutation_score, mutations
from .report import GradientReport, LawReport, ParameterReport
from .second_order import HessianReport, check_hessian, hessian_vector_product
from .taylor import TaylorTest, taylor_test
from .vjp import check_vjp, prove_vjp

__all__ = [
    "FiniteDifference",
    "GradientReport",
    "HessianReport",
    "LawReport",
    "Mutation",
    "MutationReport",
    "OpaqueReport",
    "NotAnalyticError",
    "ParameterReport",
    "Proof",
    "TaylorTest",
    "as_pair",
    "assert_gradients",
    "check_gradients",
    "check_hessian",
    "check_opaque",
    "check_vjp",
    "complex_step_gradient",
    "finite_difference_gradient",
    "hessian_vector_product",
    "mutation_score",
    "mutations",
    "prove_vjp",
    "taylor_test",
]
