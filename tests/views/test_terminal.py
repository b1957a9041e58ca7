import numpy as np
import pytest

from numpy_attention.views.terminal import attention_map


def test_a_weight_is_a_shade_source_across_output_down():
    attention = np.array([[0.05, 0.15, 0.8], [0.35, 0.55, 0.1]])
    lines = attention_map(attention, ["a", "b", "c"], ["x", "<eos>"]).splitlines()
    assert lines == ["      a b c", "x       ░░██", "<eos> ▒▒▓▓░░"]


@pytest.mark.parametrize(("length", "width", "block"), [(30, 80, 1), (60, 80, 1), (200, 80, 3), (5, 3, 5)])
def test_a_long_source_still_fits(length, width, block):
    lines = attention_map(np.eye(length), ["w"] * length, ["w"] * length, width).splitlines()
    assert all(len(line) <= width for line in lines[: -(-length // block) + 1])
    assert len(lines) == 1 + -(-length // block) + (block > 1)
    for number, line in enumerate(lines[1 : 1 + -(-length // block)]):
        assert line[2:].strip("█") == " " * (number * (2 if 2 * length <= width - 2 else 1))  # the diagonal survives
    if block > 1:
        assert lines[-1] == f"each cell is the largest of {block} x {block} weights"


def test_labels_that_do_not_fit():
    with pytest.raises(ValueError, match=r"^attention: expected a row per output label .*\(1, 2\), got \(2, 2\)$"):
        attention_map(np.eye(2), ["a", "b"], ["a"])
