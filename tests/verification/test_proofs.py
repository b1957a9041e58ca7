"""The package's own backward is proved, and no proof survives a known mistake."""

import pytest

from numpy_attention.verification.cases import Case
from numpy_attention.verification.mutants import MUTANTS, in_force
from numpy_attention.verification.proofs import every_proof, prove_case, prove_second


@pytest.mark.parametrize("cell", ["tanh", "gru", "lstm"])
@pytest.mark.parametrize("bidirectional", [False, True])
def test_a_model_and_its_second_derivatives_are_proved(cell, bidirectional):
    case = Case("additive", bidirectional, cell=cell)
    for proof in (prove_case(case), prove_second(case)):
        assert proof.verdict == "PROVED"
        assert 0 < proof.bound < 1e-15


@pytest.mark.slow
def test_everything_is_proved():
    found = [prove() for prove in every_proof()]
    assert len(found) == 250
    assert [each for each in found if each.proof.verdict != "PROVED"] == []


@pytest.mark.slow
@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_no_proof_survives_a_known_mistake(mutant):
    with in_force(mutant):
        assert any(prove().proof.verdict != "PROVED" for prove in every_proof())
