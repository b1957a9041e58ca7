from pathlib import Path

import pytest

from numpy_attention.exercises import work

ANSWERS = Path(__file__).with_name("answers")


def answer(name):
    """The answer of an exercise, written as a learner would."""
    return (ANSWERS / f"{name}.py.txt").read_text("utf-8")


@pytest.fixture
def folder(tmp_path):
    """A folder of exercises, nothing written yet."""
    work.start(tmp_path / "course")
    return tmp_path / "course"
