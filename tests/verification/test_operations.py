"""Every operation on its own, by both methods; and nothing is left out."""

from pathlib import Path

import numpy as np
import pytest

from numpy_attention import ops
from numpy_attention.ops import alignment
from numpy_attention.verification.operations import check_operation, every_operation

OPERATIONS = every_operation()


@pytest.mark.parametrize("operation", OPERATIONS, ids=[each.name for each in OPERATIONS])
def test_backward_agrees_with_both_methods_and_keeps_the_laws(operation):
    report = check_operation(operation)
    report.raise_if_failed()
    assert len(report.laws) == (8 if "batch_axis" in operation.options else 7)
    assert all(row.largest > 1e-2 for row in report.parameters if "stacked" not in operation.name)
    check_operation(operation, method="finite-difference", mode="directional").raise_if_failed()


def test_every_operation_of_the_calculus_is_there():
    names = {each.name.split(",")[0].replace(" ", "_").replace("-", "_") for each in OPERATIONS}
    modules = Path(ops.__file__).parent.glob("[!_]*.py")
    files = {path.stem for path in modules if f"def {path.stem}_forward(" in path.read_text(encoding="utf-8")}
    assert len(files) == 8
    assert files <= names
    assert {"encoder", "bridge", "decoder"} <= names
    assert {f"alignment, {kind}" for kind in alignment.KINDS} <= {each.name for each in OPERATIONS}


def test_masks_are_ragged_and_inputs_seeded():
    softmax = OPERATIONS[0]
    assert not softmax.inputs["mask"].all()
    np.testing.assert_array_equal(every_operation()[0].inputs["scores"], softmax.inputs["scores"])
    assert not np.array_equal(every_operation(seed=1)[0].inputs["scores"], softmax.inputs["scores"])
