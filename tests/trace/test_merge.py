"""Several recordings as one: sizes follow counts, and nothing else may differ."""

import re
from collections import Counter
from types import ModuleType

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from numpy_attention.trace import program as module
from numpy_attention.trace.listing import Live
from numpy_attention.trace.merge import merged
from numpy_attention.trace.program import Program
from numpy_attention.trace.record import record
from numpy_attention.trace.replay import replay, result
from numpy_attention.trace.traced import CannotRecordError

RNG = np.random.default_rng(0)
COUNTS = [[9, 8, 5], [9, 7, 4], [9, 5, 3]]


def merge(code, counts=COUNTS, shape=(9, 4), **more):
    """``f(x, n, **more)``, with n for the counts, and the trace of its recordings."""
    made = ModuleType("made")
    exec("import numpy as np\n" + code, vars(made))
    inputs = {"x": RNG.standard_normal(shape), **more}
    traces = [record(lambda n=n, **given: {"y": made.f(n=n, **given)}, inputs, [made]) for n in counts]
    return made.f, merged(traces, counts)


STEPS = """
def f(x, n):
    s = x
    steps = []
    for count in n:
        s = np.tanh(s[:count] @ x[:4] + x[:count])
        steps.append(s * 2)
    y = np.zeros((len(n), *x.shape), x.dtype)
    for row, step in zip(y, steps):
        row[: len(step)] = step
    dnext = np.zeros_like(x)
    for u, count in reversed(list(enumerate(n))):
        dnext[:count] += y[u, :count]
        dnext[:count] = (dnext[:count].reshape(-1, 2) * 0.5).reshape(-1, 4) @ x[:4]
        dnext[:count] -= steps[u].sum(axis=1, keepdims=True)
    return y.sum(axis=0) + dnext
"""


F, TRACE = merge(STEPS)
PROGRAM = Program(TRACE, np.float64, {})


@settings(deadline=None)
@given(st.lists(st.integers(1, 9), min_size=2, max_size=2))
def test_a_program_has_the_bits_of_the_code_for_all_counts(counts):
    counts = [9, *sorted(counts, reverse=True)]
    for _ in range(2):
        x = RNG.standard_normal((9, 4))
        PROGRAM.inputs["x"][...] = x
        np.testing.assert_array_equal(PROGRAM.run(counts)["y"], F(x, counts), strict=True)


def test_a_merged_trace_has_the_largest_sizes_and_can_be_interpreted():
    followed = {(size.step, size.times) for call in TRACE.calls for size in call.out.shape if isinstance(size, Live)}
    assert followed == {(1, 1), (2, 1), (1, 2), (2, 2)}
    x = RNG.standard_normal((9, 4))
    found = result(TRACE, replay(TRACE, {"x": x}), "y")
    np.testing.assert_allclose(found, F(x, [9, 9, 9]), rtol=1e-13)


def test_a_call_may_follow_two_counts():
    f, trace = merge("def f(x, n):\n    y = x @ x.T\n    y[: n[1], : n[2]] *= 2\n    return y")
    program = Program(trace, np.float64, {})
    for counts in ([9, 9, 9], [9, 9, 4], [9, 4, 4], [9, 9, 9], [9, 2, 1]):
        x = RNG.standard_normal((9, 4))
        program.inputs["x"][...] = x
        np.testing.assert_array_equal(program.run(counts)["y"], f(x, counts), strict=True)


def test_calls_are_bound_once_for_every_value_of_their_counts(monkeypatch):
    program = Program(TRACE, np.float64, {})
    bound, original = [], module._first
    monkeypatch.setattr(module, "_first", lambda x, *given: bound.append(x) or original(x, *given))
    numbers = []
    for counts in ([9, 8, 5], [9, 8, 5], [9, 8, 2], [9, 3, 2], [9, 8, 5]):
        program.run(counts)
        numbers.append(len(bound))
    arrays = Counter()
    for part in program.parts:
        arrays[part.steps] += sum(bool(sizes) for _, arguments in part.largest for _, sizes in arguments)
    assert arrays[()] == 0 < arrays[1,] < arrays[2,] + 9
    assert numbers[0] == arrays.total()
    assert np.diff(numbers).tolist() == [0, arrays[2,], arrays[1,], 0]


def test_few_values_of_a_count_are_kept(monkeypatch):
    monkeypatch.setattr(module, "KEPT", 2)
    program = Program(TRACE, np.float64, {})
    for counts in ([9, 8, 5], [9, 7, 5], [9, 6, 4], [9, 8, 3]):
        x = RNG.standard_normal((9, 4))
        program.inputs["x"][...] = x
        np.testing.assert_array_equal(program.run(counts)["y"], F(x, counts), strict=True)
    assert {tuple(part.known) for part in program.parts if part.steps == (1,)} == {((6,), (8,))}


def test_a_part_of_a_step_that_looks_whole_at_the_largest_counts_is_copied():
    f, trace = merge(
        "def f(x, n):\n    y = x[: n[1]] * 2\n    z = np.zeros(x.shape)\n    z[: n[2]] = y[: n[2]]\n    return z * 1"
    )
    program = Program(trace, np.float64, {})
    for counts in ([9, 8, 2], [9, 9, 4], [9, 4, 4], [9, 9, 9]):
        x = RNG.standard_normal((9, 4))
        program.inputs["x"][...] = x
        np.testing.assert_array_equal(program.run(counts)["y"], f(x, counts), strict=True)


def test_copies_into_a_place_that_was_filled_with_zeros_are_left_out():
    def copies(calls):
        return Counter(STEPS.splitlines()[call.line - 2].strip() for call in calls if call.name == "copy")

    filled, row = "y = np.zeros((len(n), *x.shape), x.dtype)", "row[: len(step)] = step"
    before, after = copies(TRACE.calls), copies(call for part in PROGRAM.parts for call in part.calls)
    assert (before[filled], before[row]) == (1, 3)
    assert before - after == {row: 3}


@pytest.mark.parametrize(
    ("code", "said"),
    [
        (
            "x[: n[1]] if n[1] > 7 else x[: n[1]] * 2",
            "number of calls: expected the same in all recordings, got 0 and 1",
        ),
        ("x * n[1]", "input of multiply: expected the same in all recordings, got 8.0 and 7.0"),
        ("x * np.arange(n[1], n[1] + 4.0)", "constants: expected the same in all recordings, got {"),
        ("x * 2 if n[1] > 7 else x / 2", "call: expected the same in all recordings, got 'multiply' and 'divide'"),
        ("x[n[1] - 1] * 2", "input of multiply: expected the same in all recordings, got View(buffer=0, offset=28, "),
        ("np.ascontiguousarray(x.T)[:, : n[1]] * 2", "y: expected the same in all recordings, got View"),
        ("x[: n[1] + 1] * 2", "sizes (36, 32, 24): expected multiples of one count, got 0 such counts"),
        ("x[: n[1] // 2] * 2", "sizes (16, 12, 8): expected multiples of one count, got 0 such counts"),
        ("x.reshape(3, 3, 4) if n[1] == 7 else x", "y: expected the same in all recordings, got View"),
    ],
)
def test_what_is_more_than_a_size_is_refused(code, said):
    with pytest.raises(CannotRecordError, match="^" + re.escape(said)):
        merge(f"def f(x, n):\n    return {code}")


@pytest.mark.parametrize("counts", [[[9, 8, 8], [9, 7, 7]], [[9, 8, 4], [9, 6, 3]]])
def test_a_size_that_may_follow_either_of_two_counts_is_refused(counts):
    with pytest.raises(CannotRecordError, match=r"^sizes .*: expected multiples of one count, got 2 such counts$"):
        merge("def f(x, n):\n    return x[: n[1]] * 2", counts)


MASKED = {
    "chosen": "def f(x, mask, n):\n    return np.where(mask[:, None], x, -1.0)",
    "set": "def f(x, mask, n):\n    y = x * 2\n    y[~mask] = 0\n    return y",
    "set to an array": "def f(x, mask, n):\n    y = x * 2\n    y[mask] = x[0]\n    return y",
    "multiplied": "def f(x, mask, n):\n    y = x * 2\n    y *= mask[:, None]\n    return y",
    "turned round": "def f(x, mask, n):\n    return np.where(np.array([mask, mask]).T.ravel()[::2, None], x, x * 3)",
    "cut": "def f(x, mask, n):\n    return np.where(mask[: n[1], None], x[: n[1]], 0)[:1] * 1",
    "decided by": "def f(x, mask, n):\n    return x * 2 if mask.all() else np.where(mask[:, None], x * 2, x * 2)",
}


@pytest.mark.parametrize("name", MASKED)
def test_a_mask_may_be_another_in_every_run(name):
    code = MASKED[name].replace("np.array([mask, mask])", "np.array([mask, ~mask])")
    f, trace = merge(code, mask=np.ones(9, bool))
    program = Program(trace, np.float64, {})
    for mask in (np.zeros(9, bool), np.ones(9, bool), *(RNG.integers(0, 2, (4, 9)) == 1)):
        x = RNG.standard_normal((9, 4))
        inputs = {"x": x, "mask": mask}
        for key, value in inputs.items():
            program.inputs[key][...] = value
        expected = f(**inputs, n=COUNTS[0])
        np.testing.assert_array_equal(program.run(COUNTS[0])["y"], expected, strict=True)
        np.testing.assert_array_equal(result(trace, replay(trace, inputs), "y"), expected)
        complex_inputs = {"x": x + 1e-30j * x, "mask": mask}
        found = result(trace, replay(trace, complex_inputs, complex), "y")
        np.testing.assert_allclose(found, f(**complex_inputs, n=COUNTS[0]), rtol=1e-15)


def test_a_result_whose_size_follows_a_count_has_no_program():
    with pytest.raises(
        CannotRecordError, match="^y: expected an array of one size, got one whose size follows a count$"
    ):
        Program(merge("def f(x, n):\n    return x[: n[1]] * 2")[1], np.float64, {})


def test_an_index_whose_size_follows_a_count_has_no_program():
    with pytest.raises(CannotRecordError, match=": the size of an index follows a count$"):
        Program(merge("def f(x, k, n):\n    return x[k[: n[1]]].sum(axis=0)", k=np.arange(9))[1], np.float64, {})


def test_numbers_that_are_inverted_bit_by_bit_have_no_place_in_a_trace():
    with pytest.raises(CannotRecordError, match=r"^np\.invert, at .*, line 3, has no place in a trace$"):
        merge("def f(x, k, n):\n    return x[~k]", k=np.arange(3))
