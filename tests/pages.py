"""Pages of docs/ as tests: their code blocks run in order and print what is shown below them."""

import contextlib
import io
import re
from pathlib import Path

DOCS = Path(__file__).parents[1] / "docs"


MARKED = re.compile(
    r"^<!-- (?:derivation|code: [^\n]*) -->\n(?:`[^\n]*\n\n)?```python\n.*?^```$", re.DOTALL | re.MULTILINE
)


def run_page(name):
    """Run the python blocks of a page in one namespace; each has a text block with its output.

    Left out are blocks of derivations, and code that is shown: a comment above them says so.
    """
    run_blocks((DOCS / name).read_text(encoding="utf-8"), name)


def run_blocks(page, name):
    """As :func:`run_page`; an error names the page and the line of what differs."""
    page = MARKED.sub(lambda found: "\n" * found[0].count("\n"), page)
    blocks = list(re.finditer(r"```(python|text)\n(.*?)```", page, flags=re.DOTALL))
    namespace = {}
    for place, block in enumerate(blocks):
        line = page.count("\n", 0, block.start()) + 1
        assert block[1] == ("python", "text")[place % 2], f"{name}, line {line}: python and text blocks take turns"
        if block[1] == "python":
            output = io.StringIO()
            with contextlib.redirect_stdout(output):
                exec(compile("\n" * line + block[2], name, "exec"), namespace)
        else:
            assert output.getvalue() == block[2], f"{name}, line {line}: the program above prints\n{output.getvalue()}"
    assert len(blocks) % 2 == 0, f"{name}: the last program has no text block"


@contextlib.contextmanager
def unchanged(*dicts):
    """Put dicts back as they were, after a page that adds to them."""
    copies = [dict(each) for each in dicts]
    try:
        yield
    finally:
        for each, copy in zip(dicts, copies, strict=True):
            each.clear()
            each.update(copy)
