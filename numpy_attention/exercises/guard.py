"""What an answer may do: compute with NumPy. The rest is refused before anything of it runs.

It may use names that stand on the lists below and no others, so it finds no way to the checker, to files or to our own
functions. At the top of its file stand imports, functions and numbers alone, so it cannot remember one call in the
next. An answer that told exact numbers from floats all the same would gain nothing: it has to be right in both.

This keeps an answer honest and, as far as a list can, harmless. It is no wall against somebody who means harm.
"""

from __future__ import annotations

import ast
import builtins
import math
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from .._code import unwarned

MODULES = {"numpy": np, "math": math}
LARGEST = 1 << 20  # bytes of a file
BUILTINS = """
abs all any bool complex dict divmod enumerate filter float int iter len list map max min next pow print range
reversed round set slice sorted sum tuple zip True False None NotImplementedError ValueError AssertionError
""".split()  # noqa: SIM905
# Of NumPy, of arrays, of lists, dicts and strings, and all of math.
ATTRIBUTES = frozenset(
    """
T abs absolute accumulate add all allclose amax amin any append arange arccos arccosh arcsin arcsinh arctan arctan2
arctanh argmax argmin argpartition argsort around array array_equal array_split asarray ascontiguousarray astype at
atleast_1d atleast_2d atleast_3d average bincount block bool bool_ broadcast_arrays broadcast_shapes broadcast_to cbrt
ceil clip column_stack complex128 complex64 compress concat concatenate conj conjugate convolve copy copysign copyto
correlate cos cosh count count_nonzero cumprod cumsum diag diagflat diagonal diff digitize divide dot dstack dtype e
einsum empty empty_like endswith equal exp exp2 expand_dims expm1 extend eye fabs fill fill_diagonal flat flatnonzero
flatten flip fliplr flipud float16 float32 float64 float_power floor floor_divide fmax fmin fromfunction fromiter full
full_like get gradient greater greater_equal heaviside hsplit hstack hypot identity imag index indices inf inner insert
int16 int32 int64 int8 integer intp invert isclose isfinite isin isinf isnan item items ix_ join keys kron less
less_equal linalg linspace log log10 log1p log2 logaddexp logical_and logical_not logical_or logical_xor mT matmul
matrix_transpose matvec max maximum mean median meshgrid min minimum mod moveaxis multiply nan nan_to_num nanmax nanmean
nanmin nansum ndarray ndenumerate ndim ndindex negative newaxis nonzero norm not_equal ones ones_like outer pad
permute_dims pi pop popitem positive power prod ptp put put_along_axis ravel ravel_multi_index real reciprocal reduce
reduceat remainder remove repeat reshape resize reverse rint roll rollaxis rot90 round searchsorted select setdefault
shape sign signbit sin sinc sinh size sort split sqrt square squeeze stack startswith std subtract sum swapaxes take
take_along_axis tan tanh tensordot tile tolist trace transpose tri tril tril_indices triu triu_indices true_divide trunc
unique unravel_index update values vander var vdot vecdot vecmat vectorize vsplit vstack where zeros zeros_like
""".split()  # noqa: SIM905
) | {name for name in dir(math) if not name.startswith("_")}
# Functions that are handed a dtype.
MAKERS = frozenset(
    """
arange array asarray astype empty empty_like eye full full_like identity ones ones_like zeros zeros_like
""".split()  # noqa: SIM905
)
TOP = (ast.Import, ast.ImportFrom, ast.FunctionDef)
REFUSED = {
    "Try": "try: an answer needs none; let the error be seen",
    "TryStar": "try: an answer needs none; let the error be seen",
    "ClassDef": "class: expected functions alone",
    "Global": "global: expected functions that remember nothing",
    "Nonlocal": "nonlocal: expected functions that remember nothing",
    "Delete": "del: expected nothing to be deleted",
    "With": "with: an answer needs none",
    "Match": "match: an answer needs none",
    "AsyncFunctionDef": "async: an answer needs none",
    "Await": "await: an answer needs none",
}
ONLY = "an answer may import numpy and math, and nothing else"
UNLISTED = "it is not among what an answer may use"


class RefusedError(ValueError):
    """An answer does what none may do; the message names the line."""


def check(source: str, name: str) -> ast.Module:
    """Raise RefusedError, or SyntaxError, unless the source is that of an answer.

    Parameters
    ----------
    source : str
    name : str
        Of the file, for messages.

    Returns
    -------
    ast.Module
        Its syntax tree, without type hints, and without what stands under ``if __name__ == "__main__":``, which is the
        reader's own affair.

    Examples
    --------
    >>> tree = check("import numpy as np", "dense.py")
    >>> check("import os", "dense.py")
    Traceback (most recent call last):
    ...
    numpy_attention.exercises.guard.RefusedError: dense.py, line 1: import os: an answer may import numpy and math, \
and nothing else
    """
    with unwarned():
        tree = ast.parse(source, name)
    tree.body = [statement for statement in tree.body if not _is_own_affair(statement)]
    for node in ast.walk(tree):
        if isinstance(node, ast.arg):
            node.annotation = None
        elif isinstance(node, ast.AnnAssign):
            node.annotation = ast.copy_location(ast.Constant(None), node)
        elif isinstance(node, ast.FunctionDef):
            node.returns = None
    for node, told in (*_everywhere(tree), *_at_the_top(tree)):
        raise RefusedError(f"{name}, line {getattr(node, 'lineno', 1)}: {told}")
    return tree


def _is_own_affair(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.If) and ast.unparse(statement.test) == "__name__ == '__main__'"


def _at_the_top(tree: ast.Module) -> Iterator[tuple[ast.AST, str]]:
    """Statements at the top of the file that could do or remember something."""
    for statement in tree.body:
        if isinstance(statement, (ast.Assign, ast.AnnAssign)):
            targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
            parts = [part for each in targets for part in ast.walk(each)]
            named = all(isinstance(part, (ast.Name, ast.Tuple, ast.expr_context)) for part in parts)
            fine = named and (isinstance(statement.value, ast.Lambda) or _is_number(statement.value))
        elif isinstance(statement, ast.Expr):
            fine = isinstance(statement.value, ast.Constant)
        else:
            fine = isinstance(statement, TOP)
        if not fine:
            yield (
                statement,
                'at the top expected imports, functions and numbers; the rest under if __name__ == "__main__":',
            )


def _is_number(node: ast.AST | None) -> bool:
    """True for a constant, or a few of them: nothing that could change."""
    if isinstance(node, ast.BinOp):
        return isinstance(node.op, (ast.Add, ast.Sub, ast.Mult, ast.Div)) and all(
            map(_is_number, (node.left, node.right))
        )
    if isinstance(node, ast.Tuple):
        return all(map(_is_number, node.elts))
    if isinstance(node, ast.Attribute):  # np.inf, np.float64
        return isinstance(node.value, ast.Name)
    return _is_number(node.operand) if isinstance(node, ast.UnaryOp) else isinstance(node, ast.Constant)


def _everywhere(tree: ast.Module) -> Iterator[tuple[ast.AST, str]]:
    """What is refused wherever it stands."""
    dtypes, texts = set(), set()  # places where a dtype is handed on, and where text is only shown
    for node in ast.walk(tree):
        called = getattr(node.func, "attr", getattr(node.func, "id", "")) if isinstance(node, ast.Call) else ""
        if isinstance(node, ast.Call) and called in MAKERS:
            dtypes |= {id(value) for value in (*node.args, *(keyword.value for keyword in node.keywords))}
        if called == "print" or isinstance(node, (ast.Raise, ast.Assert)):
            texts |= {id(part) for part in ast.walk(node)}
    for node in ast.walk(tree):
        if isinstance(node, (ast.Import, ast.ImportFrom)) and node not in tree.body:
            yield node, "import: expected at the top of the file"
        if isinstance(node, ast.Attribute) and node.attr == "dtype" and id(node) not in dtypes:
            yield node, "dtype: an answer hands it on, as in np.zeros(shape, x.dtype), and does not ask what it is"
        if isinstance(node, ast.JoinedStr) and id(node) not in texts:
            yield node, "a text made of values: expected in print or raise alone"
        for told in _refusals(node):
            yield node, told


def _refusals(node: ast.AST) -> Iterator[str]:
    """Why a node of the syntax tree is refused."""
    kind = type(node).__name__
    if kind in REFUSED:
        yield REFUSED[kind]
    for name in _bound(node):
        if name.startswith("__"):
            yield f"{name}: {UNLISTED}"
    if isinstance(node, (ast.Import, ast.ImportFrom)):
        yield from _imports(node)
    elif isinstance(node, ast.Attribute):
        if node.attr not in ATTRIBUTES:
            yield f".{node.attr}: {UNLISTED}"
        if not isinstance(node.ctx, ast.Load):
            yield f".{node.attr} = ...: an answer changes nothing but its own variables"
    elif isinstance(node, ast.Name):
        if node.id.startswith("__") or (isinstance(node.ctx, ast.Load) and _is_barred(node.id)):
            yield f"{node.id}: {UNLISTED}"
    elif isinstance(node, ast.Compare):
        for operator, part in zip(node.ops, node.comparators, strict=True):
            if isinstance(operator, (ast.Is, ast.IsNot)) and not isinstance(part, ast.Constant):
                yield "is: expected with None alone; two values are compared by =="
    elif isinstance(node, (ast.FunctionDef, ast.Lambda)):
        if getattr(node, "decorator_list", ()):
            yield "@: an answer needs no decorator"
        if not all(map(_is_number, filter(None, (*node.args.defaults, *node.args.kw_defaults)))):
            yield "expected numbers as defaults of arguments"


def _bound(node: ast.AST) -> Iterator[str]:
    """The names that a node gives to something, other than by assignment."""
    if isinstance(node, ast.FunctionDef):
        yield node.name
    elif isinstance(node, ast.arg):
        yield node.arg
    elif isinstance(node, ast.alias):
        yield node.asname or ""


def _imports(node: ast.Import | ast.ImportFrom) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from (f"import {alias.name}: {ONLY}" for alias in node.names if alias.name not in MODULES)
    elif node.module == "__future__":
        return
    elif node.module not in MODULES or node.level:
        yield f"from {'.' * node.level}{node.module or ''} import: {ONLY}"
    else:
        yield from (f"import {alias.name}: {UNLISTED}" for alias in node.names if alias.name not in ATTRIBUTES)


def _is_barred(name: str) -> bool:
    """True for the functions of Python that an answer has no use for."""
    return hasattr(builtins, name) and name not in BUILTINS


def load(path: Path, given: dict[str, Any], show: Callable[..., None] = print) -> ModuleType:
    """The module of an answer that was checked, with names that it is given.

    Parameters
    ----------
    path : Path
    given : dict
        Functions that it may call by name.
    show : function
        In place of ``print``.

    Raises
    ------
    RefusedError, SyntaxError
        As :func:`check`.
    ValueError
        If it is no text file of a reasonable size.
    OSError
        If it cannot be read.
    """
    if (path.exists() or path.is_symlink()) and not path.is_file():  # reading a pipe would not end
        raise ValueError("expected a file")
    if path.stat().st_size > LARGEST:
        raise ValueError(f"expected at most {LARGEST >> 20} MB, got {path.stat().st_size / (1 << 20):.0f} MB")
    try:
        source = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"expected text in UTF-8, got the byte 0x{error.object[error.start]:02x}") from error
    tree = check(source, path.name)
    module = ModuleType(f"answer_{path.stem}")
    module.__file__ = str(path)
    allowed = {name: getattr(builtins, name) for name in BUILTINS} | {"print": show}
    allowed["__import__"] = builtins.__import__  # for what was checked, and for what NumPy imports as it computes
    vars(module).update(given, __builtins__=allowed)
    sys.modules[module.__name__] = module  # among the code that makes exact numbers during a proof
    exec(compile(tree, str(path), "exec"), vars(module))
    return module
