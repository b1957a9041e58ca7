"""Layers in the usual style are proved; thousands of wrong backwards of theirs are not."""

import numpy as np
import pytest

from numpy_attention.gradcheck import check_vjp
from numpy_attention.gradcheck.mutation import mutations
from numpy_attention.gradcheck.vjp import prove_vjp
from tests.gradcheck.layers import LAYERS

PROVABLE = [layer for layer in LAYERS if not layer.unproved]
PER_LAYER = 195  # wrong backwards of each layer


def named(layer):
    return layer.name


@pytest.mark.parametrize("layer", PROVABLE, ids=named)
def test_a_right_layer_is_proved(layer):
    report = check_vjp(layer.forward, layer.backward, layer.inputs, show_progress=False)
    assert report.verdict == "PROVED"


@pytest.mark.parametrize("layer", [layer for layer in LAYERS if layer.unproved], ids=named)
def test_a_right_layer_that_cannot_be_proved_says_why_and_is_measured(layer):
    report = check_vjp(layer.forward, layer.backward, layer.inputs, show_progress=False)
    assert (report.verdict, report.proof.verdict) == ("ok", "CANNOT PROVE")
    assert layer.unproved in report.proof.reason
    assert "layers.py, line" in report.proof.reason


def test_nine_in_ten_are_proved():
    assert len(LAYERS) >= 40
    assert len(PROVABLE) >= 0.9 * len(LAYERS)


def in_numbers(backward, rng):
    """The backward with one entry of one gradient changed by less than floats can show, or a little more."""
    which, share = int(rng.integers(100)), float(rng.random())
    change = [
        lambda entry: entry * (1 + 2.0**-52),
        lambda entry: entry + 2.0**-1000,
        lambda entry: entry if entry > 0 else entry * (1 + 2.0**-52),
        lambda entry: entry * (1 - 2.0**-40),
    ][which % 4]

    def wrong(dout, cache):
        found = backward(dout, cache)
        gradients = list(found) if isinstance(found, tuple) else [found]
        place = which % len(gradients)
        changed = gradients[place].copy()
        entry = int(share * changed.size)
        changed.reshape(-1)[entry] = change(changed.reshape(-1)[entry])
        gradients[place] = changed
        return tuple(gradients) if isinstance(found, tuple) else gradients[0]

    return wrong


def wrong_backwards(layer, rng):
    """All mutants, mutants of mutants, and changes of numbers: PER_LAYER in all."""
    first = mutations(layer.backward)
    rng.shuffle(first)
    found = first[: PER_LAYER - 40]
    while first and len(found) < PER_LAYER - 40:
        again = mutations(first[int(rng.integers(len(first)))].function)
        found += [again[int(rng.integers(len(again)))]] if again else []
    return [
        *(each.function for each in found),
        *(in_numbers(layer.backward, rng) for _ in range(PER_LAYER - len(found))),
    ]


def proved(layer, backward):
    try:
        return prove_vjp(layer.forward, backward, layer.inputs).verdict == "PROVED"
    except Exception:  # a mutant can raise anything
        return False


def right_at_twenty_points(layer, backward):
    rng = np.random.default_rng(1)
    for _ in range(20):
        inputs = tuple(x + 0.1 * rng.standard_normal(x.shape) for x in layer.inputs)
        report = check_vjp(layer.forward, backward, inputs, method="complex-step", mode="directional")
        if report.measured == "not analytic":
            report = check_vjp(layer.forward, backward, inputs, method="finite-difference", mode="directional")
        if any(row.verdict != "ok" for row in report.parameters):
            return False
    return True


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::RuntimeWarning", "ignore::numpy.exceptions.ComplexWarning")
@pytest.mark.parametrize("layer", PROVABLE, ids=named)
def test_no_wrong_backward_is_proved(layer):
    rng = np.random.default_rng([9, *layer.name.encode()])
    backwards = wrong_backwards(layer, rng)
    assert len(backwards) == PER_LAYER
    found = [backward for backward in backwards if proved(layer, backward)]
    assert len(found) < PER_LAYER // 2
    for equivalent in found:  # not wrong after all
        assert right_at_twenty_points(layer, equivalent)


def test_how_many_wrong_backwards_are_tried():
    assert PER_LAYER * len(PROVABLE) >= 10_000
