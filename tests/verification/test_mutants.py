"""Every mutant is caught in both modes and named; and the library is itself again afterwards."""

import contextlib

import numpy as np
import pytest

from numpy_attention.verification import mutants
from numpy_attention.verification.matrix import check_case
from numpy_attention.verification.mutants import (
    CASES,
    MODULES,
    MUTANTS,
    RECORDS,
    Mutant,
    first_case,
    first_operation,
    hunt,
    in_force,
)

# What must be said of each: the smallest operation in which it shows, and words of the diagnosis.
EXPECTED = {
    "factor 1.0005": ("softmax", "e: 1.0005 times the true gradient: a constant factor"),
    "softmax over the wrong axis": ("softmax", "law broken: no leak between sequences"),
    "softmax's sum over positions dropped": ("softmax", "no simple pattern in e"),
    "softmax masked after the sum": (
        "decoder, additive, tanh",
        "no simple pattern in alignment, target_embedding, decoder, s_0, h",
    ),
    "sign of the query's gradient": ("alignment, additive", "s: -1 times the true gradient: a constant factor = -1"),
    "tanh' forgotten in the keys": ("alignment, additive", "no simple pattern in h, U"),
    "sums over the steps assigned, not added": ("alignment, additive", "no simple pattern in h, U"),
    "gradient of v assigned at every step, not added": ("alignment, additive", "no simple pattern in v"),
    "stacked: tanh' forgotten in the keys": ("alignment, stacked", "no simple pattern in h, U"),
    "location: nothing sent back to the weights before": ("decoder, location, tanh", "target_embedding: only rows 4, 5, 6 are wrong"),
    "location: left and right swapped": ("alignment, location", "no simple pattern in alpha"),
    "GRU: z where 1 - z belongs": ("cell, gru", "no simple pattern in a, s, U"),
    "general: nothing goes to the keys": ("alignment, general", "h: the whole gradient is zero: a missing term"),
    "context weighted by the last step's attention": ("decoder, additive, tanh", "no simple pattern in h"),
    "tanh' taken at tanh(a) instead of a": ("cell, tanh", "no simple pattern in a, s, U"),
    "GRU: sigmoid' of the reset gate forgotten": ("cell, gru", "a: only columns 0, 1, 2 are wrong"),
    "GRU: reset gate missing in the gradient of s U": ("cell, gru", "U: only columns 6, 7, 8 are wrong"),
    "GRU: nothing handed on by the update gate": ("cell, gru", "no simple pattern in s"),
    "GRU: gates r and z swapped": ("cell, gru", "a: the true gradient with axis 1 in the order 3, 4, 5, 0, 1, 2, 6, 7, 8"),
    "LSTM: path through c cut": ("cell, lstm", "s: columns 3, 4, 5 are zero, the rest is right: a missing term"),
    "LSTM: tanh' of c forgotten": ("cell, lstm", "no simple pattern in a, s, U"),
    "LSTM: gates i and f swapped": ("cell, lstm", "a: the true gradient with axis 1 in the order 3, 4, 5, 0, 1, 2, 6, 7, 8, 9, 10, 11"),
    "LSTM: c where tanh(c) belongs": ("cell, lstm", "a: only columns 6, 7, 8 are wrong"),
    "padded steps not left out": ("encoder, tanh", "no simple pattern in source_embedding, encoder"),
    "rows of a repeated token assigned, not added": ("embedding", "no simple pattern in embedding, W, b"),
    "bias averaged, not summed": ("embedding", "b: 0.142857 times the true gradient: a constant factor = 1/V"),
    "mask of the loss forgotten": ("cross-entropy", "logits: wrong only where the mask is False"),
    "recurrent weights transposed": ("encoder, tanh", "encoder.U: the transpose of the true gradient"),
    "h_t where h_{t-1} belongs": ("encoder, tanh", "no simple pattern in encoder.U"),
    "embedding of one direction assigned over the other": ("bidirectional encoder, tanh", "in source_embedding: worst"),
    "last source step hands nothing back": ("encoder, tanh", "no simple pattern in source_embedding, encoder"),
    "bridge: 1 - a^2 of the input a instead of the output": ("bridge", "no simple pattern in bridge, last"),
    "bridge: missing sum over the batch": ("bridge", "bridge.b: nothing comes from sequences 1, 2 of the batch: a missing sum"),
    "s_u where s_{u-1} belongs": ("decoder, additive, tanh", "no simple pattern in alignment.W"),
    "query path dropped": ("decoder, additive, tanh", "no simple pattern in alignment, target_embedding, decoder, s_0"),
    "readout's path to the context lost": ("decoder, additive, tanh", "no simple pattern in alignment"),
    "last target step skipped in output.W": ("decoder, additive, tanh", "no simple pattern in output.W"),
    "context's gradient not passed to the encoder": ("", "in source_embedding, encoder.forward, encoder.backward"),
    "keys' gradient not passed to the encoder": ("", "in source_embedding, encoder.forward, encoder.backward"),
}  # fmt: skip
QUICK = ("factor 1.0005", "GRU: reset gate missing in the gradient of s U", "recurrent weights transposed", "bias averaged, not summed")  # fmt: skip


def everything_bound():
    return {
        (owner, name): value
        for module in MODULES
        for owner in (module, *mutants._classes(module))
        for name, value in vars(owner).items()
        if callable(value)
    } | {(id(records), name): record for records in RECORDS for name, record in records.items()}


@pytest.mark.slow
def test_without_a_mutant_no_check_fails():
    assert first_operation() == ("", None)
    assert first_case("full") == ("", None)
    assert first_case("directional") == ("", None)


def test_every_mutant_is_expected_and_has_a_name_of_its_own():
    assert [mutant.name for mutant in MUTANTS] == list(EXPECTED)
    assert len({(mutant.room, mutant.before, mutant.after) for mutant in MUTANTS}) == len(MUTANTS)


@pytest.mark.parametrize(
    "mutant",
    [
        pytest.param(mutant, id=mutant.name, marks=[] if mutant.name in QUICK else [pytest.mark.slow])
        for mutant in MUTANTS
    ],
)
def test_it_is_caught_in_both_modes_and_named(mutant):
    before = everything_bound()
    catch = hunt(mutant)
    assert catch.caught
    operation, words = EXPECTED[mutant.name]
    assert catch.operation == operation
    assert words in catch.diagnosis
    assert everything_bound() == before


def test_everything_is_restored_after_an_error():
    before = everything_bound()
    with contextlib.suppress(RuntimeError), in_force(MUTANTS[0]):
        assert everything_bound() != before
        raise RuntimeError
    assert everything_bound() == before
    assert check_case(CASES[0], "directional").ok


def test_a_mutant_stands_wherever_the_function_is_used():
    from numpy_attention.model import decoder
    from numpy_attention.ops import attention, cells

    original = attention.softmax_backward
    with in_force(MUTANTS[0]):
        assert decoder.softmax_backward is attention.softmax_backward
        assert attention.softmax_backward is not original
    assert decoder.softmax_backward is attention.softmax_backward is original
    step = cells.CELLS["gru"].step_backward
    with in_force(next(mutant for mutant in MUTANTS if mutant.name.startswith("GRU"))):
        assert cells.CELLS["gru"].step_backward is cells.gru_step_backward
        assert cells.gru_step_backward is not step
    assert cells.CELLS["gru"].step_backward is cells.gru_step_backward is step


@pytest.mark.slow
def test_a_mutant_that_changes_nothing_is_not_caught():
    catch = hunt(Mutant("none", "ops.attention", "de = alpha * dalpha", "de = 1 * alpha * dalpha"))
    assert not catch.caught
    assert catch == (catch.mutant, "", "", "", (), "")


@pytest.mark.parametrize("before", ["no such text", "alpha"])
def test_an_edit_that_has_no_one_place_is_an_error(before):
    mutant = Mutant("stray", "ops.attention", before, "")
    with (
        pytest.raises(ValueError, match=f"mutant 'stray': expected '{before}' exactly once in ops.attention"),
        in_force(mutant),
    ):
        pass


@pytest.mark.slow
def test_the_forward_is_left_as_it_is():
    """A mutant is a mistake of the backward alone, or the checks would agree with it."""
    before = {case: np.array(_loss(case)) for case in CASES}
    for mutant in MUTANTS:
        with in_force(mutant):
            for case in CASES:
                assert _loss(case) == before[case], mutant.name


def _loss(case):
    from numpy_attention.verification.matrix import load

    loaded = load(case)
    return loaded.loss(loaded.params)
