"""Every operation on its own, by both methods; and nothing is left out."""

import inspect

import numpy as np
import pytest

from numpy_attention.model import decoder, encoder
from numpy_attention.ops import attention, cells, cross_entropy, embedding
from numpy_attention.verification.operations import check_operation, every_operation

OPERATIONS = every_operation()


@pytest.mark.parametrize("operation", OPERATIONS, ids=[each.name for each in OPERATIONS])
def test_backward_agrees_with_both_methods_and_keeps_the_laws(operation):
    report = check_operation(operation)
    report.raise_if_failed()
    assert len(report.laws) == (8 if "batch_axis" in operation.options else 7)
    assert all(row.largest > 1e-2 for row in report.parameters if "stacked" not in operation.name)
    check_operation(operation, method="finite-difference", mode="directional").raise_if_failed()


def test_every_backward_of_the_calculus_is_run(monkeypatch):
    """Each backward is made to fail in turn; then some operation fails."""

    def broken(*arguments, **keywords):
        raise ZeroDivisionError

    modules = (attention, cells, cross_entropy, embedding, encoder, decoder)
    backwards = [
        (module, name)
        for module in modules
        for name, value in vars(module).items()
        if name.endswith(("_backward", "_after")) and inspect.isfunction(value) and value.__module__ == module.__name__
    ]
    assert len(backwards) >= 20
    for module, name in backwards:
        original = getattr(module, name)
        with monkeypatch.context() as patch:
            patch.setattr(module, name, broken)
            for records in (attention.ALIGNMENTS, cells.CELLS):
                for key, record in records.items():
                    changes = {} if record is None else {
                        field: broken for field, value in record._asdict().items() if value is original
                    }  # fmt: skip
                    if changes:
                        patch.setitem(records, key, record._replace(**changes))
            assert any(fails(operation) for operation in OPERATIONS), name


def fails(operation):
    try:
        _, cache = operation.forward(**operation.inputs)
        output = np.asarray(operation.forward(**operation.inputs)[0])
        operation.backward(np.ones_like(output), cache)
    except ZeroDivisionError:
        return True
    return False


def test_every_cell_and_alignment_is_there():
    names = {each.name for each in OPERATIONS}
    assert {f"cell, {name}" for name in cells.CELLS} | {f"encoder, {name}" for name in cells.CELLS} <= names
    assert {f"alignment, {name}" for name, look in attention.ALIGNMENTS.items() if look is not None} <= names
    assert {f"decoder, {name}, tanh" for name in attention.ALIGNMENTS} <= names
    assert {f"decoder, additive, {name}" for name in cells.CELLS} <= names


def test_masks_are_ragged_and_inputs_seeded():
    softmax = OPERATIONS[0]
    assert not softmax.inputs["mask"].all()
    np.testing.assert_array_equal(every_operation()[0].inputs["e"], softmax.inputs["e"])
    assert not np.array_equal(every_operation(seed=1)[0].inputs["e"], softmax.inputs["e"])
