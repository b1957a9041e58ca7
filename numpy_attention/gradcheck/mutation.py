"""How good is a check? Mutants of a backward: its own source with one mistake each, which the check should reject."""

from __future__ import annotations

import ast
import copy
import inspect
import textwrap
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import CodeType, FunctionType
from typing import Any, NamedTuple

import numpy as np

from .._code import unwarned
from .exact import Proof
from .vjp import check_vjp, prove_vjp

# The mistake that each mutant makes, and how it changes a node of the syntax tree.
SWAPPED_OPERATORS: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
}
SWAPPED_COMPARISONS: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Gt: ast.Lt,
    ast.Lt: ast.Gt,
    ast.GtE: ast.Lt,
    ast.LtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
}
SWAPPED_FUNCTIONS = {"sum": "mean", "mean": "sum", "maximum": "minimum", "minimum": "maximum"}


MOST_ROUNDS = 100_000  # of a while loop of a mutant


class Mutation(NamedTuple):
    """One mutant of a function.

    Attributes
    ----------
    mistake : str
        What was done: ``sign``, ``factor``, ``transpose``, ``dropped``, ``axis``, ``mask``, ``assigned``, ``function``,
        ``order`` or ``slice``.
    before, after : str
        The expression, and what stands in its place.
    line : int
        Of the function's source, from 1.
    function : callable
    """

    mistake: str
    before: str
    after: str
    line: int
    function: Callable[..., Any]

    def __str__(self) -> str:
        return f"line {self.line}, {self.mistake}: {self.before} -> {self.after}"


def mutations(function: Callable[..., Any]) -> list[Mutation]:
    """Every mutant of a Python function: one mistake each, at each place in its source where it can be made.

    Parameters
    ----------
    function : callable
        Written in Python, so that its source can be found.

    Returns
    -------
    list of Mutation

    Raises
    ------
    ValueError
        If there is no source.

    Examples
    --------
    >>> from numpy_attention.ops.attention import softmax_backward
    >>> [(each.mistake, each.after) for each in mutations(softmax_backward)][:2]
    [('sign', '-(alpha * dalpha)'), ('factor', '2 * (alpha * dalpha)')]
    """
    if not isinstance(function, FunctionType):
        raise ValueError(f"backward: expected a function written in Python, got {type(function).__name__}")
    tree = _tree(function)
    found = []
    for place, node in enumerate(ast.walk(tree)):
        for mistake, new in _mistakes(node):
            changed = copy.deepcopy(tree)
            target = next(each for number, each in enumerate(ast.walk(changed)) if number == place)
            _replace(changed, target, new)
            line = getattr(node, "lineno", 1)
            found.append(Mutation(mistake, ast.unparse(node), ast.unparse(new), line, _compiled(changed, function)))
    return found


@unwarned()
def _tree(function: FunctionType) -> ast.FunctionDef | ast.Lambda:
    """The syntax tree of a function or a lambda, without its docstring; of a mutant, its own."""
    if hasattr(function, "tree"):
        return function.tree  # type: ignore[no-any-return]
    try:
        source = textwrap.dedent(inspect.getsource(function))
    except (OSError, TypeError) as error:
        raise ValueError(f"backward: expected a function whose source can be read ({error})") from None
    if function.__name__ != "<lambda>":
        tree = ast.parse(source).body[0]
        assert isinstance(tree, ast.FunctionDef)
        vars(tree).update(decorator_list=[], type_params=[])  # a generic function is made inside of another
        if ast.get_docstring(tree) is not None and len(tree.body) > 1:
            tree.body = tree.body[1:]
        return tree
    used = _used(function.__code__)
    alike = [each for each in _lambdas(source) if _used(_code(ast.Expression(each), function)) == used]
    if len(alike) != 1:
        raise ValueError("backward: expected a function whose source can be read; give this lambda a line of its own")
    return alike[0]


def _used(code: CodeType) -> tuple[Any, ...]:
    """Variables, names and constants, by which lambdas in one line are told apart."""
    return code.co_varnames, code.co_freevars, code.co_names, code.co_consts


def _lambdas(source: str) -> Iterator[ast.Lambda]:
    """The lambdas in a piece of source that may not be complete."""
    start = source.find("lambda")
    while start >= 0:
        for end in range(len(source), start, -1):
            try:
                tree = ast.parse(source[start:end].strip(), mode="eval")
            except SyntaxError:
                continue
            if isinstance(tree.body, ast.Lambda):
                yield tree.body
                break
        start = source.find("lambda", start + 1)


def _mistakes(node: ast.AST) -> Iterator[tuple[str, ast.expr | ast.stmt]]:
    """The mistakes that can be made at a node, and what stands there then."""
    if isinstance(node, ast.BinOp):
        yield "sign", ast.UnaryOp(ast.USub(), node)
        yield "factor", ast.BinOp(ast.Constant(2), ast.Mult(), node)
        yield "dropped", node.left
        if isinstance(node.op, (ast.Add, ast.Sub, ast.Mult)):
            yield "dropped", node.right
        if type(node.op) in SWAPPED_OPERATORS:
            yield (
                "sign" if isinstance(node.op, (ast.Add, ast.Sub)) else "factor",
                ast.BinOp(node.left, SWAPPED_OPERATORS[type(node.op)](), node.right),
            )
        if isinstance(node.op, (ast.MatMult, ast.Sub, ast.Div, ast.Pow)):
            yield "order", ast.BinOp(node.right, node.op, node.left)
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, (ast.USub, ast.Invert)):
        yield "sign" if isinstance(node.op, ast.USub) else "mask", node.operand
    elif isinstance(node, ast.Attribute) and node.attr == "T" and isinstance(node.ctx, ast.Load):
        yield "transpose", node.value
    elif isinstance(node, ast.Constant) and isinstance(node.value, (int, float)) and not isinstance(node.value, bool):
        yield "factor", ast.Constant(node.value + 1)
    elif isinstance(node, ast.Compare) and type(node.ops[0]) in SWAPPED_COMPARISONS:
        yield "mask", ast.Compare(node.left, [SWAPPED_COMPARISONS[type(node.ops[0])]()], node.comparators)
        yield "mask", ast.BinOp(ast.Compare(node.left, node.ops, node.comparators), ast.BitOr(), ast.Constant(True))
    elif isinstance(node, ast.AugAssign) and isinstance(node.op, ast.Add):
        yield "assigned", ast.Assign([node.target], node.value, lineno=node.lineno)
    elif isinstance(node, ast.Slice) and (node.lower or node.upper):
        yield "slice", ast.Slice(None, None, node.step)
    elif isinstance(node, ast.Call):
        yield from _mistaken_calls(node)


def _mistaken_calls(node: ast.Call) -> Iterator[tuple[str, ast.expr]]:
    for number, keyword in enumerate(node.keywords):
        axis = keyword.value.operand if isinstance(keyword.value, ast.UnaryOp) else keyword.value
        if keyword.arg == "axis" and isinstance(axis, ast.Constant) and isinstance(axis.value, int):
            other = ast.keyword("axis", ast.Constant(1 if axis.value == 0 else 0))
            yield "axis", ast.Call(node.func, node.args, [*node.keywords[:number], other, *node.keywords[number + 1 :]])
    if isinstance(node.func, ast.Attribute) and node.func.attr in SWAPPED_FUNCTIONS:
        swapped = ast.Attribute(node.func.value, SWAPPED_FUNCTIONS[node.func.attr], ast.Load())
        yield "function", ast.Call(swapped, node.args, node.keywords)


def _replace(tree: ast.AST, target: ast.AST, new: ast.AST) -> None:
    """Put ``new`` in the place of ``target``, which belongs to ``tree``."""
    new = copy.deepcopy(new)

    class Swap(ast.NodeTransformer):
        def visit(self, node: ast.AST) -> Any:
            return new if node is target else self.generic_visit(node)

    Swap().visit(tree)


def _code(tree: ast.FunctionDef | ast.Expression, function: FunctionType) -> CodeType:
    """The code of a changed function; inside a function with the same closure, so that its variables are the same."""
    names = function.__code__.co_freevars
    body: list[ast.stmt] = [ast.Return(tree.body)] if isinstance(tree, ast.Expression) else [tree]
    outer = ast.FunctionDef("outer", _no_arguments(), [*_assigned(names), *body], [], lineno=1)
    module = ast.fix_missing_locations(ast.Module([outer], []))
    with unwarned():  # some mutants make no sense
        code = compile(module, f"<mutant of {function.__qualname__}>", "exec")
    inner = next(const for const in code.co_consts if isinstance(const, CodeType))
    name = tree.name if isinstance(tree, ast.FunctionDef) else "<lambda>"  # annotations have code too (Python 3.14)
    return next(const for const in inner.co_consts if isinstance(const, CodeType) and const.co_name == name)


def _no_arguments() -> ast.arguments:
    return ast.arguments([], [], None, [], [], None, [])


def _assigned(names: tuple[str, ...]) -> list[ast.stmt]:
    return [ast.Assign([ast.Name(name, ast.Store())], ast.Constant(None)) for name in names]


def _limited(tree: ast.FunctionDef) -> ast.FunctionDef:
    """A copy whose ``while`` loops raise an error after MOST_ROUNDS: a mistake can make them endless."""
    tree = copy.deepcopy(tree)

    class Limit(ast.NodeTransformer):
        loops = 0

        def visit_While(self, node: ast.While) -> list[ast.stmt]:
            self.loops += 1
            rounds = f"_rounds_{self.loops}"
            self.generic_visit(node)
            count = f"{rounds} += 1\nif {rounds} > {MOST_ROUNDS}: raise RuntimeError('an endless loop')"
            node.body = [*ast.parse(count).body, *node.body]
            return [*ast.parse(f"{rounds} = 0").body, node]

    found = Limit().visit(tree)
    assert isinstance(found, ast.FunctionDef)
    return found


def _compiled(tree: ast.FunctionDef | ast.Lambda, function: FunctionType) -> Callable[..., Any]:
    """The changed function, with the globals, defaults and closure of the original."""
    code = _code(ast.Expression(tree) if isinstance(tree, ast.Lambda) else _limited(tree), function)
    cells = dict(zip(function.__code__.co_freevars, function.__closure__ or (), strict=True))
    closure = tuple(cells[name] for name in code.co_freevars)
    made = FunctionType(code, function.__globals__, function.__name__, function.__defaults__, closure)
    made.__kwdefaults__ = function.__kwdefaults__
    made.tree = tree  # type: ignore[attr-defined]
    return made


@dataclass(frozen=True)
class MutationReport:
    """What a check makes of the mutants of a backward.

    Attributes
    ----------
    caught : int
        Mutants that the check rejects, or that raise an error.
    equivalent : tuple of Mutation
        Mutants that are no mistake, proved in exact arithmetic.
    missed : tuple of Mutation
        Mutants that are wrong, or not proved right, and pass the check.
    """

    caught: int
    equivalent: tuple[Mutation, ...]
    missed: tuple[Mutation, ...]

    @property
    def score(self) -> float:
        """Share of the mistakes that the check catches, between 0 and 1; 1 if there are none to catch."""
        wrong = self.caught + len(self.missed)
        return self.caught / wrong if wrong else 1.0

    def __str__(self) -> str:
        wrong = self.caught + len(self.missed)
        lines = [f"mutation score: {self.caught} of {wrong} mistakes caught ({100 * self.score:.0f} %)"]
        if self.equivalent:
            lines.append(f"{len(self.equivalent)} more changes are no mistakes: proved.")
        lines += [f"MISSED  {mutant}" for mutant in self.missed]
        return "\n".join(lines)


def mutation_score(
    forward: Callable[..., Any],
    backward: Callable[..., Any],
    inputs: Any,
    check: Callable[[Callable[..., Any], Callable[..., Any], Any], Any] | None = None,
) -> MutationReport:
    """Let a check judge every mutant of a backward.

    A mutant that is proved right in exact arithmetic is no mistake, and is left out. All others should be rejected.

    Parameters
    ----------
    forward, backward, inputs
        As for :func:`check_vjp`; the source of ``backward`` is what is mutated.
    check : callable, optional
        ``check(forward, backward, inputs)`` returns a true value if it accepts the backward, a report whose ``ok`` says
        so, or nothing; it rejects by a false value or an error. By default :func:`check_vjp`.

    Returns
    -------
    MutationReport
        ``report.score``, ``report.missed``, ``print(report)``.

    Raises
    ------
    ValueError
        If the backward's source cannot be read, the check rejects the backward itself, or it cannot be proved.

    References
    ----------
    DeMillo, Lipton and Sayward (1978), "Hints on test data selection: help for the practicing programmer".

    Examples
    --------
    >>> import numpy as np
    >>> from numpy_attention.ops.attention import softmax, softmax_backward
    >>> scores, mask = np.array([[0.3, -0.2, 0.9]]), np.ones((1, 3), bool)
    >>> report = mutation_score(lambda e: (softmax(e, mask),) * 2, softmax_backward, scores)
    >>> report.score
    1.0
    """
    proof = prove_vjp(forward, backward, inputs)
    if proof.verdict != "PROVED":
        raise ValueError(f"backward: expected one that is proved right, to tell mutants that are wrong. {proof}")
    judge = check or _our_check
    if not _accepts(judge, forward, backward, inputs):
        raise ValueError("check: expected one that accepts the backward itself")
    caught, equivalent, missed = 0, [], []
    for mutant in mutations(backward):
        if not _accepts(judge, forward, mutant.function, inputs):
            caught += 1
        elif _proof(forward, mutant.function, inputs).verdict == "PROVED":
            equivalent.append(mutant)
        else:
            missed.append(mutant)
    return MutationReport(caught, tuple(equivalent), tuple(missed))


def _our_check(forward: Callable[..., Any], backward: Callable[..., Any], inputs: Any) -> Any:
    return check_vjp(forward, backward, inputs, show_progress=False)


def _proof(forward: Callable[..., Any], backward: Callable[..., Any], inputs: Any) -> Proof:
    try:
        with np.errstate(all="ignore"):
            return prove_vjp(forward, backward, inputs)
    except Exception as error:  # a mutant can raise anything
        return Proof("CANNOT PROVE", f"{type(error).__name__}: {error}")


def _accepts(check: Callable[..., Any], forward: Callable[..., Any], backward: Callable[..., Any], inputs: Any) -> bool:
    """True unless the check returns a false value, a report that is not ok, or raises an error."""
    try:
        with np.errstate(all="ignore"):
            found = check(forward, backward, inputs)
    except Exception:  # a mutant can raise anything, and so can a check
        return False
    return found is None or bool(getattr(found, "ok", found))
