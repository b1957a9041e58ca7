"""A seeded sample of the thousand random configurations, and what the script says when one of them fails."""

import sys

import numpy as np
import pytest

from benchmarks import random_configurations
from benchmarks.random_configurations import check, draw, main
from numpy_attention.verification.cases import ALIGNMENTS, SCALES
from numpy_attention.verification.mutants import MUTANTS, in_force


@pytest.mark.parametrize("seed", range(20))
def test_every_gradient_agrees_with_the_complex_step(seed):
    report = check(draw(seed))
    report.raise_if_failed()
    assert report.largest > 1e-6


def test_everything_is_drawn():
    drawn = [draw(seed) for seed in range(200)]
    assert {each.model.alignment for each in drawn} == set(ALIGNMENTS)
    assert {each.model.bidirectional for each in drawn} == {False, True}
    assert {each.scale for each in drawn} == set(SCALES)
    assert {each.batch.source.shape[0] for each in drawn} == {1, 2, 3, 4}
    assert {each.batch.source.shape[1] for each in drawn} == {1, 2, 3, 4, 5, 6}
    assert any(not each.batch.source_mask.all() for each in drawn)
    assert len({(each.model.embedding_size, each.model.hidden_size) for each in drawn}) > 20
    assert len({each.params["output.b"].tobytes() for each in drawn}) == len(drawn)
    np.testing.assert_array_equal(draw(7).params["bridge.W"], drawn[7].params["bridge.W"])


def test_the_script_says_what_it_found_and_fails_if_one_fails(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", [random_configurations.__name__, "3"])
    assert main() == 0
    assert capsys.readouterr().out.endswith("all agree with the complex step\n")
    mutant = next(mutant for mutant in MUTANTS if mutant.name == "bias averaged, not summed")
    with in_force(mutant):
        assert main() == 1
    output = capsys.readouterr().out
    assert "gradient check: WRONG" in output
    assert output.endswith(" failed\n")
