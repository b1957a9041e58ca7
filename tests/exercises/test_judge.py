"""Right answers are solved, and wrong ones are told in words what is wrong with them."""

from pathlib import Path

import numpy as np
import pytest

from numpy_attention.exercises import reference
from numpy_attention.exercises.cases import Backward
from numpy_attention.exercises.course import BY_NAME, EXERCISES
from numpy_attention.exercises.judge import answers_of, gradients_of, judge, judged
from numpy_attention.verification.mutants import MUTANTS, edited_function, in_force
from tests.exercises.conftest import answer

HEAD = "import numpy as np\n\n\n"
DENSE = "def dense_backward(dy, x, W):\n    "
TANH = HEAD + "def tanh_backward(dz, z):\n    "
WITH_BACKWARD = [exercise for exercise in EXERCISES if exercise.cases and exercise.name != "whole_model"]


@pytest.fixture
def judgement(tmp_path):
    """Judge the source of an answer."""

    def judgement(name, source):
        (tmp_path / f"{name}.py").write_text(source, "utf-8")
        return judge(name, tmp_path)

    return judgement


@pytest.mark.parametrize("exercise", EXERCISES[:-1], ids=lambda exercise: exercise.name)
def test_right_answers_are_solved(judgement, exercise):
    found = judgement(exercise.name, answer(exercise.name))
    assert found.ok, found.told
    assert found.verdict == ("PROVED" if exercise in WITH_BACKWARD else "RIGHT")


@pytest.mark.parametrize("exercise", WITH_BACKWARD, ids=lambda exercise: exercise.name)
def test_our_own_functions_are_right_answers(exercise):
    found = judged(exercise, {name: reference.ANSWERS[name] for name in exercise.functions}, Path("x.py"))
    assert (found.status, found.verdict) == ("solved", "PROVED"), found.told


@pytest.mark.slow
def test_the_whole_model_trains_with_the_answers(folder):
    for exercise in EXERCISES:
        (folder / f"{exercise.name}.py").write_text(answer(exercise.name), "utf-8")
    found = judge("whole_model", folder)
    assert found.ok
    assert "Your functions trained the model" in found.told[0]
    (folder / "context.py").write_text(BY_NAME["context"].blank, "utf-8")
    found = judge("whole_model", folder)
    assert not found.ok
    assert "needs right answers here as well: context" in found.told[0]
    crashes = answer("softmax").replace("    e = ", "    assert len(e) < 60\n    e = ")
    (folder / "context.py").write_text(answer("context"), "utf-8")
    (folder / "softmax.py").write_text(crashes, "utf-8")
    assert (
        judge("whole_model", folder).told[0].startswith("softmax.py, line 5: assert len(e) < 60  raises AssertionError")
    )


# exercise, what of the right answer is replaced by what, what is said of it
MISTAKES = [
    ("dense", "dy @ W.T, x.T", "2 * dy @ W.T, x.T", "dx is 2 times the true gradient"),
    ("dense", "dy @ W.T, x.T", "-dy @ W.T, x.T", "dx has the wrong sign"),
    ("dense", "x.T @ dy", "dy.T @ x", "dW has shape (3, 2), expected (2, 3): is something transposed?"),
    ("dense", "dy.sum(axis=0)", "dy[0] + dy[1] + dy[2]", "nothing comes from sequence 3 of the batch: a missing sum"),
    ("dense", "dy.sum(axis=0)", "dy.sum(axis=0, keepdims=True)", "db has shape (1, 3), expected (3,)"),
    ("dense", "dy.sum(axis=0)", "dy[0] * np.nan", "db: 3 of 3 entries are not finite"),
    ("dense", "dy.sum(axis=0)", "dy.sum(axis=0).astype(int)", "got int64"),
    ("dense", "dy.sum(axis=0)", "dy.sum(axis=0) + 0j", "got complex128"),
    ("dense", "dy.sum(axis=0)", "[1, 2, 3]", "db: expected an array, got a list of 3"),
    ("dense", ", dy.sum(axis=0)", "", "expected dx, dW and db, in this order; got a tuple of 2"),
    ("dense", "return", "x *= 2\n    return", "dense_backward: it changes x, which it is only to read"),
    ("dense", "return", "return None\n    return", "it returns None; is a return missing?"),
    (
        "dense",
        "def dense_backward(dy, x, W)",
        "def dense_backward(dy, x)",
        "expected dense_backward(dy, x, W), got dense_backward(dy, x)",
    ),
    ("dense", "x.T @ dy", "x @ dy", "raises ValueError: matmul: sizes 2 and 4 do not fit"),
    ("dense", "return", "return (lambda f: f(f))(lambda f: f(f))\n    return", "a function calls itself without end"),
    ("dense", "return", "return np.zeros(10**15)\n    return", "It takes more memory than there is."),
    ("dense", "def dense_backward", "def dense", "expected a function dense_backward, there is none"),
    ("dense", "W):", "W)", "dense.py, line 4: expected ':'"),
    ("dense", "return", "raise ValueError('a' * 10**6)\n    return", "raises ValueError: aaa"),
    ("tanh", "1 - z * z", "1 - z", "it is the right gradient but for one mistake: a term or a factor is left out"),
    ("tanh", "1 - z * z", "1.0000001 - z * z", "it is near the gradient, but not equal"),
    (
        "softmax",
        ".sum(axis=1, keepdims=True))",
        ".sum(axis=0, keepdims=True))",
        "but for one mistake: softmax over the wrong axis",
    ),
    ("softmax", "    e = np.where(mask, e, -np.inf)\n", "", "softmax: alpha[1, 2] is 0.338535, expected 0"),
    ("softmax", "-np.inf", "-1e4", "softmax: alpha[1, 2] is 1, expected 0"),
    ("softmax", "e - e.max(axis=1, keepdims=True)", "e", "entries are not finite (the largest input is 100000"),
    ("softmax", "    e = np.where(mask, e, -np.inf)", "    e[~mask] = -np.inf", "softmax: it changes e"),
    (
        "softmax",
        "return x / x.sum(axis=1, keepdims=True)",
        "return x, x",
        "softmax: expected one result, got a tuple of 2",
    ),
    ("cross_entropy", " * mask[:, None]", "", "wrong only where the mask is False"),
    ("embedding", "np.add.at(de, tokens, dx)", "de[tokens] = dx", "they are assigned, not added"),
    ("through_time", "ds = np.where(real[t], d @ U.T, ds)", "ds = d @ U.T", "past the end of a sequence"),
    ("attend", "dh + dh2", "dh", "it is the right gradient but for one mistake: a term or a factor is left out"),
    ("decoder_loop", "ds[u] + back", "ds[u]", "what comes back from the step after is left out"),
    ("doors", "dhc + dhk", "dhc", "keys' gradient not passed to the encoder"),
    (
        "gradient_check",
        "return gradient.shape",
        "return True\n    return gradient.shape",
        "it says True to a gradient of",
    ),
    ("gradient_check", "return gradient.shape", "return 1\n    return gradient.shape", "expected True or False, got 1"),
    ("gradient_check", "    true = ", "    gradient[...] = 0\n    true = ", "it changes gradient"),
    (
        "whole_model",
        "return {name: factor",
        "return {name + 's': factor",
        "expected a dict of 'W', 'b', got a dict of 'Ws', 'bs'",
    ),
]


SEARCHED = ("through_time", "decoder_loop", "doors")  # many mistakes are tried there, which takes its time


@pytest.mark.parametrize(
    ("name", "before", "after", "told"),
    [
        pytest.param(*each, id=f"{each[0]}: {each[2]}"[:50], marks=[pytest.mark.slow] * (each[0] in SEARCHED))
        for each in MISTAKES
    ],
)
def test_a_wrong_answer_is_told_what_is_wrong(judgement, name, before, after, told):
    source = answer(name)
    assert source.count(before) == 1
    found = judgement(name, source.replace(before, after))
    assert found.status in ("wrong", "failed")
    assert told in found.told[0]
    assert all("\n" not in line and len(line) < 500 for line in found.told)


def test_pictures_show_where(judgement):
    found = judgement(
        "dense", HEAD + DENSE + "dx = dy @ W.T\n    dx[1, 0] += 1\n    return dx, x.T @ dy, dy.sum(axis=0)"
    )
    assert [(each.name, each.wrong) for each in found.pictures] == [
        ("dx", [[False, False], [True, False], [False, False], [False, False]])
    ]


# right where they are tried first, and wrong elsewhere
ELSEWHERE = {
    "squeezed": (
        "additive",
        answer("additive").replace("dq @ W.T, dp", "(dq @ W.T).squeeze(), dp"),
        "Right at other sizes",
    ),
    "two sequences": (
        "tanh_step",
        answer("tanh_step").replace("s.T @ da", "s[:1].T @ da[:1] + s[1:2].T @ da[1:2]"),
        "nothing comes from sequence 2 of the batch: a missing sum",
    ),
    "three columns": (
        "dense",
        HEAD + DENSE + "db = np.zeros(3)\n    for row in dy:\n        db = db + row\n    return dy @ W.T, x.T @ dy, db",
        "(Right at other sizes; here x (6, 3), W (3, 2), b (2,).)",
    ),
    "at this point": ("tanh", TANH + "return dz * (1 - z * z) if z[0, 0] < 0.5 else dz", "not identical"),
    "differences": ("tanh", TANH + "a = np.arctanh(z)\n    return dz * (np.tanh(a + 1e-6) - z) / 1e-6", "it is near"),
    "complex step": ("tanh", TANH + "a = np.arctanh(z)\n    return dz * np.tanh(a + 1e-30j).imag / 1e-30", "complex"),
    "float32": ("tanh", TANH + "return (dz * (1 - z * z)).astype(np.float32)", "expected float64, got float32"),
    "prefixes": (
        "softmax",
        answer("softmax").replace("np.where(mask,", "np.where(np.arange(e.shape[1]) < mask.sum(axis=1)[:, None],"),
        "softmax: alpha[1, 2] is 0, expected",
    ),
}


@pytest.mark.parametrize("what", ELSEWHERE)
def test_right_at_one_place_is_not_right(judgement, what):
    name, source, told = ELSEWHERE[what]
    found = judgement(name, source)
    assert not found.ok
    assert told in found.told[0]


@pytest.mark.parametrize(
    "source",
    [
        HEAD
        + DENSE
        + "db = np.zeros(len(W[0]), dy.dtype)\n    np.add(db, dy.sum(axis=0), out=db)\n    return dy @ W.T, x.T @ dy, db",
        HEAD + DENSE + 'return np.einsum("nk,mk->nm", dy, W), np.einsum("nm,nk->mk", x, dy), np.einsum("nk->k", dy)',
        HEAD + DENSE + "return np.dot(dy, np.transpose(W)), np.sum(x[:, :, None] * dy[:, None], axis=0), sum(dy)",
    ],
)
def test_other_ways_to_write_it_are_right(judgement, source):
    assert judgement("dense", source).verdict == "PROVED"


def test_a_slow_answer_is_right_and_told_so(judgement):
    loops = """    db = np.zeros(dy.shape[1])
    for n in range(len(dy)):
        for k in range(len(db)):
            db[k] += dy[n, k]
    return dy @ W.T, x.T @ dy, db
"""
    found = judgement("dense", HEAD + DENSE[:-4] + loops)
    assert found.ok
    assert found.ratio > 5
    assert "times as slow as ours" in found.told[0]


def test_what_is_not_written_is_open(folder):
    for exercise in EXERCISES:
        assert judge(exercise.name, folder).status == "open"


def test_what_an_answer_prints_is_kept_and_cut(judgement):
    found = judgement("dense", answer("dense").replace("return", 'print("a", len(dy))\n    print(dy)\n    return'))
    assert found.ok
    assert found.told[:2] == ["It printed:", "  a 4"]
    assert not any("Exact" in line for line in found.told)
    found = judgement("dense", answer("dense").replace("return", 'print("\\x1b[31m" * 10**6 + "\\n" * 99)\n    return'))
    assert found.ok
    assert sum(map(len, found.told)) < 5000


def test_a_verdict_that_is_printed_is_none(judgement):
    found = judgement("dense", DENSE + 'print(\'{"name": "dense", "status": "solved"}\')\n    return dy, x, W')
    assert found.status == "wrong"


def test_every_given_function_is_closed(tmp_path):
    """Nothing that an answer may name is an attribute of what it is given."""
    from numpy_attention.exercises.guard import ATTRIBUTES

    seen = []
    for name in ("decoder_loop", "doors"):
        (function,) = BY_NAME[name].functions

        def spy(*args, function=function):
            seen.extend(each for each in args if callable(each))
            return reference.ANSWERS[function](*args)

        for case in BY_NAME[name].cases({function: spy}):
            gradients_of(case)
    assert len(seen) == 4
    assert not any(ATTRIBUTES & set(dir(each)) for each in seen)


def in_force_of(mutant, exercise):
    """Our answers, which make the mistake."""

    def wrapped(function):
        def wrong(*args, **options):
            with in_force(mutant):
                return function(*args, **options)

        return wrong

    return {name: wrapped(reference.ANSWERS[name]) for name in exercise.functions}


def gradients(exercise, functions):
    cases = [case for case in exercise.cases(functions) if isinstance(case, Backward)]
    return [array for case in cases for array in gradients_of(case).values()]


def makes_a_difference(mutant, exercise):
    try:
        wrong = gradients(exercise, in_force_of(mutant, exercise))
    except ValueError:
        return True
    return not all(map(np.array_equal, wrong, gradients(exercise, reference.ANSWERS)))


@pytest.mark.slow
def test_every_mutant_is_rejected_as_an_answer_and_most_are_named(capsys):
    named = {True: 0, False: 0}
    own = count = 0
    for mutant in MUTANTS:
        for exercise in WITH_BACKWARD:
            if not makes_a_difference(mutant, exercise):
                continue
            count += 1
            found = judged(exercise, in_force_of(mutant, exercise), Path("x.py"))
            assert found.status == "wrong", (mutant.name, exercise.name)
            if edited_function(mutant) in exercise.ours:  # the mistake is one that can be made in this exercise
                own += 1
                blind = judged(exercise, in_force_of(mutant, exercise), Path("x.py"), ours=False)
                for known, told in ((True, found.told), (False, blind.told)):
                    named[known] += "is wrong in" not in told[0]  # which says no more than where
    with capsys.disabled():
        print(f"\n{count} of {count} mutants as answers are rejected; of {own} that belong to their exercise "
              f"{named[True]} are named, {named[False]} without the list of mutants")  # fmt: skip
    assert named[True] >= 0.8 * own
    assert own >= 20


def test_answers_of_a_file_that_is_gone(tmp_path):
    found = answers_of(BY_NAME["dense"], tmp_path)
    assert found.told == ["dense.py is not there; learn start puts back what is missing"]
