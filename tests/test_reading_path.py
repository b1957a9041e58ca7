"""The length of the way that a reader goes: one step of the default model, from loss_and_gradients to the last sum."""

import re
import sys
from pathlib import Path

import pytest

import numpy_attention
from numpy_attention import Batch, Seq2Seq

PACKAGE = Path(numpy_attention.__file__).parent
README = PACKAGE.parent / "README.md"
FILES, FUNCTIONS, LINES = 9, 36, 230  # at most


def trace(run):
    """Code objects, and (file, line) pairs of this package that ``run()`` executes."""
    codes, lines = set(), set()
    inside = str(PACKAGE)

    def local(frame, event, arg):
        if event == "line":
            lines.add((frame.f_code.co_filename, frame.f_lineno))
        return local

    def called(frame, event, arg):
        if not frame.f_code.co_filename.startswith(inside):
            return None
        codes.add(frame.f_code)
        return local

    before = sys.gettrace()
    sys.settrace(called)
    try:
        run()
    finally:
        sys.settrace(before)
    return codes, lines


@pytest.fixture(scope="module")
def step():
    """One step with validation, without dropout, on ragged sequences of a vocabulary smaller than the batch."""
    model = Seq2Seq(source_vocabulary=7, target_vocabulary=6, embedding_size=2, hidden_size=4)
    params = model.init()
    batch = Batch.from_sequences([[3, 4, 5, 6], [6, 5]], [[5, 4], [3, 3, 4]])
    model.loss_and_gradients(params, batch)  # what is computed once for a model is not a part of a step
    return trace(lambda: model.loss_and_gradients(params, batch))


def test_a_step_is_short_to_read(step):
    codes, lines = step
    assert len({code.co_filename for code in codes}) <= FILES
    names = sorted(f"{Path(code.co_filename).relative_to(PACKAGE)} {code.co_name}" for code in codes)
    assert len(names) <= FUNCTIONS, names
    assert len(lines) <= LINES


def rows_of(page):
    """(equation, file, functions) of each row of the table "From equation to code"."""
    section = page[page.index("From equation to code") :]
    table = re.search(r"(?:^\|.*\n)+", section, re.MULTILINE).group()
    for row in table.splitlines()[2:]:
        name, *_, code = (cell.strip() for cell in row.strip("|").split("|"))
        file, *functions = re.findall(r"`([^`]+)`", code)
        yield name, file, functions


def test_every_function_that_the_table_names_is_on_the_way(step):
    codes, _ = step
    executed = {(str(Path(code.co_filename).relative_to(PACKAGE)), code.co_name) for code in codes}
    rows = list(rows_of(README.read_text(encoding="utf-8")))
    assert len(rows) >= 10
    for name, file, functions in rows:
        assert functions, name
        for function in functions:
            assert (file, function) in executed, f"{name}: {file} {function}"


def test_the_table_names_both_ways_of_every_equation(step):
    """A forward with a backward beside it in its file stands in the table with it."""
    codes, _ = step
    executed = {(str(Path(code.co_filename).relative_to(PACKAGE)), code.co_name) for code in codes}
    named = {(file, each) for _, file, functions in rows_of(README.read_text("utf-8")) for each in functions}
    for file, function in named:
        backward = function.removesuffix("_forward") + "_backward"
        if (file, backward) in executed:
            assert (file, backward) in named, function
    backwards = {each for each in executed if each[1].endswith("_backward") and each[0] != "model/seq2seq.py"}
    assert backwards <= named
