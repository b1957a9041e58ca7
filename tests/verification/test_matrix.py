"""What counts as evidence: findings are summed up by the worst, and a check of nothing does not pass."""

import math
import subprocess
import sys

import numpy as np
import pytest

from numpy_attention.verification import matrix
from numpy_attention.verification.cases import ALIGNMENTS, Case
from numpy_attention.verification.matrix import Finding, check_case, every_check, structural_zeros, summarise
from numpy_attention.verification.mutants import MUTANTS, Mutant, in_force


def finding(verdict="ok", error=1e-16, share=0.5, model="a", method="complex step", where="", diagnosis=""):
    return Finding("parameter", "bridge.W", method, error, verdict, where, share, model, diagnosis)


def test_a_row_is_the_worst_of_its_findings():
    (row,) = summarise([
        finding(error=1e-16),
        finding("wrong", 1e-3, where="dot, ragged", diagnosis="twice the true gradient"),
        finding(error=3e-9, method="finite differences"),
        finding(error=math.nan),
    ])  # fmt: skip
    assert (row.verdict, row.ok, row.checks) == ("wrong", False, 4)
    assert row.errors == {"complex step": 1e-3, "finite differences": 3e-9}
    assert row.remark == "dot, ragged: twice the true gradient (1 of 4 checks)"


@pytest.mark.parametrize("verdict", ["wrong", "not analytic", "inconclusive", "empty", "not zero"])
def test_one_failed_check_fails_the_row(verdict):
    (row,) = summarise([finding(), finding(verdict), finding()])
    assert (row.verdict, row.ok) == (verdict, False)


def test_what_weighs_nothing_in_any_case_of_a_model_was_not_tested():
    small, large = finding(share=1e-4, model="a"), finding(share=0.5, model="a")
    assert summarise([small, large])[0].ok
    (row,) = summarise([small, large, finding(share=9e-4, model="b")])
    assert (row.verdict, row.ok) == ("not tested", False)
    assert row.share == 9e-4


def test_parameters_come_in_the_order_of_the_forward_pass():
    names = ["output.b", "decoder.W", "encoder.forward.U", "source_embedding"]
    rows = summarise([finding()._replace(name=name) for name in names])
    assert [row.name for row in rows] == names[::-1]


@pytest.mark.slow
@pytest.mark.parametrize(("alignment", "cell"), [("stacked", "tanh"), ("none", "lstm"), ("general", "gru")])
def test_the_model_passes_and_every_parameter_is_tested(alignment, cell):
    checks = every_check([alignment], [cell])
    rows = {row.name: row for row in summarise(finding for check in checks for finding in check())}
    assert all(row.ok for row in rows.values())
    assert rows["decoder.U"].share > 1e-3
    assert 0 < rows["decoder.U"].errors["complex step"] < 1e-12
    assert ("finite differences" in rows["decoder.U"].errors) == (cell == "tanh")  # with --full of gated cells too
    assert 0 < rows["decoder.U"].errors.get("finite differences", 1e-9) < 1e-6
    assert {"small weights, directions", "large weights, directions", "second derivatives"} <= rows.keys()
    assert ("alignment.W, stacked" in rows) == (alignment == "stacked")
    assert f"encoder, {cell}" in rows
    assert "decoder, dot, tanh" not in rows


def test_full_leaves_no_case_to_directions():
    def calls(*, full):
        checks = every_check(["dot"], ["tanh", "gru"], full=full)
        return [check.args for check in checks if check.func is matrix.complex_step_findings]

    assert {mode for _, mode in calls(full=True)} == {"full"}
    assert len(calls(full=True)) == 2 * 2 * 5 * 3
    by_entry = [case for case, mode in calls(full=False) if mode == "full"]
    assert all(case.scale == "ordinary" for case in by_entry)
    assert [sum(case.cell == cell for case in by_entry) for cell in ("tanh", "gru")] == [2 * 5, 2]
    # A gated cell has one thing special at a time, its lengths or its weights.
    assert [sum(case.cell == cell for case, _ in calls(full=False)) for cell in ("tanh", "gru")] == [2 * 15, 2 * 7]


def test_finite_differences_take_the_parameters_of_a_gated_cell_together():
    case = Case("none", False, cell="gru")
    (found,) = matrix.finite_difference_findings(case, "directional")
    assert (found.group, found.name, found.verdict) == ("model", "ordinary weights, directions", "ok")
    names = {each.name for each in matrix.finite_difference_findings(case._replace(cell="tanh"), "directional")}
    assert {"decoder.U", "bridge.W"} <= names


def test_structural_zeros_are_the_query_s_half_of_the_stacked_form():
    case = Case("stacked", True)
    assert structural_zeros(case) == {"alignment.W": slice(None), "alignment.v": slice(0, 4)}
    assert not any(structural_zeros(Case(kind, True)) for kind in ALIGNMENTS if kind != "stacked")
    (w, v) = matrix.zero_findings(case, structural_zeros(case))
    assert (w.verdict, v.verdict) == ("zero", "zero")
    # The other half is not zero, and would be called so.
    (half,) = matrix.zero_findings(case, {"alignment.v": slice(4, 8)})
    assert half.verdict == "not zero"
    assert not summarise([half])[0].ok


def test_a_mistake_is_found_by_every_kind_of_check():
    case = Case("none", False)
    with in_force(next(mutant for mutant in MUTANTS if mutant.name == "recurrent weights transposed")):
        assert "transpose" in check_case(case, "full").parameters[2].diagnosis
        for found in (
            matrix.complex_step_findings(case, "full"),
            matrix.complex_step_findings(case._replace(scale="large"), "directional"),
            matrix.finite_difference_findings(case, "directional"),
            matrix.hessian_findings(case),
        ):
            assert any(each.verdict == "wrong" for each in found)
    assert all(each.verdict == "ok" for each in matrix.complex_step_findings(case, "full"))


def test_finite_differences_see_a_gradient_that_is_lost():
    lost = Mutant("lost", "model.decoder", "rows(cache.c).T @ rows(da)", "0 * rows(cache.c).T @ rows(da)")
    with in_force(lost):
        found = matrix.finite_difference_findings(Case("additive", False), "full")
    assert [each.name for each in found if each.verdict == "wrong"] == ["decoder.C"]


def test_it_needs_neither_rich_nor_matplotlib():
    program = (
        "import sys; sys.modules.update(dict.fromkeys(['rich', 'matplotlib', 'torch']));"
        "import numpy_attention.verification.mutants, numpy_attention.verification.matrix"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_large_weights_saturate():
    loaded = matrix.load(Case("additive", False, scale="large"))
    ordinary = matrix.load(Case("additive", False))
    assert np.abs(loaded.params["decoder.U"]).max() == 3 * np.abs(ordinary.params["decoder.U"]).max()
