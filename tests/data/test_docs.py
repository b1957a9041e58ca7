"""The examples in docs/data.md run, and print what they say."""

import contextlib
import io
import re
from pathlib import Path

from numpy_attention.data import tasks

PAGE = Path(__file__).parents[2] / "docs" / "data.md"


def test_page(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(tasks.TASKS, "sort", sorted)  # the page sets it too, and this takes it out again
    blocks = re.findall(r"```(python|text)\n(.*?)```", PAGE.read_text(encoding="utf-8"), flags=re.DOTALL)
    assert [kind for kind, _ in blocks] == ["python", "text"] * (len(blocks) // 2)
    namespace = {}
    for (_, program), (_, expected) in zip(blocks[::2], blocks[1::2], strict=True):
        output = io.StringIO()
        with contextlib.redirect_stdout(output):
            exec(compile(program, PAGE.name, "exec"), namespace)
        assert output.getvalue() == expected
