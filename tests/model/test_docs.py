"""The examples in docs/model.md run, and print what they say; what they add to the registers is taken out again."""

import contextlib
import io
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from numpy_attention.ops.attention import ALIGNMENTS
from numpy_attention.ops.cells import CELLS
from numpy_attention.verification.cases import make_batch, make_model, make_params
from tests.derivatives import assert_vjp

PAGE = Path(__file__).parents[2] / "docs" / "model.md"


@pytest.fixture
def registers():
    """Leaves both registers as they were."""
    before = dict(CELLS), dict(ALIGNMENTS)
    yield
    for register, entries in zip((CELLS, ALIGNMENTS), before, strict=True):
        register.clear()
        register.update(entries)


def run_page():
    """Run the blocks of code in order; a block of text is what was printed since the one before."""
    namespace, output = {}, io.StringIO()
    for kind, block in re.findall(r"```(python|text)\n(.*?)```", PAGE.read_text(encoding="utf-8"), flags=re.DOTALL):
        if kind == "python":
            with contextlib.redirect_stdout(output):
                exec(compile(block, PAGE.name, "exec"), namespace)
        else:
            assert output.getvalue() == block
            output = io.StringIO()
    assert not output.getvalue()
    return namespace


def test_the_page_and_what_it_adds(registers):
    page = run_page()
    assert set(CELLS) == {"tanh", "gru", "lstm", "mgu"}
    assert set(ALIGNMENTS) == {"additive", "location", "stacked", "dot", "general", "none", "scaled"}

    rng = np.random.default_rng(0)
    inputs = {"a": rng.uniform(-1, 1, (2, 6)), "s": rng.uniform(-1, 1, (2, 3)), "U": rng.uniform(-1, 1, (3, 6)) / 3}
    new, gates = page["mgu_step"](**inputs)

    def backward(dnew):
        da, dp, ds = page["mgu_step_backward"](dnew, inputs["s"], new, gates, inputs["U"])
        return {"a": da, "s": ds, "U": inputs["s"].T @ dp}

    assert_vjp(lambda values: page["mgu_step"](**values)[0], backward, inputs, rng)

    for alignment, bidirectional in (("additive", False), ("scaled", True)):
        sizes = {"hidden_size": 6} if bidirectional else {}
        model = replace(make_model(alignment, bidirectional, **sizes), cell="mgu")
        params, batch = make_params(model), make_batch(model)
        single = {name: value.astype(np.float32) for name, value in params.items()}
        loss, gradients = model.loss_and_gradients(single, batch)
        assert {np.dtype(loss), *(gradient.dtype for gradient in gradients.values())} == {np.dtype(np.float32)}
        np.testing.assert_allclose(loss, model.loss(params, batch), rtol=1e-5)


def test_every_alignment_and_cell_of_the_package_is_there_after_the_page():
    assert set(CELLS) == {"tanh", "gru", "lstm"}
    assert set(ALIGNMENTS) == {"additive", "location", "stacked", "dot", "general", "none"}
