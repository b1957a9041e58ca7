"""Pages of docs/ as tests: their code blocks run in order and print what is shown below them."""

import contextlib
import io
import re
from pathlib import Path

DOCS = Path(__file__).parents[1] / "docs"


def run_page(name):
    """Run the python blocks of a page in one namespace; each has a text block with its output.

    Left out are blocks of derivations, and code that is shown: a comment above them says so.
    """
    page = re.sub(
        r"^<!-- (?:derivation|code: [^\n]*) -->\n(?:`[^\n]*\n\n)?```python\n.*?^```$",
        "",
        (DOCS / name).read_text(encoding="utf-8"),
        flags=re.DOTALL | re.MULTILINE,
    )
    blocks = re.findall(r"```(python|text)\n(.*?)```", page, flags=re.DOTALL)
    assert [kind for kind, _ in blocks] == ["python", "text"] * (len(blocks) // 2)
    namespace = {}
    for (_, program), (_, expected) in zip(blocks[::2], blocks[1::2], strict=True):
        output = io.StringIO()
        with contextlib.redirect_stdout(output):
            exec(compile(program, name, "exec"), namespace)
        assert output.getvalue() == expected


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
