"""Mistakes that people make in a backward, each put into ours: the checks must reject it and name it.

A mutant is an edit of one place in the source of one function. While it is in force the edited function stands
wherever the original stood, and afterwards the original stands there again: the library has no switch for it.
"""

from __future__ import annotations

import inspect
import linecache
import sys
import textwrap
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import wraps
from types import FunctionType
from typing import Any, NamedTuple
from unittest import mock

from .._shared import EXCHANGE
from ..gradcheck import GradientReport
from ..gradcheck.diagnosis import NO_PATTERN
from ..gradcheck.parameters import at
from ..model import decoder, encoder, seq2seq
from ..ops import attention, cells, cross_entropy, embedding
from .cases import ALIGNMENTS, Case
from .matrix import Mode, check_case
from .operations import check_operation, every_operation

MODULES = (attention, cells, embedding, cross_entropy, encoder, decoder, seq2seq)
RECORDS: tuple[dict[str, Any], ...] = (attention.ALIGNMENTS, cells.CELLS)  # they hold functions too
CASES = (
    *(Case("additive", True, cell=cell) for cell in cells.CELLS),
    *(Case(kind, True) for kind in ALIGNMENTS if kind != "additive"),
    *(Case(kind, False) for kind in ALIGNMENTS),
)


class Mutant(NamedTuple):
    """A mistake, and the edit that makes it: the text ``before`` stands once in the module, and becomes ``after``."""

    name: str
    room: str  # the module's name within the package
    before: str
    after: str


MUTANTS = (
    Mutant("factor 1.0005", "ops.attention", "de = alpha * dalpha", "de = 1.0005 * alpha * dalpha"),
    Mutant(
        "softmax over the wrong axis",
        "ops.attention",
        "de.sum(axis=-1, keepdims=True)",
        "de.sum(axis=0, keepdims=True)",
    ),
    Mutant("softmax's sum over positions dropped", "ops.attention", "de -= alpha * de.sum", "de -= 0 * alpha * de.sum"),
    Mutant(
        "softmax masked after the sum",
        "model.decoder",
        "softmax_backward(dalpha, alpha[:B])",
        "softmax_backward(dalpha, shared.mask[:B] * softmax("
        "look.scores(shared.align, s[:, :D], shared.keys, False)[0], shared.mask[:B] | True))",
    ),
    Mutant(
        "sign of the query's gradient",
        "ops.attention",
        'return dquery @ p["W"].T, dquery, sums',
        'return -dquery @ p["W"].T, dquery, sums',
    ),
    Mutant(
        "tanh' forgotten in the keys",
        "ops.attention",
        "de.sum(axis=0)[:, :, None] - sums.squares",
        "de.sum(axis=0)[:, :, None] - 0 * sums.squares",
    ),
    Mutant(
        "sums over the steps assigned, not added",
        "ops.attention",
        "sums.squares[block] += squares",
        "sums.squares[block] = squares",
    ),
    Mutant("gradient of v assigned at every step, not added", "ops.attention", "sums.dv[...] +=", "sums.dv[...] ="),
    Mutant("stacked: tanh' forgotten in the keys", "ops.attention", " * (1 - keys * keys)", ""),
    Mutant(
        "location: nothing sent back to the weights before", "model.decoder", "+= sums.dalpha", "+= 0 * sums.dalpha"
    ),
    Mutant("location: left and right swapped", "ops.attention", "dw[:, :-1, 2]", "dw[:, :-1, 0]"),
    Mutant("GRU: z where 1 - z belongs", "ops.cells", "dnew * (1 - z)", "dnew * z"),
    Mutant(
        "general: nothing goes to the keys",
        "ops.attention",
        'return {"W": rows(s).T @ rows(dquery)}, de.transpose',
        'return {"W": rows(s).T @ rows(dquery)}, 0 * de.transpose',
    ),
    Mutant(
        "context weighted by the last step's attention",
        "model.decoder",
        "cache.alpha.transpose(1, 2, 0) @ dc",
        "(0 * cache.alpha + cache.alpha[-1:]).transpose(1, 2, 0) @ dc",
    ),
    Mutant(
        "tanh' taken at tanh(a) instead of a",
        "ops.cells",
        "da = dnew * (1 - new * new)",
        "da = dnew * (1 - np.tanh(new) ** 2)",
    ),
    Mutant(
        "GRU: sigmoid' of the reset gate forgotten", "ops.cells", "da_r = da_n * p_n * r * (1 - r)", "da_r = da_n * p_n"
    ),
    Mutant("GRU: reset gate missing in the gradient of s U", "ops.cells", "da_n * r], axis=1)", "da_n], axis=1)"),
    Mutant("GRU: nothing handed on by the update gate", "ops.cells", "dnew * z + dp @ U.T", "dp @ U.T"),
    Mutant(
        "GRU: gates r and z swapped",
        "ops.cells",
        "da, dp = np.concatenate([da_r, da_z, da_n]",
        "da, dp = np.concatenate([da_z, da_r, da_n]",
    ),
    Mutant("LSTM: path through c cut", "ops.cells", "dc * f], axis=1)", "0 * dc * f], axis=1)"),
    Mutant("LSTM: tanh' of c forgotten", "ops.cells", "dh * o * (1 - tanh_c * tanh_c)", "dh * o"),
    Mutant(
        "LSTM: gates i and f swapped",
        "ops.cells",
        "np.concatenate([da_i, da_f, da_o, da_g], axis=1)",
        "np.concatenate([da_f, da_i, da_o, da_g], axis=1)",
    ),
    Mutant("LSTM: c where tanh(c) belongs", "ops.cells", "dh * tanh_c * o * (1 - o)", "dh * new[:, H:] * o * (1 - o)"),
    Mutant("padded steps not left out", "model.encoder", "np.where(real[t], dnew, 0)", "np.where(real[t], dnew, dnew)"),
    Mutant(
        "rows of a repeated token assigned, not added",
        "ops.embedding",
        "dtable = (da.T @ one_hot).T",
        "dtable = 0 * (da.T @ one_hot).T; dtable[cache.row.reshape(-1)] = da",
    ),
    Mutant("bias averaged, not summed", "ops.embedding", "dtable.sum(axis=0)", "dtable.mean(axis=0)"),
    Mutant("mask of the loss forgotten", "ops.cross_entropy", "dlogits[~cache.mask] = 0", "dlogits[~cache.mask] *= 1"),
    Mutant(
        "recurrent weights transposed",
        "model.encoder",
        "dU = rows(s[:-1, :, : len(U)]).T @ rows(dp)",
        "dU = rows(s[:-1, :, : len(U)]).T @ rows(dp); dU = dU.T.copy() if da.shape[2] == len(U) else dU",
    ),
    Mutant("h_t where h_{t-1} belongs", "model.encoder", "rows(s[:-1, :, : len(U)])", "rows(s[1:, :, : len(U)])"),
    Mutant(
        "embedding of one direction assigned over the other",
        "model.encoder",
        'gradients.get("source_embedding", 0) + dembedding',
        "dembedding",
    ),
    Mutant(
        "last source step hands nothing back",
        "model.encoder",
        "dnext = dnext if full[t] else np.where(real[t], dnext, dnew)",
        "dnext = (dnext if full[t] else np.where(real[t], dnext, dnew)) * (t < len(ds) - 1)",
    ),
    Mutant(
        "bridge: 1 - a^2 of the input a instead of the output",
        "model.encoder",
        "dinput = ds_0 * (1 - s_0 * s_0)",
        "dinput = ds_0 * (1 - np.arctanh(s_0) ** 2)",
    ),
    Mutant(
        "bridge: missing sum over the batch", "model.encoder", '"bridge.b": dinput.sum(axis=0)', '"bridge.b": dinput[0]'
    ),
    Mutant(
        "s_u where s_{u-1} belongs",
        "model.decoder",
        "_stacked(dquery), s_query, shared.h",
        "_stacked(dquery), s[1:, :, :D], shared.h",
    ),
    Mutant("query path dropped", "model.decoder", "+= ds_query", "+= 0 * ds_query"),
    Mutant("readout's path to the context lost", "model.decoder", 'dc = dc[:B] + da @ p["C"].T', 'dc = da @ p["C"].T'),
    Mutant(
        "last target step skipped in output.W",
        "model.decoder",
        '{"output.W": rows(s).T @ rows(dlogits)',
        '{"output.W": rows(s[:-1]).T @ rows(dlogits[:-1])',
    ),
    Mutant(
        "context's gradient not passed to the encoder",
        "model.seq2seq",
        "dh = paths.context + paths.key",
        "dh = paths.key",
    ),
    Mutant(
        "keys' gradient not passed to the encoder",
        "model.seq2seq",
        "dh = paths.context + paths.key",
        "dh = paths.context",
    ),
)


@contextmanager
def in_force(mutant: Mutant) -> Iterator[None]:
    """Inside the context the library makes the mistake; on exit, by error or not, the original is back.

    Raises
    ------
    ValueError
        If the text that the mutant edits does not stand exactly once in its module.

    Examples
    --------
    >>> import numpy as np
    >>> dalpha, alpha = np.array([[1.0, 0.0]]), np.array([[0.5, 0.5]])
    >>> with in_force(MUTANTS[0]):
    ...     attention.softmax_backward(dalpha, alpha)
    array([[ 0.250125, -0.250125]])
    >>> attention.softmax_backward(dalpha, alpha)
    array([[ 0.25, -0.25]])
    """
    with EXCHANGE:
        original = edited_function(mutant)
        with replaced(original, edited(mutant, original)):
            yield


@contextmanager
def replaced(original: Callable[..., Any], other: Callable[..., Any]) -> Iterator[None]:
    """Inside the context ``other`` stands wherever ``original`` did, in the modules of the calculus and in records.

    That holds for this thread: the others go on with the original.
    """
    here = threading.get_ident()

    @wraps(other)  # it is the one whose source and module are asked for
    def either(*args: Any, **options: Any) -> Any:
        return (other if threading.get_ident() == here else original)(*args, **options)

    with EXCHANGE, ExitStack() as stack:
        for module in MODULES:
            for owner in (module, *_classes(module)):
                for name, value in list(vars(owner).items()):
                    if value is original:
                        stack.enter_context(mock.patch.object(owner, name, either))
        for records in RECORDS:
            for name, record in list(records.items()):
                places = [] if record is None else [k for k, value in record._asdict().items() if value is original]
                if places:
                    records[name] = record._replace(**dict.fromkeys(places, either))
                    stack.callback(records.__setitem__, name, record)
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
    """The function with the edit, in the same module: it calls the same functions as the original."""
    source = textwrap.dedent(inspect.getsource(original)).replace(mutant.before, mutant.after)
    namespace: dict[str, Any] = {}
    file = f"<mutant: {mutant.name}>"
    linecache.cache[file] = len(source), None, source.splitlines(keepends=True), file  # so that its lines can be shown
    exec(compile(source, file, "exec"), original.__globals__, namespace)
    wrong: Callable[..., Any] = namespace[original.__name__]
    return wrong


def _classes(module: Any) -> list[type]:
    return [value for value in vars(module).values() if isinstance(value, type) and value.__module__ == module.__name__]


class Catch(NamedTuple):
    """The findings of the checks about a mutant; an empty string where they see nothing."""

    mutant: Mutant
    operation: str  # the first operation whose own check fails
    full: str  # the first case in which the check of every entry fails
    directional: str  # the same, for random directions
    wrong: tuple[str, ...]  # the gradients or laws that the nearest check calls wrong
    diagnosis: str  # of the first gradient whose error shows a pattern

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
    (True, 'softmax', 'e: 1.0005 times the true gradient: a constant factor')
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
        if row.diagnosis and NO_PATTERN not in row.diagnosis:
            return "; ".join([f"{row.name}: {row.diagnosis}", *laws])
    if not rows:
        return "; ".join(laws)
    worst = max(rows, key=lambda row: row.relative_error or 0.0)
    names = (
        ", ".join(dict.fromkeys(row.name.rpartition(".")[0] or row.name for row in rows)) if rows[1:] else worst.name
    )
    where = f"worst at {at(worst.name, worst.index or ())}"
    angle = "" if worst.cosine is None else f", cosine {worst.cosine:.3f}"
    return "; ".join([f"{NO_PATTERN} in {names}: {where}{angle}", *laws])


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
