"""What an answer may do: compute with NumPy. The rest is refused before anything of it runs.

This keeps an answer honest, and a class's answers harmless to run. Only names on a list exist for it, and it can reach
no attribute that begins with an underscore, so it finds no way to the checker.
"""

from __future__ import annotations

import ast
import builtins
import math
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

MODULES = {"numpy": np, "math": math}
# fmt: off
BUILTINS = (
    "abs", "all", "any", "bool", "complex", "dict", "divmod", "enumerate", "filter", "float", "int", "len", "list",
    "map", "max", "min", "next", "pow", "print", "range", "reversed", "round", "set", "slice", "sorted", "str", "sum",
    "tuple", "zip", "iter", "True", "False", "None", "NotImplementedError", "ValueError", "AssertionError",
)
# Of NumPy: what reads or writes files, reaches into memory, or tells how an array is stored.
ATTRIBUTES = frozenset((
    "load", "save", "savez", "savez_compressed", "savetxt", "loadtxt", "genfromtxt", "fromfile", "tofile",
    "fromregex", "memmap", "dump", "dumps", "ctypes", "ctypeslib", "lib", "core", "testing", "f2py", "rec",
    "char", "setflags", "setfield", "getfield", "frombuffer", "data", "base", "flags", "kind", "itemsize",
    "strides", "typecodes", "gi_frame", "gi_code", "cr_frame", "f_globals", "f_back", "tb_frame",
    "set_printoptions", "seterr", "seterrcall", "setbufsize", "DataSource", "info", "show_config", "test",
    "random", "dtypes", "exceptions", "isrealobj", "iscomplexobj", "result_type", "polynomial",
))
# fmt: on
REFUSED = {
    ast.Try: "try: an answer needs none; let the error be seen",
    ast.ClassDef: "class: expected functions alone",
    ast.Global: "global: expected functions that remember nothing",
    ast.Nonlocal: "nonlocal: expected functions that remember nothing",
    ast.Delete: "del: expected nothing to be deleted",
    ast.With: "with: an answer needs none",
    ast.AsyncFunctionDef: "async: an answer needs none",
    ast.Await: "await: an answer needs none",
}


class RefusedError(ValueError):
    """An answer does what none may do; the message names the line."""


def check(source: str, name: str) -> None:
    """Raise RefusedError, or SyntaxError, unless the source is that of an answer.

    Parameters
    ----------
    source : str
    name : str
        Of the file, for messages.

    Examples
    --------
    >>> check("import numpy as np", "dense.py")
    >>> check("import os", "dense.py")
    Traceback (most recent call last):
    ...
    numpy_attention.exercises.guard.RefusedError: dense.py, line 1: import os: an answer imports numpy and math alone
    """
    for node in ast.walk(ast.parse(source, name)):
        for told in _refusals(node):
            raise RefusedError(f"{name}, line {getattr(node, 'lineno', 1)}: {told}")


def _refusals(node: ast.AST) -> Iterator[str]:
    """Why a node of the syntax tree is refused."""
    if type(node) in REFUSED:
        yield REFUSED[type(node)]
    if isinstance(node, ast.Import):
        for alias in node.names:
            if alias.name not in MODULES:
                yield f"import {alias.name}: an answer imports numpy and math alone"
    elif isinstance(node, ast.ImportFrom):
        if node.module not in MODULES or node.level:
            yield f"from {'.' * node.level}{node.module or ''} import: an answer imports numpy and math alone"
        for alias in node.names:
            if alias.name in ATTRIBUTES or alias.name.startswith(("_", "*")):
                yield f"import {alias.name}: an answer computes, with arrays as they come"
    elif isinstance(node, ast.Attribute):
        if node.attr.startswith("_") or node.attr in ATTRIBUTES:
            yield f".{node.attr}: an answer computes, with arrays as they come"
        if not isinstance(node.ctx, ast.Load):
            yield f".{node.attr} = ...: an answer changes nothing but its own variables"
    elif isinstance(node, ast.Name) and (node.id.startswith("__") or _is_barred(node)):
        yield f"{node.id}: an answer computes, with arrays as they come"
    elif isinstance(node, ast.Compare):
        for part in (node.left, *node.comparators):
            if isinstance(part, ast.Attribute) and part.attr == "dtype":
                yield "dtype: an answer does not ask what kind of numbers it is given"
    elif isinstance(node, ast.FunctionDef) and node.decorator_list:
        yield f"@ before {node.name}: an answer needs no decorator"


def _is_barred(node: ast.Name) -> bool:
    """True for the functions of Python that an answer has no use for."""
    return isinstance(node.ctx, ast.Load) and hasattr(builtins, node.id) and node.id not in BUILTINS


def load(path: Path, given: dict[str, Any]) -> ModuleType:
    """The module of an answer that was checked, with names that it is given.

    Parameters
    ----------
    path : Path
    given : dict
        Functions that it may call by name.

    Raises
    ------
    RefusedError, SyntaxError
        As :func:`check`.
    UnicodeDecodeError
        If the file is not text.
    """
    source = path.read_text("utf-8")
    check(source, path.name)
    module = ModuleType(f"answer_{path.stem}")
    module.__file__ = str(path)
    allowed = {name: getattr(builtins, name) for name in BUILTINS} | {"__import__": _import}
    vars(module).update(given, __builtins__=allowed)
    sys.modules[module.__name__] = module  # among the code that makes exact numbers during a proof
    exec(compile(source, str(path), "exec"), vars(module))
    return module


def _import(name: str, *args: Any, **options: Any) -> Any:
    """As Python's, for what the source was checked to import, and for what NumPy itself imports while it computes."""
    if name.partition(".")[0] not in MODULES:
        raise RefusedError(f"import {name}: an answer imports numpy and math alone")
    return builtins.__import__(name, *args, **options)
