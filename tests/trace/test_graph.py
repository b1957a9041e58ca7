import json
import re

import pytest

from numpy_attention.explain.recording import HELPERS, recorded, sentence
from numpy_attention.model.seq2seq import Seq2Seq
from numpy_attention.ops.cells import CELLS
from numpy_attention.trace.graph import BLUE, ORANGE, dot

QUOTED = r'("(?:[^"\\]|\\.)*")'
BOX = re.compile(rf'  {QUOTED} \[shape=box, color="(#\w+)", label={QUOTED}\]')
ARROW = re.compile(rf'  {QUOTED} -> {QUOTED} \[color="(#\w+)"(?:, label={QUOTED})?(, style=dashed)?\]')


def read(text):
    """Boxes with colour and label, arrows with colour, label and style; every line is one or the other."""
    first, second, *lines, last = text.splitlines()
    assert (first, second, last) == ("digraph {", "  node [shape=plain, fontname=monospace]", "}")
    boxes, arrows = {}, {}
    for line in lines:
        box, arrow = BOX.fullmatch(line), ARROW.fullmatch(line)
        if box:
            boxes[json.loads(box[1])] = box[2], json.loads(box[3].replace("\\l", "\\n"))
        else:
            arrows[json.loads(arrow[1]), json.loads(arrow[2])] = arrow[3], json.loads(arrow[4] or '""'), bool(arrow[5])
    return boxes, arrows


def graph(**settings):
    model = Seq2Seq(8, 8, 2, 3, **settings)
    trace = recorded(model, model.init(), sentence([5, 6, 4], [7, 3]))
    return read(dot(trace, trace.called("forward")[0].end, HELPERS))


def test_a_box_is_a_function_with_its_equations_and_an_arrow_the_arrays_that_flow():
    boxes, arrows = graph()
    assert boxes["tanh_step"] == (BLUE, "tanh_step\n\nreturn tanh(a + s @ U), None\n")
    assert boxes["context_backward"][0] == ORANGE
    assert arrows["softmax", "context"] == (BLUE, "alpha", False)
    assert arrows["tanh_step", "tanh_step"] == (BLUE, "s", False)  # the recurrence
    assert arrows["context_backward", "softmax_backward"] == (ORANGE, "dalpha", False)
    assert arrows["softmax", "softmax_backward"] == (ORANGE, "alpha", True)
    assert arrows["cross_entropy_forward", "loss"] == (BLUE, "", False)
    assert arrows["additive_scores_backward", "dalignment.v"] == (ORANGE, "", False)
    assert not {"product", "rows", "tanh"} & set(boxes)


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("alignment", ["additive", "general", "none"])
def test_every_function_has_an_arrow_in_and_out_and_none_flows_back(cell, alignment):
    boxes, arrows = graph(cell=cell, alignment=alignment)
    assert {one for one, _ in arrows} >= set(boxes) <= {other for _, other in arrows} | {"backward"}  # it adds up
    assert not any(
        boxes[one][0] == ORANGE and boxes[other][0] == BLUE for one, other in arrows if {one, other} <= set(boxes)
    )
    assert ("softmax" in boxes) == (alignment != "none")
    assert {other for _, other in arrows} >= {"loss", "dencoder.U", "doutput.b"}
