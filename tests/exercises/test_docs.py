"""docs/exercises.md: its commands and programs print what it says."""

import contextlib
import io
import re
import shlex
from pathlib import Path

import pytest

from numpy_attention.cli import main
from numpy_attention.exercises import child, work
from numpy_attention.exercises.course import EXERCISES
from numpy_attention.exercises.guard import ATTRIBUTES
from tests.exercises.conftest import answer
from tests.pages import DOCS

PAGE = (DOCS / "exercises.md").read_text("utf-8")


def test_the_table_of_exercises_is_the_course():
    rows = re.findall(r"^\| (\d+) \| `(\w+)` \| (.*) \|$", PAGE, re.MULTILINE)
    assert rows == [(str(number), each.name, each.title) for number, each in enumerate(EXERCISES, start=1)]


def test_its_limits_are_those_of_the_code():
    assert f"may take {work.LIMIT} seconds ({work.TRAINING_LIMIT} for exercise 16)" in PAGE
    assert f"{child.MEMORY >> 30} GB of memory" in PAGE
    assert "some 290 of NumPy's" in PAGE
    assert abs(len(ATTRIBUTES) - 290) < 10  # a newer Python has more of math


def make_class():
    for name in ("ada", "bob"):
        work.start(Path("class") / name)
    for folder, name in (("ada", "dense"), ("ada", "tanh"), ("ada", "softmax"), ("bob", "dense")):
        (Path("class") / folder / f"{name}.py").write_text(answer(name), "utf-8")
    Path("class/bob/softmax.py").write_text("from numpy_attention.ops.attention import softmax, softmax_backward\n")
    for _ in range(2):
        work.next_hint(Path("class/bob"), "dense")
    Path("class/carl").mkdir()


def printed(kind, text, namespace):
    """What a block prints."""
    output = io.StringIO()
    with contextlib.redirect_stdout(output):
        if kind == "python":
            exec(compile(text, "exercises.md", "exec"), namespace)
        else:
            main(shlex.split(text)[1:])
    return output.getvalue()


@pytest.mark.slow
def test_everything_on_the_page_prints_what_it_says(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(DOCS.parent))
    make_class()
    blocks, namespace, program = re.findall(r"```(\w+)\n(.*?)```", PAGE, re.DOTALL), {}, ""
    assert {kind for kind, _ in blocks} == {"console", "py", "python", "text", "sh"}
    for kind, text in blocks:
        if kind == "py":
            path, _, source = text.removeprefix("# ").partition("\n")
            Path(path).write_text(source, "utf-8")
        elif kind == "python":
            program = printed("python", text, namespace)
        elif kind == "text":
            assert program == text
        elif kind == "console":
            for command, expected in re.findall(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", text, re.MULTILINE):
                assert printed(kind, command, namespace) == expected
