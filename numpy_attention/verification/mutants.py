"""Mistakes that people make in a backward, each put into ours, to see that the checks reject it and say what it is.

A mutant is an edit of one place in the source of one function. While it is in force the edited function stands
wherever the original stood, and afterwards the original stands there again: the library has no switch for it.
"""

from __future__ import annotations

import inspect
import sys
import textwrap
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from types import FunctionType
from typing import Any, NamedTuple
from unittest import mock

from ..gradcheck import GradientReport
from ..gradcheck.parameters import at
from ..model import bridge, decoder, encoder, seq2seq
from ..ops import alignment, context, cross_entropy, embedding, softmax, tanh_cell
from .cases import ALIGNMENTS, Case
from .matrix import Mode, check_case
from .operations import check_operation, every_operation

MODULES = (softmax, alignment, context, tanh_cell, embedding, cross_entropy, encoder, bridge, decoder, seq2seq)
CASES = tuple(Case(kind, bidirectional) for bidirectional in (True, False) for kind in ALIGNMENTS)


class Mutant(NamedTuple):
    """A mistake, and the edit that makes it: the text ``before`` stands once in the module, and becomes ``after``."""

    name: str
    room: str  # the module's name within the package
    before: str
    after: str


MUTANTS = (
    Mutant("factor 1.0005", "ops.softmax", "return dscores", "return 1.0005 * dscores"),
    Mutant(
        "softmax over the wrong axis",
        "ops.softmax",
        "dscores.sum(axis=-1, keepdims=True)",
        "dscores.sum(axis=0, keepdims=True)",
    ),
    Mutant(
        "softmax masked after the sum",
        "ops.softmax",
        "return weights, SoftmaxCache(weights)",
        "unmasked = np.exp(scores - real.real.max(axis=-1, keepdims=True)); "
        "return weights, SoftmaxCache(mask * unmasked / unmasked.sum(axis=-1, keepdims=True))",
    ),
    Mutant(
        "sign of the query's gradient",
        "ops.alignment",
        "return dinput[:, : cache.query.shape[-1]]",
        "return -dinput[:, : cache.query.shape[-1]]",
    ),
    Mutant(
        "tanh' forgotten in the keys",
        "ops.alignment",
        "dscores.sum(axis=0)[:, :, None] - sums.squares",
        "np.broadcast_to(dscores.sum(axis=0)[:, :, None], sums.squares.shape)",
    ),
    Mutant(
        "annotations weighted by the last step's attention",
        "ops.context",
        "return alpha.transpose(1, 2, 0)",
        "return (0 * alpha + alpha[-1:]).transpose(1, 2, 0)",
    ),
    Mutant(
        "tanh' taken at tanh(a) instead of a",
        "ops.tanh_cell",
        "1 - cache.state * cache.state",
        "1 - np.tanh(cache.state) ** 2",
    ),
    Mutant(
        "padded steps not left out",
        "ops.tanh_cell",
        "ddrive[~cache.mask] = 0",
        "ddrive[~cache.mask] *= 1",
    ),
    Mutant(
        "rows of a repeated token assigned, not added",
        "ops.embedding",
        "dtable = one_hot @ ddrive",
        "dtable = 0 * (one_hot @ ddrive); dtable[cache.row.reshape(-1)] = ddrive",
    ),
    Mutant("bias averaged, not summed", "ops.embedding", "dtable.sum(axis=0)", "dtable.mean(axis=0)"),
    Mutant("mask of the loss forgotten", "ops.cross_entropy", "np.where(cache.mask, ", "np.where(cache.mask | True, "),
    Mutant(
        "recurrent weights transposed",
        "model.encoder",
        "linear_backward_W(ddrive, direction.previous)",
        "linear_backward_W(ddrive, direction.previous).T.copy()",
    ),
    Mutant(
        "h_t where h_{t-1} belongs",
        "model.encoder",
        "linear_backward_W(ddrive, direction.previous)",
        "linear_backward_W(ddrive, np.stack([cell.state for cell in direction.cells]))",
    ),
    Mutant(
        "embedding of one direction assigned over the other",
        "model.encoder",
        'gradients.get("source_embedding", 0) + dembedding',
        "dembedding",
    ),
    Mutant(
        "last source step hands nothing back",
        "model.encoder",
        "if t != cache.positions[0]",
        "if t not in (cache.positions[0], cache.positions[-1])",
    ),
    Mutant(
        "bridge: 1 - a^2 of the input a instead of the output",
        "model.bridge",
        "1 - cache.state * cache.state",
        "1 - np.arctanh(cache.state) ** 2",
    ),
    Mutant(
        "bridge: missing sum over the batch",
        "model.bridge",
        '"bridge.b": dinput.sum(axis=0)',
        '"bridge.b": dinput[0]',
    ),
    Mutant(
        "s_u where s_{u-1} belongs",
        "model.decoder",
        "linear_backward_W(steps.query, previous)",
        "linear_backward_W(steps.query, cache.states[1:])",
    ),
    Mutant("query path dropped", "model.decoder", "dstate = dstate + (", "dstate = dstate + 0 * ("),
    Mutant(
        "readout's path to the context lost",
        "model.decoder",
        "dcontext[u] += ",
        "dcontext[u] = ",
    ),
    Mutant(
        "last target step skipped in output.W",
        "model.decoder",
        "linear_backward_W(dlogits, states)",
        "linear_backward_W(dlogits[:-1], states[:-1])",
    ),
    Mutant(
        "context's gradient not passed to the encoder",
        "model.seq2seq",
        "doors.context + doors.key + dbridge",
        "doors.key + dbridge",
    ),
    Mutant(
        "keys' gradient not passed to the encoder",
        "model.seq2seq",
        "doors.context + doors.key + dbridge",
        "doors.context + dbridge",
    ),
)


@contextmanager
def in_force(mutant: Mutant) -> Iterator[None]:
    """Within it the library makes the mistake; behind it, however it is left, no longer.

    Raises
    ------
    ValueError
        If the text that the mutant edits does not stand exactly once in its module.

    Examples
    --------
    >>> import numpy as np
    >>> _, cache = softmax.softmax_forward(np.zeros((1, 2)), np.ones((1, 2), bool))
    >>> with in_force(MUTANTS[0]):
    ...     softmax.softmax_backward(np.array([[1.0, 0.0]]), cache)
    array([[ 0.250125, -0.250125]])
    >>> softmax.softmax_backward(np.array([[1.0, 0.0]]), cache)
    array([[ 0.25, -0.25]])
    """
    original = edited_function(mutant)
    wrong = edited(mutant, original)
    with ExitStack() as stack:
        for module in MODULES:
            for owner in (module, *_classes(module)):
                for name, value in list(vars(owner).items()):
                    if value is original:
                        stack.enter_context(mock.patch.object(owner, name, wrong))
        yield


def edited_function(mutant: Mutant) -> FunctionType:
    """The one function of the mutant's module in whose source ``before`` stands."""
    module = sys.modules[f"{__package__.rpartition('.')[0]}.{mutant.room}"]
    found = [
        value
        for owner in (module, *_classes(module))
        for value in vars(owner).values()
        if isinstance(value, FunctionType)
        and value.__code__.co_filename == module.__file__
        and mutant.before in inspect.getsource(value)
    ]
    if len(found) != 1 or inspect.getsource(found[0]).count(mutant.before) != 1:
        raise ValueError(f"mutant {mutant.name!r}: expected {mutant.before!r} exactly once in {mutant.room}")
    return found[0]


def edited(mutant: Mutant, original: FunctionType) -> Callable[..., Any]:
    """The function with the edit, in the same module, so that all else that it calls is what is there."""
    source = textwrap.dedent(inspect.getsource(original)).replace(mutant.before, mutant.after)
    namespace: dict[str, Any] = {}
    exec(compile(source, f"<mutant: {mutant.name}>", "exec"), original.__globals__, namespace)
    wrong: Callable[..., Any] = namespace[original.__name__]
    return wrong


def _classes(module: Any) -> list[type]:
    return [value for value in vars(module).values() if isinstance(value, type) and value.__module__ == module.__name__]


class Catch(NamedTuple):
    """What the checks say of a mutant; an empty string where they see nothing."""

    mutant: Mutant
    operation: str  # the first operation whose own check fails
    full: str  # the first case in which the check of every entry fails
    directional: str  # the same, for random directions
    wrong: tuple[str, ...]  # the gradients or laws that the nearest check calls wrong
    diagnosis: str  # what it says of the first that shows a pattern

    @property
    def caught(self) -> bool:
        """True if the model's check sees it, in both modes."""
        return bool(self.full and self.directional)


def hunt(mutant: Mutant) -> Catch:
    """Run the checks with the mutant in force: every operation alone, and the model in both modes until one fails.

    Examples
    --------
    >>> catch = hunt(MUTANTS[0])
    >>> catch.caught, catch.operation, catch.diagnosis
    (True, 'softmax', 'scores: 1.0005 times the true gradient: a constant factor')
    """
    with in_force(mutant):
        operation, near = first_operation()
        full, report = first_case("full")
        directional, _ = first_case("directional")
    nearest = near or report
    if nearest is None:
        return Catch(mutant, operation, full, directional, (), "")
    rows = [row for row in nearest.parameters if row.verdict != "ok"]
    wrong = tuple(row.name for row in rows) + tuple(law.name for law in nearest.laws if not law.ok)
    return Catch(mutant, operation, full, directional, wrong, most_telling(nearest))


def most_telling(report: GradientReport) -> str:
    """The first diagnosis; where there is no pattern, which gradients are wrong; and the law that is broken."""
    rows = [row for row in report.parameters if row.verdict != "ok"]
    laws = [f"law broken: {law.name}" for law in report.laws if not law.ok]
    for row in rows:
        if row.diagnosis:
            return "; ".join([f"{row.name}: {row.diagnosis}", *laws])
    if not rows:
        return "; ".join(laws)
    worst = max(rows, key=lambda row: row.relative_error or 0.0)
    names = (
        ", ".join(dict.fromkeys(row.name.rpartition(".")[0] or row.name for row in rows)) if rows[1:] else worst.name
    )
    where = f"worst at {at(worst.name, worst.index or ())}"
    angle = "" if worst.cosine is None else f", cosine {worst.cosine:.3f}"
    return "; ".join([f"no simple pattern in {names}: {where}{angle}", *laws])


def first_operation() -> tuple[str, GradientReport | None]:
    """The first operation whose check fails, and its report."""
    for operation in every_operation():
        report = check_operation(operation)
        if not report.ok:
            return operation.name, report
    return "", None


def first_case(mode: Mode) -> tuple[str, GradientReport | None]:
    """The first case in which the model's check fails, and its report."""
    for case in CASES:
        report = check_case(case, mode)
        if not report.ok:
            return str(case), report
    return "", None
