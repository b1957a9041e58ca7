"""What is wrong with an answer, in sentences for its reader."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np

from .._code import argument_names
from .._text import brief
from ..gradcheck import GradientReport
from ..gradcheck.diagnosis import NO_PATTERN

MOST = 3  # gradients that are told of
# Broken laws of a backward, the first of which is told.
LAWS = {
    "zero cotangent gives zero": "an incoming gradient of zeros does not give zeros: is a term not multiplied by it?",
    "linear in the cotangent": "doubling the incoming gradient does not double the result: a backward is linear in it",
    "same answer twice": "two calls with the same arguments differ",
    "no leak between sequences": "what comes in for one row of the batch reaches another one",
}
Shape = tuple[int, ...]


def label(name: str, names: Sequence[str]) -> str:
    """What the exercise calls a gradient: ``dW``; of a whole model's parameters, the parameter's own name."""
    return name if any("." in each for each in names) else f"d{name}"


def results_of(blank: str, function: str) -> list[str]:
    """Names of a function's results, from its docstring in the blank file.

    Examples
    --------
    >>> results_of('def f(x): "x (N,)  ->  loss (a number), p (N, V)"', "f")
    ['loss', 'p']
    """
    said = ast.get_docstring(_functions(blank)[function]) or ""
    return re.findall(r"(\w+) \(", said.partition("->")[2])


def signature_told(blank: str, name: str, function: Callable[..., Any]) -> str:
    """What is wrong with the arguments of a function, or nothing.

    Examples
    --------
    >>> signature_told("def f(x, W): ...", "f", lambda x: x)
    'expected f(x, W), got f(x)'
    """
    try:
        got = argument_names(function)
    except (TypeError, ValueError):  # a ufunc, for one
        return ""
    expected = [argument.arg for argument in _functions(blank)[name].args.args]
    return "" if got == expected else f"expected {name}({', '.join(expected)}), got {name}({', '.join(got)})"


def _functions(blank: str) -> dict[str, ast.FunctionDef]:
    return {node.name: node for node in ast.parse(blank).body if isinstance(node, ast.FunctionDef)}


def shape_told(name: str, found: Shape, expected: Shape) -> str:
    """A wrong shape, and what it looks like.

    Examples
    --------
    >>> shape_told("db", (4, 3), (3,))
    'db has shape (4, 3), expected (3,): is a sum over axis 0 missing?'
    """
    said = f"{name} has shape {found}, expected {expected}"
    if len(found) > 1 and found == expected[::-1]:
        return f"{said}: is something transposed?"
    for axes in combinations(range(len(found)), max(len(found) - len(expected), 0)):
        if axes and tuple(np.delete(found, axes)) == expected:
            if all(found[axis] == 1 for axis in axes):
                return f"{said}: is an axis of length 1 left over, as from keepdims?"
            over = "axis" if len(axes) == 1 else "axes"
            return f"{said}: is a sum over {over} {' and '.join(map(str, axes))} missing?"
    if len(found) == len(expected) == 1:
        return f"{said}: does a sum run along the wrong axis?"
    return said


def form(found: Any, inputs: Mapping[str, Any], names: Sequence[str]) -> str:
    """What is wrong with the form of the gradients that came back, or nothing.

    Parameters
    ----------
    found : Any
        Of the backward.
    inputs : dict
        By name.
    names : list of str
        The inputs that have a gradient.
    """
    called = [label(name, names) for name in names]
    if any("." in name for name in names):
        if not isinstance(found, Mapping):
            return f"expected one dict of all gradients, got {kind_of(found)}"
        missing, more = [n for n in names if n not in found], [brief(n) for n in found if n not in names]
        if missing or more:
            said = f"the dict has no {', '.join(missing)}" if missing else f"the dict has {', '.join(more)} too many"
            return f"{said}: expected the gradients of all parameters, each by its name"
        parts = [found[name] for name in names]
    else:
        parts = list(found) if isinstance(found, (tuple, list)) else [found]
        if len(parts) != len(names):
            return f"expected {_listed(called)}, in this order; got {kind_of(found)}"
    for name, part in zip(called, parts, strict=True):
        if not isinstance(part, (np.ndarray, np.generic, float)):
            return f"{name}: expected an array, got {kind_of(part)}"
        if np.asarray(part).dtype != np.float64:
            return f"{name}: expected float64, got {np.asarray(part).dtype}"
    shapes = [(name, np.shape(part), inputs[key].shape) for name, key, part in zip(called, names, parts, strict=True)]
    wrong = [each for each in shapes if each[1] != each[2]]
    if len(wrong) > 1 and sorted(each[1] for each in wrong) == sorted(each[2] for each in wrong):
        swapped = " and ".join(each[0] for each in wrong)
        return f"{swapped} have each other's shape: expected {_listed(called)}, in this order"
    return "; ".join(shape_told(*each) for each in wrong[:MOST])


def kind_of(found: Any) -> str:
    """What something is, in a few words."""
    if isinstance(found, (tuple, list)):
        return f"a {type(found).__name__} of {len(found)}"
    if isinstance(found, np.ndarray):
        return f"one array of shape {found.shape}"
    return "None" if found is None else f"a {type(found).__name__}"


def _listed(names: Sequence[str]) -> str:
    return f"{', '.join(names[:-1])} and {names[-1]}" if len(names) > 1 else names[0]


def two_numbers(got: float, expected: float) -> str:
    """``3.1, expected 3``, with as many digits as they need to differ.

    Examples
    --------
    >>> two_numbers(1.00000001, 1.0)
    'is 1.00000001, expected 1'
    """
    said = ""
    for digits in (6, 9, 12, 17):
        said = f"is {got:.{digits}g}, expected {expected:.{digits}g}"
        if f"{got:.{digits}g}" != f"{expected:.{digits}g}":
            break
    return said


def telling(diagnosis: str) -> bool:
    """True if a diagnosis names a mistake, and does not only say where it is."""
    return bool(diagnosis) and NO_PATTERN not in diagnosis and not diagnosis.startswith("only ")


def report_told(report: GradientReport, names: Sequence[str]) -> list[str]:
    """What a report says of wrong gradients, the most telling first: broken laws, patterns, the worst entries."""
    broken = [law.name for law in report.laws if not law.ok]
    said = [sentence for name, sentence in LAWS.items() if name in broken][:1]
    rows = sorted((row for row in report.parameters if row.verdict != "ok"), key=lambda row: not telling(row.diagnosis))
    for row in rows[:MOST]:
        worst, name = "", label(row.name, names)
        if row.index is not None and row.gradient is not None and row.expected is not None:
            at = f"[{', '.join(map(str, row.index))}]" if row.index else ""
            worst = f" The worst: {name}{at} {two_numbers(row.gradient, row.expected)}."
        said.append(f"{name} {_diagnosis(row.diagnosis)}.{worst}")
    if len(rows) > MOST:
        said.append(f"Wrong as well: {', '.join(label(row.name, names) for row in rows[MOST:])}.")
    right = [label(row.name, names) for row in report.parameters if row.verdict == "ok"]
    if rows and 0 < len(right) <= 2 * MOST:
        said.append(f"Right: {', '.join(right)}.")
    return said or ["it is wrong"]


def _diagnosis(said: str) -> str:
    """A diagnosis of the checker as the end of a sentence, with what may be behind a factor."""
    said = said.partition(f"; {NO_PATTERN}")[0]
    counted = re.match(r"(all \d+|\d+ of \d+) entries are wrong(.*)", said)
    if counted:
        return f"is wrong in {counted[1]} entries{counted[2]}"
    here = re.match(r"only (.*) (?:is|are) wrong(.*)", said)
    if here:
        return f"is wrong in {here[1]} alone{here[2]}"
    factor = re.match(r"(-?[\d.]+) times the true gradient: a constant factor", said)
    if not factor:
        plain = said.startswith(("wrong ", "the transpose", "the true gradient with", "off "))
        return f"is {said}" if plain else f"is wrong: {said}"
    ratio = float(factor[1])
    if ratio == -1:
        return "has the wrong sign, and is right otherwise"
    if ratio > 2 and ratio == round(ratio):
        return f"is {ratio:g} times the true gradient (a sum in place of a mean?)"
    if 0 < ratio < 1 and abs(1 / ratio - round(1 / ratio)) < 1e-4:
        return f"is 1/{round(1 / ratio)} of the true gradient (a mean in place of a sum?)"
    return f"is {factor[1]} times the true gradient"
