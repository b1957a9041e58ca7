"""Write the code of the library into the pages of docs/book: ``python docs/book.py`` after a change of the code.

A page says what it shows in a comment, a file of the package and a function or a method in it::

    <!-- code: ops/cells.py tanh_step -->

Below the comment this program puts the function without its docstring, in place of what stood there.
"""

from __future__ import annotations

import ast
import re
from pathlib import Path

BOOK = Path(__file__).parent / "book"
PACKAGE = Path(__file__).parents[1] / "numpy_attention"
SHOWN = re.compile(r"^<!-- code: (\S+) (\S+) -->\n(?:`[^\n]*:\n\n```python\n.*?^```\n)?", re.MULTILINE | re.DOTALL)


def code_of(file: str, name: str) -> str:
    """A function or method of a file of the package, without its docstring; LookupError if it is not there."""
    path = PACKAGE / file
    if not path.exists():
        raise LookupError(f"there is no file {file}")
    source = path.read_text(encoding="utf-8")
    found: ast.AST = ast.parse(source)
    for part in name.split("."):
        inside = [each for each in ast.iter_child_nodes(found) if getattr(each, "name", None) == part]
        if not inside:
            raise LookupError(f"{file} has no {name}")
        found = inside[0]
    assert isinstance(found, ast.FunctionDef), f"{name} is no function"
    first, lines = found.body[0], source.splitlines()
    documented = isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant)
    begin = first.end_lineno if documented else first.lineno - 1
    code = [*lines[found.lineno - 1 : first.lineno - 1], *lines[begin : found.end_lineno]]
    indent = len(code[0]) - len(code[0].lstrip())
    return "\n".join(line[indent:] for line in code)


def with_code(page: str, name: str = "the page") -> str:
    """The text of a page with the code that it asks for; LookupError names page and line of what is gone."""

    def shown(found: re.Match[str]) -> str:
        file, function = found[1], found[2]
        try:
            code = code_of(file, function)
        except LookupError as error:
            line = page.count("\n", 0, found.start()) + 1
            raise LookupError(f"{name}, line {line}: {error}") from None
        place = f"`{function}` in [{file}](../../numpy_attention/{file}):"
        return f"<!-- code: {file} {function} -->\n{place}\n\n```python\n{code}\n```\n"

    return SHOWN.sub(shown, page)


def main() -> None:
    """Bring all pages up to date."""
    for path in sorted(BOOK.glob("*.md")):
        page = path.read_text(encoding="utf-8")
        written = with_code(page, path.name)
        if written != page:
            path.write_text(written, encoding="utf-8")
            print(f"{path.name} is written anew")


if __name__ == "__main__":
    main()
