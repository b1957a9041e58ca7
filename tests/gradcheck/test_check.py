"""Tests of the checker: what is wrong must be rejected, by name, in both modes and by every method."""

import itertools
import json
import threading
import warnings

import numpy as np
import pytest

from numpy_attention.gradcheck import assert_gradients, check_gradients, complex_step_gradient

METHODS = ["complex-step", "finite-difference", "taylor"]
MODES = ["full", "directional"]
T, B = 7, 5

rng = np.random.default_rng(3)
X = rng.standard_normal((T, B, 3))
PARAMS = {
    "W": rng.standard_normal((3, 4)),
    "U": rng.standard_normal((4, 4)) / 2,
    "b": rng.standard_normal(4),
    "tiny": np.full(4, 0.3),
}


def loss_function(params):
    h = np.zeros((B, 4))
    for x in X:
        h = np.tanh(x @ params["W"] + h @ params["U"] + params["b"])
    return np.sum(h**2) / B + 1e-3 * np.sum(np.sin(params["tiny"]) * [1.0, 2.0, 3.0, 4.0])


def gradients():
    """By backpropagation through time, written by hand."""
    states = [np.zeros((B, 4))]
    for x in X:
        states.append(np.tanh(x @ PARAMS["W"] + states[-1] @ PARAMS["U"] + PARAMS["b"]))
    grads = {name: np.zeros_like(p) for name, p in PARAMS.items()}
    dh = 2 * states[-1] / B
    for t in reversed(range(T)):
        dsum = dh * (1 - states[t + 1] ** 2)
        grads["W"] += X[t].T @ dsum
        grads["U"] += states[t].T @ dsum
        grads["b"] += dsum.sum(axis=0)
        dh = dsum @ PARAMS["U"].T
    grads["tiny"] = 1e-3 * np.cos(PARAMS["tiny"]) * [1.0, 2.0, 3.0, 4.0]
    return grads


GRADIENTS = gradients()


def row(report, name):
    return next(row for row in report.parameters if row.name == name)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("mode", MODES)
def test_right_gradients_pass(method, mode):
    report = check_gradients(loss_function, PARAMS, GRADIENTS, method=method, mode=mode)
    assert report.verdict == "ok", report
    assert report.ok
    assert {row.verdict for row in report.parameters} == {"ok"}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", PARAMS)
def test_five_hundredths_of_a_percent_in_any_parameter_is_rejected_and_named(name, mode):
    wrong = {**GRADIENTS, name: 1.0005 * GRADIENTS[name]}
    report = check_gradients(loss_function, PARAMS, wrong, mode=mode)
    assert [row.name for row in report.parameters if row.verdict == "wrong"] == [name]
    found = row(report, name)
    assert found.diagnosis == "1.0005 times the true gradient: a constant factor"
    assert found.ratio == pytest.approx(1.0005, rel=1e-9)
    assert found.cosine == pytest.approx(1, rel=1e-9)
    # The worst entry of a scaled gradient is its largest.
    assert found.index == np.unravel_index(np.argmax(np.abs(GRADIENTS[name])), GRADIENTS[name].shape)
    assert found.gradient == pytest.approx(1.0005 * GRADIENTS[name][found.index])
    assert found.expected == pytest.approx(GRADIENTS[name][found.index])
    assert found.absolute_error == pytest.approx(0.0005 * abs(found.expected), rel=1e-6)


@pytest.mark.parametrize("method", ["finite-difference", "taylor"])
@pytest.mark.parametrize("mode", MODES)
def test_the_other_methods_reject_it_too(method, mode):
    wrong = {**GRADIENTS, "U": 1.0005 * GRADIENTS["U"]}
    report = check_gradients(loss_function, PARAMS, wrong, method=method, mode=mode)
    assert [row.name for row in report.parameters if row.verdict == "wrong"] == ["U"]
    assert row(report, "U").index is not None


@pytest.mark.parametrize("mode", MODES)
def test_one_wrong_entry_is_found(mode):
    wrong = {name: g.copy() for name, g in GRADIENTS.items()}
    wrong["W"][2, 1] += 1e-9
    report = check_gradients(loss_function, PARAMS, wrong, mode=mode)
    assert report.verdict == "wrong"
    assert row(report, "W").index == (2, 1)
    assert row(report, "W").diagnosis == "only the entry [2, 1] is wrong"


def test_directional_takes_a_handful_of_evaluations_whatever_the_size():
    def count(size):
        x = np.random.default_rng(0).standard_normal(size)
        return check_gradients(lambda x: np.sum(np.sin(x)), x, np.cos(x), mode="directional").evaluations

    assert count(10) <= 20
    assert count(10_000) <= 20


def test_full_takes_one_evaluation_per_entry():
    x = np.random.default_rng(0).standard_normal(300)
    assert check_gradients(lambda x: np.sum(np.sin(x)), x, np.cos(x)).evaluations < 330


def test_a_failed_direction_checks_only_what_failed():
    report = check_gradients(loss_function, PARAMS, {**GRADIENTS, "b": -GRADIENTS["b"]}, mode="directional")
    assert row(report, "b").absolute_error is not None
    assert row(report, "W").absolute_error is None
    assert report.notes[0] == "A random direction failed: looked for the wrong entries of b."


def test_tolerance_is_of_the_whole_gradient_and_of_a_parameters_own_where_that_counts():
    whole = max(np.abs(g).max() for g in GRADIENTS.values())
    wrong = {**GRADIENTS, "tiny": GRADIENTS["tiny"] + 0.5e-12 * whole}
    assert row(check_gradients(loss_function, PARAMS, wrong), "tiny").share > 1e-3
    assert check_gradients(loss_function, PARAMS, wrong).verdict == "wrong"
    assert check_gradients(loss_function, PARAMS, wrong, own_scale=False).ok


def test_small_parameters_are_judged_on_the_scale_of_the_whole_and_listed():
    x = {"a": np.array([1.0, 2.0]), "c": np.array([1.0, 2.0])}
    g = {"a": np.array([2.0, 4.0]), "c": np.array([1e-6, 1e-6])}
    report = check_gradients(lambda p: np.sum(p["a"] ** 2) + 1e-6 * np.sum(p["c"]), x, g)
    assert report.ok
    assert row(report, "c").share == pytest.approx(2.5e-7)
    assert "judged only on its scale: c." in str(report)


@pytest.mark.parametrize("mode", MODES)
def test_nothing_to_test_is_no_pass(mode):
    report = check_gradients(lambda x: 3.0 + 0 * np.sum(x), np.ones(3), np.zeros(3), mode=mode)
    assert (report.verdict, report.ok, report.nothing_to_test) == ("empty", False, True)
    assert "Nothing was large enough to test" in str(report)


def test_rounding_noise_at_a_minimum_is_nothing_to_test():
    x = np.ones(3)
    report = check_gradients(lambda x: 1.0 + np.sum((x - 1) ** 2), x, np.array([1e-17, -1e-17, 0.0]))
    assert report.verdict == "empty"


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_gradients_that_are_not_finite_are_wrong(bad, mode):
    wrong = {name: g.copy() for name, g in GRADIENTS.items()}
    wrong["b"][1], wrong["b"][3] = bad, -bad
    report = check_gradients(loss_function, PARAMS, wrong, mode=mode)
    assert [row.name for row in report.parameters if row.verdict == "wrong"] == ["b"]
    assert row(report, "b").diagnosis == "2 of 4 entries are not finite"
    assert json.loads(json.dumps(report.to_dict(), allow_nan=False))["verdict"] == "wrong"


def test_a_lone_array_and_scalars_and_empty_arrays():
    assert check_gradients(lambda x: np.exp(x), np.array(0.5), np.array(np.exp(0.5))).ok
    assert check_gradients(
        lambda p: np.sum(p["a"] ** 2) + np.sum(p["e"]),
        {"a": np.ones(2), "e": np.ones((0, 3))},
        {"a": 2 * np.ones(2), "e": np.ones((0, 3))},
    ).ok


def test_arguments_are_left_alone_and_results_repeat():
    params = {name: p.copy() for name, p in PARAMS.items()}
    first = check_gradients(loss_function, params, GRADIENTS, mode="directional")
    assert all(np.array_equal(params[name], PARAMS[name]) for name in PARAMS)
    assert first == check_gradients(loss_function, params, GRADIENTS, mode="directional")


def test_float32_is_checked_in_double_precision_to_what_float32_can_hold():
    params = {name: p.astype(np.float32) for name, p in PARAMS.items()}
    exact = complex_step_gradient(loss_function, params)
    grads = {name: g.astype(np.float32) for name, g in exact.items()}
    report = check_gradients(loss_function, params, grads)
    assert report.ok
    assert any("to 1e-05 of the whole gradient; pass float64 for 1e-12" in note for note in report.notes)
    assert not check_gradients(loss_function, params, {**grads, "W": np.float32(1.0005) * grads["W"]}).ok


def test_many_entries_are_checked_along_directions_unless_every_one_is_asked_for():
    x = np.linspace(0, 1, 10_001)
    report = check_gradients(lambda x: np.sum(np.sin(x)), x, np.cos(x))
    assert (report.mode, report.ok) == ("directional", True)


def test_a_report_is_short_to_look_at_and_a_table_in_a_notebook():
    report = check_gradients(loss_function, PARAMS, {**GRADIENTS, "b": 2 * GRADIENTS["b"]})
    assert repr(report).startswith("GradientReport(wrong: ")
    assert len(repr(report)) < 200
    html = check_gradients(lambda p: np.sum(p["<W>"] ** 2), {"<W>": X3}, {"<W>": 2 * X3})._repr_html_()
    assert "<td>&lt;W&gt;</td>" in html
    assert "<W>" not in html


def test_one_gradient_in_single_precision_loosens_no_other():
    grads = {**GRADIENTS, "W": GRADIENTS["W"].astype(np.float32)}
    assert check_gradients(loss_function, PARAMS, grads).ok
    other = next(name for name in PARAMS if name != "W")
    for mode in ("full", "directional"):
        report = check_gradients(loss_function, PARAMS, {**grads, other: GRADIENTS[other] * (1 + 3e-8)}, mode=mode)
        assert {row.name: row.verdict for row in report.parameters}[other] == "wrong"


def test_a_loss_that_drifts_after_its_second_call_is_seen():
    calls = []

    def drifting(x):
        calls.append(0)
        return np.sum(x**2) * (1 if len(calls) < 3 else 2)

    with pytest.raises(ValueError, match="loss_function: the first call and the last one with the same params gave"):
        check_gradients(drifting, X3, 4 * X3)


def test_a_wave_as_long_as_the_step_is_not_taken_for_a_constant():
    def wave(x):
        return np.sum(x + 0.01 * np.sin(160 * np.pi * x))

    assert not check_gradients(wave, np.zeros(2), np.ones(2), method="finite-difference").ok


def test_checks_in_threads_leave_no_filter_behind():
    before = list(warnings.filters)
    threads = [threading.Thread(target=check_gradients, args=(loss_function, PARAMS, GRADIENTS)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert warnings.filters == before


def test_parameters_may_be_nested_and_belong_to_another_library():
    class Tensor:
        def __init__(self, value):
            self.value = value

        def __array__(self, dtype=None, copy=None):
            return np.asarray(self.value, dtype)

    params = {"layers": [{"W": X3, "b": 0.5}, {"W": 2 * X3}], "scale": Tensor(np.array([2.0]))}

    def loss(p):
        first, second = p["layers"]
        return np.sum(first["W"] * second["W"]) * p["scale"][0] + first["b"] ** 2

    def gradients(p):
        first, second = p["layers"]
        s = p["scale"]
        layers = [{"W": second["W"] * s, "b": 2 * first["b"]}, {"W": first["W"] * s}]
        return {"layers": layers, "scale": np.sum(first["W"] * second["W"], keepdims=True)}

    report = check_gradients(loss, params, gradients)
    assert report.verdict == "PROVED"
    assert [row.name for row in report.parameters] == ["layers[0].W", "layers[0].b", "layers[1].W", "scale"]
    wrong = gradients(unwrapped := {**params, "scale": np.array([2.0])})
    wrong["layers"][1]["W"] *= 2
    assert [row.name for row in check_gradients(loss, unwrapped, wrong).parameters if row.verdict != "ok"] == [
        "layers[1].W"
    ]


def test_a_loss_that_refuses_complex_numbers_by_any_error_is_measured_by_differences():
    def loss(x):
        if np.iscomplexobj(x):
            raise NotImplementedError("clamp is not supported for complex types")
        return np.sum(x**2)

    report = check_gradients(loss, X3, 2 * X3)
    assert (report.verdict, report.method) == ("ok", "finite-difference")
    assert "clamp is not supported for complex types" in str(report)
    assert check_gradients(loss, X3, 2 * X3, method="complex-step").verdict == "not analytic"


@pytest.mark.slow
@pytest.mark.parametrize("sizes", [(4, 6, 1), (10, 30, 30, 3), (30, 100, 100, 5)])
def test_taylor_accuses_no_right_gradient_of_a_network_with_kinks(sizes):
    for seed in range(4):
        rng = np.random.default_rng(seed)
        params = {
            f"W{i}": rng.standard_normal(shape) / shape[0] ** 0.5 for i, shape in enumerate(itertools.pairwise(sizes))
        }
        x = rng.standard_normal((8, sizes[0]))

        def loss(p, x=x):
            for W in p.values():
                x = np.maximum(x @ W, 0)
            return np.sum(x**2)

        def gradients(p, x=x):
            states = [x]
            for W in p.values():
                states.append(np.maximum(states[-1] @ W, 0))
            d, found = 2 * states[-1], {}
            for name, before, after in zip(reversed(p), states[-2::-1], states[::-1], strict=False):
                d = d * (after > 0)
                found[name], d = before.T @ d, d @ p[name].T
            return found

        report = check_gradients(
            loss, params, gradients(params), method="taylor", mode="directional", show_progress=False
        )
        assert report.verdict in ("ok", "inconclusive")


def test_inconclusive_finite_differences_are_no_pass():
    # So rough that halving the step does not settle: the complex step has no trouble with it.
    x = np.array([0.4])
    f, g = lambda x: np.sum(np.sin(3e4 * x)), 3e4 * np.cos(3e4 * x)
    report = check_gradients(f, x, g, method="finite-difference")
    assert (report.verdict, report.ok) == ("inconclusive", False)
    assert "own error estimate" in report.parameters[0].diagnosis
    assert check_gradients(f, x, g, own_scale=False).ok


def test_assert_gradients_raises_the_table():
    assert assert_gradients(loss_function, PARAMS, GRADIENTS, mode="directional").ok
    with pytest.raises(AssertionError, match=r"U .*WRONG(.|\n)*U: -1 times the true gradient: a constant factor = -1"):
        assert_gradients(loss_function, PARAMS, {**GRADIENTS, "U": -GRADIENTS["U"]})


def changes_its_argument(x):
    x += 1
    return np.sum(x)


counter = iter(range(1000))
X3 = np.ones(3)


@pytest.mark.parametrize(
    ("arguments", "options", "error", "message"),
    [
        (
            (np.sum, {"W": X3, "b": X3}, {"W": X3}),
            {},
            ValueError,
            "gradients: expected the names of params; missing 'b'",
        ),
        ((np.sum, {"W": X3}, {"W": X3, "c": X3}), {}, ValueError, "gradients: expected the names of params; extra 'c'"),
        (
            (np.sum, {"W": np.ones((2, 3))}, {"W": np.ones((3, 2))}),
            {},
            ValueError,
            r"gradients\['W'\]: expected shape \(2, 3\), got \(3, 2\) \(the transposed shape\)",
        ),
        ((np.sum, X3, np.ones(2)), {}, ValueError, r"gradients: expected shape \(3,\), got \(2,\)"),
        ((np.sum, {}, {}), {}, ValueError, "params: expected at least one array"),
        ((np.sum, {"W": {1.0}}, {"W": X3}), {}, TypeError, r"params\['W'\]: expected an array, or dicts, .*, got set"),
        ((np.sum, {1: X3}, {1: X3}), {}, TypeError, "params: expected names that are strings, got 1"),
        ((np.sum, np.arange(3), X3), {}, TypeError, "params: expected float32 or float64, got int64"),
        ((np.sum, X3, X3 + 0j), {}, TypeError, "gradients: expected float32 or float64, got complex128"),
        (
            (np.sum, np.array([0, np.nan]), np.ones(2)),
            {},
            ValueError,
            r"params: expected finite numbers, got nan at \(1",
        ),
        ((lambda x: x, X3, X3), {}, ValueError, r"loss_function: expected a scalar, got an array of shape \(3,\)"),
        ((lambda x: np.nan, X3, X3), {}, ValueError, "loss_function: expected a finite number, got nan"),
        ((lambda x: np.inf, X3, X3), {}, ValueError, "loss_function: expected a finite number, got inf"),
        ((lambda x: None, X3, X3), {}, TypeError, "loss_function: expected a number, got None"),
        ((lambda x: 1j, X3, X3), {}, TypeError, "loss_function: expected a real number for real parameters"),
        ((lambda x: np.float32(1), X3, X3), {}, ValueError, "loss_function: expected double precision.*got float32"),
        (
            (changes_its_argument, X3, X3),
            {},
            ValueError,
            "loss_function: expected its arguments to stay.*changes params",
        ),
        ((lambda x: float(next(counter)), X3, X3), {}, ValueError, "two calls with the same params gave 0.0 and 1.0"),
        (
            (np.sum, X3, X3),
            {"method": "magic"},
            ValueError,
            "method: expected one of 'auto', 'exact', 'complex-step', .* got 'magic'",
        ),
        ((np.sum, X3, X3), {"mode": "half"}, ValueError, "mode: expected one of 'full', 'directional', got 'half'"),
        ((np.sum, X3, X3), {"directions": 0}, ValueError, "directions: expected a positive whole number, got 0"),
        ((np.sum, X3, X3), {"rtol": -1.0}, ValueError, "rtol: expected a number between 0 and 1, got -1.0"),
        ((np.sum, X3, X3), {"factors": {"T": 0}}, ValueError, r"factors\['T'\]: expected a finite number other than 0"),
        ((np.sum, X3, X3), {"rtol": "a"}, ValueError, "rtol: expected a number between 0 and 1, got 'a'"),
        ((np.sum, X3, X3), {"factors": {"T": "7"}}, ValueError, r"factors\['T'\]: expected a finite number .* got '7'"),
        ((np.sum, X3, X3), {"factors": [7]}, TypeError, "factors: expected a dict of names and numbers, got list"),
        ((np.sum, X3, X3), {"seed": "x"}, ValueError, "seed: expected a whole number of at least 0, got 'x'"),
        ((np.sum, X3, X3), {"seed": -1}, ValueError, "seed: expected a whole number of at least 0, got -1"),
        ((3, X3, X3), {}, TypeError, "loss_function: expected a function, got int"),
        ((np.sum, X3, X3), {"mask": X3}, TypeError, "mask: expected bool, got float64"),
        ((np.sum, X3, X3), {"mask": np.ones(2, bool)}, ValueError, "mask: expected the leading axes of some parameter"),
        (
            (lambda p: np.sum(p["W"]), {"W": X3}, {"W": X3}),
            {"mask": {"W": np.ones(2, bool)}},
            ValueError,
            r"mask\['W'\]: expected the leading axes of shape \(3,\), got \(2,\)",
        ),
        (
            (lambda p: np.sum(p["W"]), {"W": X3}, {"W": X3}),
            {"mask": {"V": np.ones(3, bool)}},
            ValueError,
            "mask: expected the names of params, got 'V'",
        ),
        ((np.sum, X3.astype(np.float32), X3), {"method": "taylor"}, ValueError, "float64 for 'taylor', got float32"),
    ],
)
def test_bad_input_is_one_clear_line(arguments, options, error, message):
    with pytest.raises(error, match=message) as caught:
        check_gradients(*arguments, **options)
    assert "\n" not in str(caught.value)


def test_a_loss_that_writes_only_to_complex_arguments_is_caught():
    def loss(x):
        total = np.sum(x)
        if np.iscomplexobj(x):
            x[:] = x + 1
        return total

    with pytest.raises(ValueError, match="changes params"):
        check_gradients(loss, X3, X3)


def test_directional_says_how_far_off_the_directions_are():
    x = np.linspace(-1, 1, 50)
    right = check_gradients(lambda x: np.sum(np.sin(x)), x, np.cos(x), mode="directional")
    assert 0 <= right.deviation < 1e-14
    wrong = check_gradients(lambda x: np.sum(np.sin(x)), x, 1.0005 * np.cos(x), mode="directional")
    assert 1e-6 < wrong.deviation < 1e-2
    assert check_gradients(lambda x: np.sum(np.sin(x)), x, np.cos(x)).deviation is None
    found = check_gradients(lambda x: np.sum(np.sin(x)), x, np.cos(x), mode="directional", method="finite-difference")
    assert 0 <= found.deviation < 1e-6


@pytest.mark.parametrize("method", METHODS)
def test_directions_are_not_parallel_to_parameters_drawn_with_the_same_seed(method):
    # Of degree 0, so its derivative along the parameters themselves is zero whatever the factor.
    p, c = np.random.default_rng(0).standard_normal(6), np.arange(1.0, 7.0)
    length = np.sqrt(p @ p)
    gradient = c / length - (c @ p) * p / length**3

    def loss(x):
        return c @ x / np.sqrt(x @ x)

    def check(given):
        return check_gradients(loss, p, given, mode="directional", directions=1, method=method)

    assert check(gradient).ok
    assert check(2 * gradient).verdict == "wrong"


@pytest.mark.parametrize("method", ["finite-difference", "taylor"])
def test_what_was_not_computed_is_unknown(method):
    # The logarithm's differences leave its domain at the first entry.
    x = np.array([1e-3, 1.0])
    report = check_gradients(lambda x: np.sum(np.log(x)), x, np.array([1.1e3, 1.0]), method=method)
    found = report.parameters[0]
    assert not report.ok
    assert found.index == (0,)
    assert np.isnan([found.expected, found.absolute_error, found.relative_error]).all()
    assert found.ratio == pytest.approx(1)  # of the entry that is known
    assert "unknown" in str(report).splitlines()[3]
    assert json.loads(json.dumps(report.to_dict(), allow_nan=False))["parameters"][0]["expected"] is None


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("method", METHODS)
def test_a_gradient_where_the_true_one_is_zero_is_never_right(method, mode):
    report = check_gradients(lambda x: 3.0, np.ones(3), np.full(3, 1e-13), method=method, mode=mode)
    assert report.verdict in ("wrong", "inconclusive")
    if method == "complex-step":
        assert report.parameters[0].diagnosis == "the true gradient is zero"
        assert report.parameters[0].relative_error == 1.0


def test_values_are_printed_with_as_many_digits_as_it_takes_to_differ():
    x = np.array([0.5, 1.0])
    line = str(check_gradients(lambda x: np.sum(x**2), x, 2 * x * (1 + 1e-9))).splitlines()[3]
    assert "  2.000000002  2  " in line


@pytest.mark.parametrize("mode", MODES)
def test_a_hugely_wrong_gradient_hides_no_other(mode):
    wrong = {**GRADIENTS, "W": 1e13 * GRADIENTS["W"], "b": 1.01 * GRADIENTS["b"]}
    report = check_gradients(loss_function, PARAMS, wrong, mode=mode)
    assert [row.name for row in report.parameters if row.verdict == "wrong"] == ["W", "b"]
    assert row(report, "b").diagnosis == "1.01 times the true gradient: a constant factor"


def test_a_parameter_called_params_is_named_as_a_key():
    with pytest.raises(TypeError, match=r"^params\['params'\]: expected float32 or float64, got int64$"):
        check_gradients(np.sum, {"params": np.arange(3)}, {"params": X3})


def test_infinite_and_unknown_numbers_in_json():
    found = check_gradients(np.sum, X3, np.array([1.0, np.inf, 1.0])).to_dict()["parameters"][0]
    assert (found["gradient"], found["absolute_error"], found["expected"]) == ("inf", "inf", 1.0)


def test_names_that_collide_are_refused():
    params = {"a": {"b": np.ones(2)}, "a.b": np.full(2, 3.0)}
    with pytest.raises(ValueError, match=r"params: expected different names, got two arrays that are called 'a\.b'"):
        check_gradients(lambda p: np.sum(p["a"]["b"] ** 2 + p["a.b"] ** 3), params, params)
