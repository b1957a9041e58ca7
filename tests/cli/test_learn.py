"""``numpy-attention learn``, without the process in which it judges: tests/exercises/test_work.py starts that."""

import json
from pathlib import Path

import pytest

from numpy_attention.cli import main
from numpy_attention.exercises import work
from numpy_attention.exercises.course import EXERCISES
from numpy_attention.exercises.judge import judge
from tests.exercises.conftest import answer


@pytest.fixture
def learn(tmp_path, monkeypatch, capsys):
    """Run ``learn`` in an empty folder: status, lines, errors."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(work, "_judged", lambda folder, name: judge(name, folder.absolute()))

    def learn(*arguments):
        status = main(["learn", *arguments])
        out, err = capsys.readouterr()
        return status, out, err

    return learn


def solve(*names):
    for name in names:
        with open(f"ex/{name}.py", "w", encoding="utf-8") as file:
            file.write(answer(name))


def test_from_the_list_to_the_first_answer(learn):
    status, out, _ = learn()
    assert status == 0
    assert "numpy-attention learn start exercises" in out
    assert all(f" {exercise.name} " in out for exercise in EXERCISES)
    status, out, _ = learn("start", "ex")
    assert status == 0
    assert "numpy-attention learn check ex dense" in out
    status, out, _ = learn("check", "dense")
    assert (status, "OPEN" in out) == (1, True)
    solve("dense")
    status, out, _ = learn("check", "ex", "dense.py")
    assert status == 0
    assert "PROVED" in out
    assert "dense" in out
    status, out, _ = learn()
    assert "ex: 1 of 16 solved." in out
    assert "learn check tanh" in out
    assert max(map(len, out.splitlines())) <= 80


def test_check_of_all_that_is_begun(learn):
    learn("start", "ex")
    solve("tanh", "context")
    with open("ex/dense.py", "w") as file:
        file.write("def dense_backward(dy, x, W):\n    dW = x.T @ dy\n    dW[1, 2] = 0\n")
        file.write("    return dy @ W.T, dW, dy.sum(axis=0)\n")
    status, out, _ = learn("check")
    assert status == 1
    assert out.count("PROVED") == 2
    assert "REFUTED" in out
    assert "dW[1, 2] is 0, expected" in " ".join(out.split())
    assert "    · · ■" in out
    assert "numpy-attention learn hint dense" in " ".join(out.split())
    assert "softmax" in out  # among those not begun


def test_json(learn):
    learn("start", "ex")
    learn("hint", "tanh")
    solve("tanh")
    status, out, _ = learn("check", "ex", "tanh", "dense", "--json")
    assert status == 1
    found = json.loads(out)
    assert (found["folder"], found["solved"], found["of"]) == ("ex", 1, 2)
    assert [(each["name"], each["status"], each["verdict"], each["hints"]) for each in found["exercises"]] == [
        ("tanh", "solved", "PROVED", 1),
        ("dense", "open", "", 0),
    ]
    status, out, _ = learn("check", "tanh", "--json")
    assert (status, json.loads(out)["solved"]) == (0, 1)


def test_hints_one_by_one(learn):
    learn("start", "ex")
    lines = [learn("hint", "dense")[1] for _ in range(4)]
    assert ["1. " in text and "2. " not in text for text in lines] == [True, False, False, False]
    assert ["3. " in text for text in lines] == [False, False, True, True]
    assert learn("hint", "ex", "dense") == (0, lines[-1], "")


def test_show_once_it_is_solved(learn):
    learn("start", "ex")
    status, _, err = learn("show", "softmax")
    assert status == 2
    assert "once it is solved" in err
    solve("softmax")
    learn("check", "softmax")
    status, out, _ = learn("show", "softmax")
    assert status == 0
    assert "x = np.exp(e - e.max(axis=1, keepdims=True))" in out
    assert "def softmax_backward(dalpha: Array, alpha: Array)" in out
    with open("ex/softmax.py", "w") as file:
        file.write("def softmax(")
    status, _, err = learn("show", "softmax")
    assert (status, err.count("\n")) == (2, 1)


def test_nothing_from_outside_reaches_the_terminal_raw(learn):
    folder = "\x1b[31m\n"
    texts = ["".join(learn("start", folder)[1:])]
    with open(f"{folder}/dense.py", "w") as file:
        file.write("def dense_backward(dy, x, W):\n    print('\\x1b[31m')\n    raise ValueError('\\x1b]0;t\\x07')\n")
    texts += [
        "".join(learn(*arguments)[1:]) for arguments in ((), ("check", folder, "dense"), ("hint", folder, "dense"))
    ]
    texts += ["".join(learn("start", "other")[1:]), learn("check", "dense")[2], learn("\x1b")[2]]
    assert "\x1b" not in "".join(texts)
    assert "\x07" not in "".join(texts)
    assert r"\x1b]0;t\x07" in texts[2]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["chek"], "ACTION: expected one of start, check, hint, show, got 'chek'; did you mean check?"),
        (["check", "dens"], "NAME: expected a folder or an exercise, got 'dens'; did you mean dense?"),
        (["check"], "FOLDER: expected a folder of exercises, found none"),
        (["check", "file"], "file: expected a folder of exercises"),
        (["start"], "FOLDER: expected one folder to write the exercises into, got 0"),
        (["start", "a", "b"], "FOLDER: expected one folder to write the exercises into, got 2"),
        (["start", "file"], "FOLDER: expected a folder, got something else: file"),
        (["start", "."], "FOLDER: expected a new or an empty folder"),
        (["hint"], "NAME: expected one exercise, such as dense, got 0"),
        (["show", "dense", "tanh"], "NAME: expected one exercise, such as dense, got 2"),
        (["hint", "dense", "--json"], "--json: expected with check alone"),
        (["--jsn"], "--jsn"),
        (["check", "file", "file"], "NAME: expected a folder or an exercise, got 'file'"),
    ],
)
def test_bad_use_is_one_line(learn, arguments, told):
    with open("file", "w") as file:
        file.write("mine")
    status, out, err = learn(*arguments)
    assert (status, out) == (2, "")
    assert err.startswith("numpy-attention")
    assert told in err
    assert err.count("\n") == 1
    assert Path("file").read_text() == "mine"


def test_damaged_progress_is_one_line(learn):
    learn("start", "ex")
    with open("ex/progress.json", "w") as file:
        file.write("{")
    for arguments in ((), ("check", "dense"), ("hint", "dense"), ("show", "dense")):
        status, out, err = learn(*arguments)
        assert (status, out, err.count("\n")) == (2, "", 1)
        assert "ex/progress.json: expected what learn wrote" in err
