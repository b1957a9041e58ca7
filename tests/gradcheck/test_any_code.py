"""Layers in files, functions of other libraries and of C, and the fixture for test suites."""

import ctypes
import ctypes.util
import json

import numpy as np
import pytest

from numpy_attention.cli import main
from numpy_attention.gradcheck import as_pair, check_opaque, check_vjp
from numpy_attention.gradcheck.adapters import noise_of
from numpy_attention.gradcheck.loading import load_layers
from numpy_attention.gradcheck.pytest_plugin import check_layer, check_shapes  # noqa: F401

FILE = """
import numpy as np
rng = np.random.default_rng(0)

def dense(x, W):
    return x @ W, (x, W)

def dense_backward(dout, cache):
    x, W = cache
    return dout @ W.T, x.T @ dout

def dense_inputs(rng, B, K, N):
    return rng.standard_normal((B, K)), rng.standard_normal((K, N))

dense_options = {"batch_axis": 0, "shared": ["input 1"], "every_shape": True}

class Relu:
    inputs = rng.standard_normal((3, 4))
    def forward(self, x):
        self.x = x
        return np.maximum(x, 0)
    def backward(self, dout):
        return dout * (self.x > 0)

def wrong_forward(x):
    return x**2, x

def wrong_backward(dout, x):
    return dout * x

wrong_inputs = {"x": rng.standard_normal(4)}
"""
CRASHES = """
import numpy as np

def crash(x):
    return np.tanh(x), x

def crash_backward(dout, x):
    return dout / undefined

crash_inputs = np.ones(3)

def lonely_backward(dout, cache):
    return dout

def forwardless(x):
    return x, None
"""


@pytest.fixture
def layers(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "layers.py").write_text(FILE)
    (tmp_path / "crashes.py").write_text(CRASHES)
    (tmp_path / "broken.py").write_text("x = 1\ndef f(:\n")
    (tmp_path / "raises.py").write_text("import numpy\nnumpy.no_such_thing\n")
    (tmp_path / "empty.py").write_text("x = 1\n")
    return tmp_path


def test_every_layer_of_a_file_is_found_in_its_order(layers):
    assert [layer.name for layer in load_layers("layers.py")] == ["dense", "Relu", "wrong"]
    (layer,) = load_layers("layers.py::dense")
    assert check_vjp(layer.forward, layer.backward, layer.inputs, **layer.options).proof.shapes == 27


def test_the_command_checks_them_and_says_which_are_right(layers, capsys):
    assert main(["gradcheck", "layers.py::dense", "layers.py::Relu"]) == 0
    assert capsys.readouterr().out.splitlines() == ["✓ PROVED   dense", "✓ PROVED   Relu"]
    assert main(["gradcheck", "layers.py", "--json", "found.json"]) == 1
    output = capsys.readouterr().out
    assert "✗ REFUTED  wrong" in output
    assert "x: 0.5 times the true gradient: a constant factor = 1/2" in output
    found = json.loads((layers / "found.json").read_text())
    assert [found["layers"][name]["verdict"] for name in ("dense", "Relu", "wrong")] == ["PROVED", "PROVED", "REFUTED"]
    assert main(["gradcheck", "layers.py::dense", "--method", "complex-step", "--mode", "directional"]) == 0
    assert capsys.readouterr().out == "✓ OK       dense\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nofile.py"], "nofile.py: there is no such file"),
        (["."], ".: there is no such file"),
        (["no.such.module"], "no.such.module: there is no such file or module (No module named 'no')"),
        (["layers.py::dens"], "layers.py: there is no dens; did you mean dense?"),
        (["crashes.py::lonely"], "crashes.py: there is no lonely"),
        (
            ["crashes.py::forwardless"],
            "crashes.py: expected forwardless_backward(dout, cache) beside forwardless, there is none",
        ),
        (["broken.py"], "broken.py, line 2: invalid syntax"),
        (["raises.py"], "raises.py, line 2: raises AttributeError: module 'numpy' has no attribute 'no_such_thing'"),
        (["empty.py"], "empty.py: expected a layer: NAME_forward, NAME_backward and NAME_inputs, found none"),
        (["layers.py", "--prove"], "files: expected no "),
        (["layers.py", "--method", "magic"], "method: expected one of auto, exact, "),
        (["--mode", "full"], "method and mode: expected only with layers of your own"),
    ],
)
def test_wrong_use_is_one_line(layers, arguments, message, capsys):
    assert main(["gradcheck", *arguments]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"numpy-attention: {message}")
    assert error.count("\n") == 1


def test_code_that_raises_is_one_line_with_its_own_place(layers, capsys):
    assert main(["gradcheck", "crashes.py::crash", "layers.py::dense"]) == 2
    captured = capsys.readouterr()
    assert captured.err == "crash: crashes.py, line 8: raises NameError: name 'undefined' is not defined\n"
    assert captured.out == "✓ PROVED   dense\n"


def test_a_function_of_torch_is_checked_by_its_own_backward():
    torch = pytest.importorskip("torch")

    class Cube(torch.autograd.Function):
        factor = 3

        @staticmethod
        def forward(ctx, x, y):
            ctx.save_for_backward(x, y)
            return x**3 * y

        @staticmethod
        def backward(ctx, dout):
            x, y = ctx.saved_tensors
            return Cube.factor * x**2 * y * dout, x**3 * dout

    x, y = np.random.default_rng(0).standard_normal((2, 4))
    pair = as_pair(Cube)
    assert pair is not None
    assert check_vjp(*pair, (x, y)).ok
    Cube.factor = 2
    report = check_vjp(*pair, (x, y))
    assert [row.verdict for row in report.parameters] == ["wrong", "ok"]
    assert report.parameters[0].diagnosis.startswith("0.666667 times the true gradient")


def test_a_function_of_jax_is_checked_by_its_own_backward():
    jax = pytest.importorskip("jax")
    before = jax.config.read("jax_enable_x64")
    jax.config.update("jax_enable_x64", True)
    try:
        function = jax.custom_vjp(lambda x, y: jax.numpy.sin(x) * y)
        function.defvjp(
            lambda x, y: (jax.numpy.sin(x) * y, (x, y)), lambda c, d: (jax.numpy.cos(c[0]) * c[1] * d, 2 * d)
        )
        x, y = np.random.default_rng(0).standard_normal((2, 4))
        pair = as_pair(function)
        assert pair is not None
        report = check_vjp(*pair, (x, y))
        assert [row.verdict for row in report.parameters] == ["ok", "wrong"]
    finally:
        jax.config.update("jax_enable_x64", before)


def of_c():
    """tanh of the C library, entry by entry."""
    library = ctypes.util.find_library("m")
    if library is None:
        pytest.skip("no C library of mathematics")
    tanh = ctypes.CDLL(library).tanh
    tanh.restype, tanh.argtypes = ctypes.c_double, [ctypes.c_double]
    return lambda x: np.array([tanh(float(each)) for each in x.ravel()]).reshape(x.shape)


def test_a_function_of_c_is_measured_with_an_error():
    function, x = of_c(), np.random.default_rng(1).standard_normal((2, 3))
    report = check_opaque(function, lambda dout, x: dout * (1 - np.tanh(x) ** 2), (x,))
    assert report.ok
    assert 0 < report.rows[0].error < 1e-6
    wrong = check_opaque(function, lambda dout, x: dout * (1 - np.tanh(x) ** 2) * 1.0001, (x,))
    assert wrong.verdict == "wrong"
    with pytest.raises(AssertionError, match="input|wrong"):
        wrong.raise_if_failed()


def test_a_jvp_makes_it_the_adjoint_identity():
    x = np.random.default_rng(2).standard_normal((2, 3))
    W = np.random.default_rng(3).standard_normal((3, 2))
    options = {"jvp": lambda v, x, W: v[0] @ W + x @ v[1]}
    right = check_opaque(lambda x, W: x @ W, lambda d, x, W: (d @ W.T, x.T @ d), (x, W), **options)
    assert (right.verdict, right.noise) == ("ok", 0.0)
    off = check_opaque(lambda x, W: x @ W, lambda d, x, W: (d @ W.T, x.T @ d * (1 + 1e-7)), (x, W), **options)
    assert [row.verdict for row in off.rows] == ["ok", "wrong"]


@pytest.mark.parametrize("size", [1e-3, 1e-6, 1e-9])
def test_noise_is_estimated_and_too_much_of_it_is_inconclusive(size):
    rng = np.random.default_rng(4)
    estimate = np.median([noise_of(lambda h: np.sin(h) + size * rng.standard_normal()) for _ in range(20)])
    assert size / 4 < estimate < 4 * size


def test_a_function_that_is_all_noise_accuses_nobody():
    rng = np.random.default_rng(5)
    x = np.ones(3)
    report = check_opaque(lambda x: x**2 + 0.1 * rng.standard_normal(3), lambda dout, x: 2 * dout * x, (x,))
    assert report.verdict == "inconclusive"


def test_single_precision_is_measured():
    x = np.linspace(-1, 1, 5, dtype=np.float32)
    assert check_opaque(lambda x: np.exp(x), lambda dout, x: dout * np.exp(x), {"x": x}, rtol=1e-2).verdict == "ok"


def test_a_gradient_of_the_wrong_shape_is_one_line():
    with pytest.raises(ValueError, match=r"backward: expected the gradient of input 0 of shape \(3,\), got \(2,\)"):
        check_opaque(np.sin, lambda dout, x: dout[:2], (np.ones(3),))
    with pytest.raises(ValueError, match=r"backward: expected 1 gradients \(input 0\), got 2"):
        check_opaque(np.sin, lambda dout, x: (dout, dout), (np.ones(3),))


def dense(x, W, b):
    return x @ W + b, (x, W)


def dense_backward(dout, cache):
    x, W = cache
    return dout @ W.T, x.T @ dout, dout.sum(axis=0)


SHAPES = {"x": ("B", "K"), "W": ("K", "N"), "b": ("N",)}


def test_the_fixture_checks_a_layer_in_one_line(check_layer):  # noqa: F811
    check_layer(dense, dense_backward, **SHAPES, options={"batch_axis": 0, "shared": ["W", "b"]})


@pytest.mark.slow
def test_a_failure_is_shrunk_to_the_smallest_shapes():
    def first_only(dout, cache):
        dx, dW, _ = dense_backward(dout, cache)
        return dx, dW, dout[0].copy()

    with pytest.raises(AssertionError, match="at B = 2, K = 1, N = 1:"):
        check_shapes(dense, first_only, **SHAPES)


def test_without_hypothesis_it_checks_fixed_shapes(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "hypothesis", None)
    check_shapes(dense, dense_backward, **SHAPES)
    with pytest.raises(AssertionError, match="gradient check: REFUTED"):
        check_shapes(dense, lambda d, c: (d @ c[1].T, 2 * c[0].T @ d, d.sum(axis=0)), **SHAPES)


@pytest.mark.parametrize("wrong", [np.nan, np.inf])
@pytest.mark.parametrize("jvp", [None, lambda tangents, x: 2 * tangents[0]])
def test_a_gradient_that_is_not_finite_is_wrong(wrong, jvp):
    def backward(d, x):
        gradient = 2 * d
        gradient[1] = wrong
        return gradient

    assert check_opaque(lambda x: 2 * x, lambda d, x: 2 * d, (np.ones(3),), jvp=jvp).verdict == "ok"
    assert check_opaque(lambda x: 2 * x, backward, (np.ones(3),), jvp=jvp).verdict == "wrong"


def test_a_function_that_is_not_finite_confirms_nothing():
    for jvp in (None, lambda tangents, x: tangents[0] * np.nan):
        found = check_opaque(lambda x: x * np.nan, lambda d, x: d, (np.ones(2),), jvp=jvp)
        assert found.verdict == "inconclusive"


@pytest.mark.parametrize("told", ["sys.exit(0)", "sys.exit('usage: x')", "raise SystemExit"])
def test_a_file_that_ends_the_program_is_not_passed_over(tmp_path, capsys, told):
    file = tmp_path / "mine.py"
    file.write_text(f"import sys\n{told}\n")
    assert main(["gradcheck", str(file)]) == 2
    assert capsys.readouterr().err.startswith("numpy-attention: mine.py, line 2: raises SystemExit")
    file.write_text(
        "import sys\nimport numpy as np\nx_inputs = np.ones(2)\n"
        f"def x_forward(x):\n    {told}\ndef x_backward(d, c):\n    return d\n"
    )
    assert main(["gradcheck", str(file)]) == 2
    assert capsys.readouterr().err.startswith("x: mine.py, line 5: raises SystemExit")


@pytest.mark.slow
@pytest.mark.parametrize("function", [lambda x: x * x, lambda x: x * np.float32(0.5), np.tanh, np.exp])
def test_right_functions_in_single_precision_are_not_called_wrong(function):
    backward = {"tanh": lambda d, x: d * (1 - np.tanh(x) ** 2), "exp": lambda d, x: d * np.exp(x)}.get(
        getattr(function, "__name__", ""), lambda d, x: d * (function(x + 1) - function(x - 1)) / 2
    )
    wrong = 0
    for seed in range(100):
        x = np.random.default_rng(seed).standard_normal(5).astype(np.float32)
        wrong += check_opaque(function, backward, (x,), rtol=1e-3, seed=seed).verdict == "wrong"
    assert wrong <= 2


@pytest.mark.parametrize("jvp", [None, lambda tangents, tokens, table: tangents[1][tokens]])
def test_whole_numbers_are_held_fixed(jvp):
    tokens, table = np.array([1, 2, 2]), np.random.default_rng(0).standard_normal((5, 3))

    def backward(d, tokens, table):
        gradient = np.zeros_like(table)
        np.add.at(gradient, tokens, d)
        return gradient

    def forward(tokens, table):
        return table[tokens]

    for right in (backward, lambda d, *inputs: (None, backward(d, *inputs))):
        found = check_opaque(forward, right, (tokens, table), jvp=jvp)
        assert [(row.name, row.verdict) for row in found.rows] == [("input 1", "ok")]
    assert (
        check_opaque(forward, lambda d, *inputs: 2 * backward(d, *inputs), (tokens, table), jvp=jvp).verdict == "wrong"
    )


def test_shapes_that_a_layer_cannot_take_are_named():
    def forward(x):
        heads = x.reshape(len(x), 2, -1)
        return heads.sum(axis=1), heads

    def inputs(rng, B, D):
        return (rng.standard_normal((B, D)),)

    def backward(d, heads):
        return np.repeat(d[:, None], 2, axis=1).reshape(len(d), -1)

    with pytest.raises(ValueError, match=r"^every_shape: with B = \d, D = [13] it raises ValueError: cannot reshape"):
        check_vjp(forward, backward, inputs, every_shape=True)
