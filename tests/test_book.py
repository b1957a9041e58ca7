"""The pages of docs/book: every step of a derivation holds, the code shown is the code, the examples print what they say."""

import ast
import copy
import importlib.util
import re

import pytest

from tests import derivations
from tests.pages import DOCS, run_page

BOOK = DOCS / "book"
PAGES = sorted(path.name for path in BOOK.glob("*.md") if path.name != "README.md")


def page(name):
    return (BOOK / name).read_text(encoding="utf-8")


def writer():
    spec = importlib.util.spec_from_file_location("book", DOCS / "book.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", PAGES)
def test_every_equals_sign_of_a_derivation_holds(name):
    assert derivations.check(page(name), seed=0) >= 4


@pytest.mark.parametrize("name", PAGES)
def test_an_example_by_hand_prints_what_it_says(name):
    assert "## By hand" in page(name) or "## In the code" in page(name)
    run_page(f"book/{name}")


@pytest.mark.parametrize("name", PAGES)
def test_the_code_that_is_shown_is_the_code(name):
    assert writer().with_code(page(name), name) == page(name), "python docs/book.py writes it anew"


def test_code_that_is_gone_is_named_with_page_and_line():
    text = "# A page\n\n<!-- code: ops/cells.py no_such_step -->\n"
    with pytest.raises(LookupError, match=r"^cells.md, line 3: ops/cells.py has no no_such_step$"):
        writer().with_code(text, "cells.md")
    with pytest.raises(LookupError, match=r"^the page, line 1: there is no file ops/none.py$"):
        writer().with_code("<!-- code: ops/none.py f -->\n")


def test_the_index_names_every_page():
    assert set(re.findall(r"\]\((\d\d_\w+\.md)\)", page("README.md"))) == set(PAGES)


SWAPPED = {ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Add, ast.Div: ast.Mult, ast.MatMult: ast.Mult}


def mistakes(side, zero):
    """Every expression that is the given one but for one mistake; ``zero`` if the right value is 0."""
    for number, node in enumerate(ast.walk(side)):
        if isinstance(node, ast.BinOp) and type(node.op) in SWAPPED:
            changed = copy.deepcopy(side)
            list(ast.walk(changed))[number].op = SWAPPED[type(node.op)]()
            yield changed
        if isinstance(node, ast.Attribute) and node.attr == "T":
            changed = copy.deepcopy(side)
            list(ast.walk(changed))[number].attr = "real"
            yield changed
    yield ast.BinOp(ast.Constant(1), ast.Add(), copy.deepcopy(side))
    if not zero:
        yield ast.BinOp(ast.Constant(2), ast.Mult(), copy.deepcopy(side))


def planted(statement):
    """The statement with one wrong side, in every way."""
    zero = any(ast.unparse(side).startswith(("np.zeros", "0")) for side in statement.sides)
    for number, side in enumerate(statement.sides):
        for wrong in mistakes(side, zero):
            tree = copy.deepcopy(statement.tree)
            if number == 0:
                tree.value.left = wrong
            else:
                tree.value.comparators[number - 1] = wrong
            yield derivations.Statement(statement.line, ast.fix_missing_locations(tree)), ast.unparse(wrong)


@pytest.mark.slow
@pytest.mark.parametrize("name", PAGES)
def test_a_wrong_step_planted_anywhere_is_found(name):
    derivation, found = derivations.Derivation(), 0
    for statement in derivations.statements(page(name)):
        for wrong, side in planted(statement):
            try:
                derivation.take(wrong)
            except (derivations.WrongStepError, ValueError):  # ValueError: shapes that do not fit
                found += 1
            else:
                pytest.fail(f"line {statement.line}: {side} passes")
        derivation.take(statement)
    assert found >= 20


def test_a_wrong_step_is_told_with_its_line():
    text = (
        "# Tanh\n\n<!-- derivation -->\n```python\nx = given(2)\ny = np.tanh(x)\nL = y.sum()\nd(L, x) == 1 - y\n```\n"
    )
    with pytest.raises(derivations.WrongStepError, match=r"^line 8: d\(L, x\) is not 1 - y$"):
        derivations.check(text)
    with pytest.raises(ValueError, match=r"^line 5: expected a definition, or sides joined by ==$"):
        derivations.check("# x\n\n<!-- derivation -->\n```python\nnp.ones(2) < 3\n```\n")
    assert derivations.check(text.replace("1 - y", "1 - y * y")) == 1


@pytest.mark.parametrize("name", [*PAGES, "README.md"])
def test_equations_are_written_so_that_github_shows_them(name):
    text = re.sub(r"^```(?!math).*?^```$", "", page(name), flags=re.MULTILINE | re.DOTALL)
    assert "$$" not in text  # Markdown would take backslashes out of it: a block of math is left alone
    assert "\\operatorname" not in text
    for line in re.sub(r"^```math\n.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL).splitlines():
        line = re.sub(r"`[^`]*`", "", line)
        assert line.count("$") % 2 == 0, line
        for equation in re.findall(r"\$([^$]+)\$", line):
            assert not re.search(r"\\[^A-Za-z]", equation), equation
