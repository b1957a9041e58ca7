"""Traces that are bound to arrays: the bits of the code, and memory that is used again."""

import subprocess
import sys
from types import ModuleType

import numpy as np
import pytest

from numpy_attention.trace.program import LINE, Program
from numpy_attention.trace.record import record
from numpy_attention.trace.traced import CannotRecordError

RNG = np.random.default_rng(0)


def program_of(code, inputs, given=(), dtype=np.float64):
    """The program of a function ``f``, and the trace that it is made of."""
    made = ModuleType("made")
    exec("import numpy as np\n" + code, vars(made))
    trace = record(lambda **values: {"y": made.f(**values)}, inputs, [made])
    return made.f, trace, Program(trace, dtype, {name: inputs[name] for name in given})


CODES = {
    "in place": "def f(x):\n    y = x * 2\n    y += x\n    y[1] -= y[0]\n    return y",
    "a sum over each axis": "def f(x):\n    return x.sum(axis=0)[:, None] + x.sum(axis=1, keepdims=True).T + x.sum()",
    "the largest": "def f(x):\n    return x - x.max(axis=-1, keepdims=True)",
    "stacked": "def f(x):\n    return np.array([x[0] * u for u in range(4)]) @ x.T",
    "a copy of what changes later": "def f(x):\n    y = x * 1\n    z = np.array([y, y])\n    y += 1\n    return z @ y.T",
    "a copy whose place is read before": (
        "def f(x):\n    z = np.zeros((2, 3, 4), x.dtype)\n    y = x * 3\n    z[0] = x\n    w = z * y\n    z[1] = y\n    return w + z"
    ),
    "a copy that is overwritten": "def f(x):\n    z = np.zeros((2, 3, 4), x.dtype)\n    z[0] = x * 2\n    z[0] += z[1]\n    return z",
    "turned round": "def f(x):\n    y = np.asfortranarray(x + 1)\n    return x[::-1] @ y.T",
    "joined": "def f(x):\n    return np.concatenate([x * 2, x, x + 1], axis=1)[:, ::2]",
    "vectors": "def f(x):\n    return (x[0] @ x.T) @ x + x[1]",
    "entries that are chosen": "def f(x):\n    top = x.argmax(axis=1)\n    y = x * 1\n    y[np.arange(3), top] = 0\n    return y",
    "a condition that is known": "def f(x):\n    return np.where(np.array([True, False, True, True]), x, -1.0)",
}


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", CODES)
def test_a_program_has_the_bits_of_the_code_run_after_run(name, dtype):
    x = RNG.standard_normal((3, 4)).astype(dtype)
    f, _, program = program_of(CODES[name], {"x": x}, dtype=dtype)
    for _ in range(3):
        x = RNG.standard_normal((3, 4)).astype(dtype)
        program.inputs["x"][...] = x
        found = program.run()["y"]
        np.testing.assert_array_equal(found, f(x), strict=True)


@pytest.mark.parametrize("result", ["x.sum(axis=0)", "x.max(axis=0)", "x @ np.ones((1, 2))", "x.T @ np.ones((1, 1))"])
def test_a_zero_has_the_sign_that_the_code_gives_it(result):
    x = np.array([[-0.0]])
    f, _, program = program_of(f"def f(x):\n    return {result}", {"x": x})
    program.inputs["x"][...] = x
    assert program.run()["y"].tobytes() == f(x).tobytes()


def test_an_input_that_is_given_is_read_where_it_is():
    x, W = RNG.standard_normal((2, 3)), RNG.standard_normal((3, 3))
    _, _, program = program_of("def f(x, W):\n    return x @ W", {"x": x, "W": W}, given=["W"])
    assert list(program.inputs) == ["x"]
    W *= 2
    program.inputs["x"][...] = x
    np.testing.assert_array_equal(program.run()["y"], x @ W)
    with pytest.raises(CannotRecordError, match=r"^W: expected an array in the order of C$"):
        program_of("def f(x, W):\n    return x @ W", {"x": x, "W": np.asfortranarray(W)}, given=["W"])


def test_memory_is_used_again_once_it_was_read_for_the_last_time():
    code = "def f(x):\n    for _ in range(100):\n        x = x * 2 - 1\n    return x"
    _, trace, program = program_of(code, {"x": np.zeros((8, 8))})
    owners = {array.__array_interface__["data"][0] for _, arrays in program.calls for array in arrays if array.ndim}
    assert len(trace.sizes) > 200
    assert len(owners) <= 4  # the input, the result, and one or two for all that is in between


def test_a_call_writes_over_what_nobody_reads_afterwards_and_finds_its_memory_in_the_cache():
    code = "def f(x):\n    a = x * 2\n    b = np.tanh(a)\n    c = x * 3\n    return (b + c).T + x"
    _, _, program = program_of(code, {"x": np.zeros((8, 8))})
    a, b, c, over, y = [arrays[-1] for _, arrays in program.calls]
    assert np.shares_memory(a, c)  # tanh has read a, and c is the next one
    assert not np.shares_memory(a, b)
    assert np.shares_memory(over, b) != np.shares_memory(over, c)
    assert not any(np.shares_memory(y, other) for other in (a, b, c, over))  # it is not turned round in place
    assert all(array.ctypes.data % LINE == 0 for array in (a, b, c, over, y))


def test_a_program_that_would_need_too_much_memory_is_refused():
    x = np.zeros((8, 8))
    trace = program_of("def f(x):\n    return x + 1", {"x": x})[1]
    with pytest.raises(CannotRecordError, match=r"^expected at most 511 bytes, got 64 numbers$"):
        Program(trace, np.float64, {}, 511)
    Program(trace, np.float64, {}, 512)


def test_a_copy_is_left_out_where_its_place_can_be_filled_at_once():
    code = "def f(x):\n    return np.array([x * u for u in range(10)]) * 2"
    _, trace, program = program_of(code, {"x": np.ones((2, 2))})
    assert sum(call.name == "copy" for call in trace.calls) == 10
    assert len(program.calls) == len(trace.calls) - 10


def test_what_depends_on_numbers_or_was_never_written_is_refused():
    for code, said in (
        ("np.where(x, x, 0)", ": the condition depends on numbers"),
        ("np.empty_like(x) * 0 + x", ": it reads what nothing has written"),
    ):
        with pytest.raises(CannotRecordError, match=f"{said}$"):
            program_of(f"def f(x):\n    return {code}", {"x": np.ones(2)})


def test_processes_that_are_forked_have_memory_of_their_own():
    script = """
import os
import numpy as np
from numpy_attention.ops import attention
from numpy_attention.trace.program import Program
from numpy_attention.trace.record import record

inputs = {"dc": np.ones((1, 2)), "h": np.ones((1, 3, 2))}
program = Program(record(lambda dc, h: {"dalpha": attention.context_backward(dc, h)}, inputs, [attention]), np.float64, {})
for name, value in inputs.items():
    program.inputs[name][...] = value
found = program.run()["dalpha"]
child = os.fork()
if not child:
    program.inputs["h"][...] = 5
    program.run()
    os._exit(0)
os.waitpid(child, 0)
print(found)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "[[2. 2. 2.]]\n"
