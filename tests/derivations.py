"""Derivations that run: every ``==`` of a page's derivation is tested as an identity, in exact arithmetic.

A block of code below ``<!-- derivation -->`` defines and states. The blocks of a page are one program::

    x, w = given(2, 3), given(3)        # random numbers of a finite field
    y = np.tanh(x @ w)
    dy = given(2)
    L = (dy * y).sum()
    d(L, w) == (dy * (1 - y**2)) @ x == x.T @ (dy * (1 - y**2))

A line that compares states: neighbours in the chain are equal, entry by entry. ``d(L, w)`` is the gradient of the number
L with respect to w, which is a name from above: what was made of w is made anew with a slope on each of its entries in
turn, and the rest is held fixed. So of a w that was itself computed it is the partial derivative.
"""

from __future__ import annotations

import ast
import copy
import itertools
import re
from typing import Any, NamedTuple

import numpy as np

from numpy_attention.gradcheck.exact.arrays import exact_run, lifted, number, with_slopes
from numpy_attention.gradcheck.exact.field import BITS, Field, random_prime

BLOCK = re.compile(r"^<!-- derivation -->\n```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
BUDGET = 50_000_000


class Statement(NamedTuple):
    """One statement of a derivation, and the line of the page on which it stands."""

    line: int
    tree: ast.stmt

    @property
    def sides(self) -> list[ast.expr]:
        """What an identity says to be equal; empty for a definition."""
        expression = self.tree.value if isinstance(self.tree, ast.Expr) else None
        if not isinstance(expression, ast.Compare):
            return []
        return [expression.left, *expression.comparators]


class WrongStepError(AssertionError):
    """Two sides of an identity differ."""


def statements(page: str) -> list[Statement]:
    """All statements of a page's derivation, in order."""
    found = []
    for block in BLOCK.finditer(page):
        before = page.count("\n", 0, block.start(1))
        for tree in ast.parse(block[1]).body:
            statement = Statement(before + tree.lineno, tree)
            if isinstance(tree, ast.Expr):
                chain = tree.value
                if not isinstance(chain, ast.Compare) or not all(isinstance(each, ast.Eq) for each in chain.ops):
                    raise ValueError(f"line {statement.line}: expected a definition, or sides joined by ==")
            found.append(statement)
    return found


def check(page: str, seed: int = 0) -> int:
    """Check every ``==`` of a page, and count them; WrongStepError names the line and the two sides."""
    derivation = Derivation(seed)
    return sum(derivation.take(statement) for statement in statements(page))


class Derivation:
    """The names of a derivation so far, as exact numbers at one random point."""

    def __init__(self, seed: int = 0) -> None:
        self.field = Field(random_prime(seed, BITS), seed, BUDGET)
        self.rng = np.random.default_rng(seed)
        self.definitions: list[ast.stmt] = []
        self.names: dict[str, Any] = {"np": np, "given": self.given}

    def given(self, *shape: int) -> Any:
        """Random numbers: a new variable for every entry."""
        return lifted(self.field, self.rng.uniform(-1, 1, shape), slope=False)

    def take(self, statement: Statement) -> int:
        """Take a definition in, or check an identity; the number of its ``==``."""
        with exact_run(self.field, [self.names]):
            if not statement.sides:
                self._define(statement.tree, self.names)
                self.definitions.append(statement.tree)
                return 0
            values = [(ast.unparse(side), self.value(side)) for side in statement.sides]
        for (one, left), (other, right) in itertools.pairwise(values):
            if np.shape(left) != np.shape(right):
                raise WrongStepError(f"line {statement.line}: {one} is {np.shape(left)}, {other} is {np.shape(right)}")
            if self._numbers(left) != self._numbers(right):
                raise WrongStepError(f"line {statement.line}: {one} is not {other}")
        return len(values) - 1

    def value(self, side: ast.expr) -> Any:
        """The value of one side."""
        names = dict(self.names)
        side = _Gradients(self, names).visit(copy.deepcopy(side))
        return eval(compile(ast.fix_missing_locations(ast.Expression(side)), "derivation", "eval"), names)

    def gradient(self, of: ast.expr, name: str) -> Any:
        """The gradient of a number with respect to the array of this name."""
        at = self.names[name]
        first = next(number for number, tree in enumerate(self.definitions) if name in _assigned(tree))
        found = np.zeros(np.shape(at), object)
        for index in np.ndindex(found.shape):
            slopes = np.zeros(found.shape, int)
            slopes[index] = 1
            names = self.names | {name: with_slopes(np.asarray(at), slopes.reshape(-1).tolist())}
            for tree in self.definitions[first + 1 :]:
                if not _gives(tree):
                    self._define(tree, names)
            code = compile(ast.fix_missing_locations(ast.Expression(copy.deepcopy(of))), "derivation", "eval")
            slope = number(self.field, _entry(eval(code, names))).slope
            found[index] = type(number(self.field, 0.0))(self.field, 0.0, slope, 0, 1, 1)
        return found

    def _define(self, tree: ast.stmt, names: dict[str, Any]) -> None:
        exec(compile(ast.Module([tree], []), "derivation", "exec"), names)

    def _numbers(self, value: Any) -> list[Any]:
        entries = value.reshape(-1).tolist() if isinstance(value, np.ndarray) else [value]
        return [number(self.field, entry).value for entry in entries]


class _Gradients(ast.NodeTransformer):
    """Put the value of each d(L, x) in its place."""

    def __init__(self, derivation: Derivation, names: dict[str, Any]) -> None:
        self.derivation, self.names = derivation, names

    def visit_Call(self, node: ast.Call) -> ast.AST:
        if isinstance(node.func, ast.Name) and node.func.id == "d":
            of, by = node.args
            assert isinstance(by, ast.Name), "d(L, x): x is a name"
            name = f"gradient_{len(self.names)}"
            self.names[name] = self.derivation.gradient(of, by.id)
            return ast.Name(name, ast.Load())
        return self.generic_visit(node)


def _entry(value: Any) -> Any:
    """The one number of an array of one entry."""
    return value.reshape(-1).tolist()[0] if isinstance(value, np.ndarray) else value


def _assigned(tree: ast.stmt) -> set[str]:
    return {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}


def _gives(tree: ast.stmt) -> bool:
    """True of a definition that draws: it is not made of anything."""
    return any(isinstance(node, ast.Name) and node.id == "given" for node in ast.walk(tree))
