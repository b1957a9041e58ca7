"""The notebook in the tree is what its script makes, and its cells run."""

import json
import runpy
from pathlib import Path

import pytest

from numpy_attention.exercises import check
from numpy_attention.exercises.course import BY_NAME
from numpy_attention.exercises.judge import Judgement, Picture
from numpy_attention.exercises.shown import Checked, details
from tests.exercises.conftest import answer

FOLDER = Path(__file__).parents[2] / "docs" / "notebooks"
CELLS = json.loads((FOLDER / "exercises.ipynb").read_text("utf-8"))["cells"]


def results(cells):
    """Run the code of cells in one namespace; what the checks return."""
    namespace, found = {}, []
    for source in cells:
        if source.startswith("check("):
            found.append(eval(source, namespace))
        else:
            exec(source, namespace)
    return found


def code(answers):
    """The cells' code; with the answers in the place of the gaps."""
    sources = ["".join(cell["source"]) for cell in CELLS if cell["cell_type"] == "code"]
    if not answers:
        return sources
    names = iter(("dense", "tanh", "softmax"))
    return [answer(next(names)) if "NotImplementedError" in source else source for source in sources]


def test_it_is_what_the_script_makes():
    assert runpy.run_path(str(FOLDER / "make_exercises.py"))["notebook"]() == (FOLDER / "exercises.ipynb").read_text(
        "utf-8"
    )


def test_its_cells_with_the_blanks_and_with_the_answers():
    assert list(map(repr, results(code(answers=False)))) == [
        f"{name}: OPEN, Not written yet." for name in ("dense", "tanh", "softmax")
    ]
    found = results(code(answers=True))
    assert [repr(each) for each in found] == ["dense: PROVED", "tanh: PROVED", "softmax: PROVED"]
    assert all(each.ok for each in found)


def test_a_wrong_function_is_told_as_in_the_terminal():
    def dense_backward(dy, x, W):
        return dy @ W.T, x.T @ dy, 2 * dy.sum(axis=0)

    found = check("dense", dense_backward)
    assert not found.ok
    assert repr(found).startswith("dense: REFUTED, dense_backward: db is 2 times the true gradient.")
    assert "\n" not in repr(found)
    assert "      ■ ■ ■" in str(found)
    assert "<b" in found._repr_html_()
    assert check("dense", {"dense_backward": dense_backward}) == found


def test_matrices_stand_side_by_side_and_nothing_is_wider_than_a_terminal():
    wrong = [[row == 2, False] for row in range(6)]
    lines = details(Judgement("context", "wrong", "REFUTED", ["a" * 200, "  b"], [Picture("dh", wrong, (2, 3, 2))]))
    assert lines[-7:] == [
        "    dh (2, 3, 2): ■ wrong, · right",
        "      dh[0]  dh[1]",
        "      · ·    · ·",
        "      · ·    · ·",
        "      ■ ·    · ·",
        "    Read: Bahdanau, Cho and Bengio (2015), eq. (5), and the stage Gradient of",
        "      the weights in numpy-attention explain.",
    ]
    assert max(map(len, lines)) <= 80
    wide = details(Judgement("context", "wrong", "REFUTED", [], [Picture("dh", [[True] * 99] * 99, (99, 99))]))
    assert max(map(len, wide)) <= 80
    assert "the first entries" in wide[0]


def test_html_is_escaped():
    assert "<x>" not in Checked(Judgement("dense", "wrong", "", ["<x>\x1b"]))._repr_html_()


@pytest.mark.parametrize(
    ("name", "functions", "told"),
    [
        ("dens", max, "name: expected one of dense, tanh"),
        ("softmax", max, "functions: expected softmax, softmax_backward, got no softmax and no softmax_backward"),
        ("dense", {"dense_backward": 1}, "got no dense_backward"),
        ("dense", 1, "functions: expected"),
    ],
)
def test_bad_use_is_one_line(name, functions, told):
    with pytest.raises(ValueError, match=told):
        check(name, functions)


def test_every_line_of_a_blank_fits_a_terminal():
    for exercise in BY_NAME.values():
        assert max(map(len, exercise.blank.splitlines())) <= 80, exercise.name
