"""Code of a user's own in the Python of today: annotations that are never evaluated, type parameters, docstrings."""

import importlib.util
import sys
import warnings

import numpy as np
import pytest

from numpy_attention import exercises
from numpy_attention.cli import main
from numpy_attention.gradcheck import check_vjp, mutation_score
from numpy_attention.gradcheck.mutation import mutations


def load(path, text):
    """A module made of this text, as an import gives it that was made before: without its warnings."""
    path.write_text(text)
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        spec.loader.exec_module(module)
    return module


UNKNOWN = """\
import numpy as np

class Sq:
    inputs = {"x": np.arange(3.0)}
    def forward(self, x: NDArray) -> NDArray:
        self.x = x
        return x * x
    def backward(self, dout: NDArray) -> NDArray:
        return 2 * self.x * dout

def sq(x: NDArray):
    return x * x, x

def sq_backward(dout: NDArray, x: NDArray):
    return 2 * x * dout

def sq_inputs(rng: Generator, B: int):
    return {"x": rng.standard_normal(B)}

def dense_backward(dy: NDArray, x: NDArray, W: NDArray):
    return dy @ W.T, x.T @ dy, dy.sum(axis=0)
"""


@pytest.mark.skipif(sys.version_info < (3, 14), reason="annotations are evaluated where the function is made")
def test_annotations_may_name_what_is_not_there(tmp_path, capsys):
    module = load(tmp_path / "layers.py", UNKNOWN)
    assert main(["gradcheck", str(tmp_path / "layers.py")]) == 0
    out = capsys.readouterr().out
    assert out.count("PROVED") == 2
    assert check_vjp(module.sq, module.sq_backward, module.sq_inputs, every_shape=True).ok
    assert "PROVED" in str(exercises.check("dense", module.dense_backward))


@pytest.mark.skipif(sys.version_info < (3, 12), reason="no type parameters")
def test_a_function_with_type_parameters_is_mutated(tmp_path):
    module = load(tmp_path / "generic.py", "def back[T](dout: T, x: T) -> T:\n    return 2 * x * dout\n")
    found = mutations(module.back)
    assert [each.function(1.0, 3.0) for each in found][:2] == [-6.0, 12.0]


ESCAPE = '''\
def sq_backward(dout, x):
    """dx = \\sigma x."""
    return 2 * x * dout
'''


def test_a_backslash_in_a_docstring_is_no_concern_of_ours(tmp_path, monkeypatch, capsys):
    module = load(tmp_path / "escape.py", ESCAPE)
    assert mutation_score(lambda x: (x * x, x), module.sq_backward, np.array([0.5, -0.3])).score == 1
    monkeypatch.chdir(tmp_path)
    assert main(["learn", "start", "ex"]) == 0
    answer = '"""db = \\sum dy."""\n\n\ndef dense_backward(dy, x, W):\n    """\\sum."""\n    return dy @ W.T, x.T @ dy, dy.sum(axis=0)\n'
    (tmp_path / "ex" / "dense.py").write_text(answer)
    assert main(["learn", "check", "ex", "dense"]) == 0
    assert main(["learn", "show", "ex", "dense"]) == 0
    assert capsys.readouterr().err == ""


@pytest.mark.skipif(sys.version_info < (3, 12), reason="only shown from Python 3.12 on")
def test_a_warning_of_code_that_is_read_names_its_place(tmp_path, capsys):
    text = ESCAPE + "\n\ndef sq(x):\n    return x * x, x\n\n\nsq_inputs = {'x': __import__('numpy').ones(2)}\n"
    (tmp_path / "escape.py").write_text(text)
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        assert main(["gradcheck", str(tmp_path / "escape.py")]) == 0
    assert "numpy-attention: escape.py, line 2: " in capsys.readouterr().err


@pytest.mark.skipif(sys.version_info < (3, 14), reason="such flags are read")
def test_a_flag_behind_two_dashes_is_told_so(capsys):
    assert main(["train", "--", "copy", "--steps", "3"]) == 2
    assert "--steps: expected before --; no flag is read after it" in capsys.readouterr().err
