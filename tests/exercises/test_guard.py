"""What an answer may not do is refused before it runs, and what a learner would write is not."""

import pytest

from numpy_attention.exercises.course import EXERCISES
from numpy_attention.exercises.guard import RefusedError, check, load
from tests.exercises.conftest import answer

INSIDE = "import numpy as np\ndef f(x, given):\n    "
REFUSED = {
    # ways to our own functions, and to Python's
    "import numpy_attention": "import numpy_attention",
    "from numpy_attention.ops.attention import softmax": "numpy_attention.ops.attention import",
    "import importlib": "import importlib",
    "from . import reference": "from . import",
    "from numpy import ma": "import ma",
    "from numpy import *": "import *",
    "import numpy as __builtins__": "__builtins__",
    "def __builtins__(): pass": "__builtins__",
    "f = lambda __builtins__: 1": "__builtins__",
    INSIDE + "return __import__('os')": "__import__",
    INSIDE + "return __builtins__": "__builtins__",
    INSIDE + "return eval('x')": "eval",
    INSIDE + "return getattr(x, 'data')": "getattr",
    INSIDE + "return type(x)": "type",
    INSIDE + "return vars()": "vars",
    INSIDE + "return open('x')": "open",
    INSIDE + "return np.ma.extras.warnings.sys.modules": ".modules",
    INSIDE + "return np.lib.stride_tricks": ".stride_tricks",
    INSIDE + "return np.load('x')": ".load",
    INSIDE + "return x.tofile('x')": ".tofile",
    INSIDE + "return np.random.rand()": ".rand",
    INSIDE + "return given.__globals__": ".__globals__",
    INSIDE + "return given.cache": ".cache",
    INSIDE + "return given._cache": "._cache",
    INSIDE + "return given.model.backward(given.cache)": ".backward",
    INSIDE + "return '{0.slope}'.format(x)": ".format",
    INSIDE + "match x:\n        case float(slope=a): return a": "match",
    INSIDE + "return (i for i in x).gi_frame": ".gi_frame",
    # to find out what kind of numbers it is given
    INSIDE + "return x.dtype == float": "dtype",
    INSIDE + "d = x.dtype\n    return d == float": "dtype",
    INSIDE + "return np.dtype(float)": ".dtype",
    INSIDE + "return isinstance(x, float)": "isinstance",
    INSIDE + "return str(x)": "str",
    INSIDE + "return repr(x)": "repr",
    INSIDE + "return f'{x}'": "a text made of values",
    INSIDE + "return x[0] is x[0]": "is:",
    INSIDE + "return np.finfo(x)": ".finfo",
    INSIDE + "try: return 1j * x\n    except Exception: return 0": "try",
    # to change something, or to remember it
    "import numpy as np\nnp.tanh = 1": ".tanh = ...",
    INSIDE + "np.add.at = 1": ".at = ...",
    INSIDE + "np.pi += 1": ".pi = ...",
    INSIDE + "for np.tanh in [1]: pass": ".tanh = ...",
    INSIDE + "f.calls = 1": ".calls",
    INSIDE + "global y": "global",
    INSIDE + "del x": "del",
    "calls = []": "at the top",
    "calls = {}": "at the top",
    "calls = tuple([[]])": "at the top",
    "print((calls := []))": "at the top",
    "(calls := [0.0])[0] = 1.0": "at the top",
    "a, (calls := [0.0])[0] = 1.0, 2.0": "at the top",
    "def f(x, calls=[]): pass": "defaults",
    "def f(x, *, calls={}): pass": "defaults",
    "f = lambda x, calls=[]: 1": "defaults",
    "def g():\n    def f(x, calls=[]): pass": "defaults",
    "while True: pass": "at the top",
    # other forms
    "class A: pass": "class",
    "def d(f): return f\n@d\ndef f(x): pass": "@",
    INSIDE + "with np.errstate(): pass": "with",
    INSIDE + "import numpy": "import: expected at the top",
    "async def f(x): pass": "async",
    INSIDE + "raise SystemExit": "SystemExit",
    INSIDE + "exit()": "exit",
}


@pytest.mark.parametrize("source", REFUSED)
def test_refused_with_its_line(source):
    with pytest.raises(RefusedError) as caught:
        check(source, "dense.py")
    told = str(caught.value)
    assert told.startswith("dense.py, line ")
    assert REFUSED[source] in told
    assert "\n" not in told


FINE = """\
from __future__ import annotations
import math
import numpy as np
from numpy import tanh, zeros
EPSILON, SIZES = 1e-12, (2, -3.5)
HALF: (calls := [0.0]) = 0.5
half = lambda x: x / 2

def f(x: np.ndarray, W: foo.bar = None, *, scale: float = 1 / 3) -> tuple[np.ndarray, ...]:
    \"\"\"Text.\"\"\"
    y = zeros(x.shape, x.dtype) + np.zeros_like(x, dtype=x.dtype) + x.astype(x.dtype)
    y[0] += 1
    np.add.at(y, [0, 0], 1.0)
    if W is None and math.sqrt(4) > 1:
        print(f"{x.shape} {y!r}", "a" "b")
    parts = {"a": [row for row in y]}
    parts["a"].append(np.einsum("ij,ij->i", x, y))
    assert len(parts) == 1, f"got {len(parts)}"
    def inner(z=1):
        return np.linalg.norm(z)
    return y, inner

if __name__ == "__main__":
    import os
    os.system("true")
"""


def test_what_a_learner_writes_is_not_refused():
    check(FINE, "dense.py")
    for exercise in EXERCISES:
        check(exercise.blank, exercise.name)
        check(answer(exercise.name), exercise.name)


def test_a_file_with_a_mark_of_byte_order_and_its_own_tests(tmp_path):
    path = tmp_path / "dense.py"
    path.write_text("\ufefff = lambda x: x\nif __name__ == '__main__':\n    1 / 0\n", "utf-8")
    assert load(path, {}).f(3) == 3


def test_print_is_ours(tmp_path):
    path, shown = tmp_path / "dense.py", []
    path.write_text("def f():\n    print('a', 1)\n")
    load(path, {}, lambda *values: shown.append(values)).f()
    assert shown == [("a", 1)]


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda path: path.mkdir(), "expected a file"),
        (lambda path: path.symlink_to("nowhere"), "expected a file"),
        (lambda path: path.write_bytes(b"# \xe9"), "expected text in UTF-8, got the byte 0xe9"),
        (lambda path: path.write_bytes(b"#" * (2 << 20)), "expected at most 1 MB, got 2 MB"),
    ],
)
def test_a_file_that_is_no_text(tmp_path, make, told):
    make(tmp_path / "dense.py")
    with pytest.raises(ValueError, match=told):
        load(tmp_path / "dense.py", {})
