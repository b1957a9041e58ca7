import numpy as np
import pytest

from numpy_attention.views.terminal import LEGEND, PLAIN, attention_map, curves_chart


def test_a_weight_is_a_shade_source_across_output_down():
    attention = np.array([[0.05, 0.15, 0.8], [0.35, 0.55, 0.1]])
    lines = attention_map(attention, ["a", "b", "c"], ["x", "<eos>"]).splitlines()
    assert lines == ["      a b c", "x       ░░██", "<eos> ▒▒▓▓░░"]


@pytest.mark.parametrize(
    ("length", "width", "across", "down"),
    [(30, 80, 1, 1), (31, 80, 1, 2), (60, 80, 1, 2), (200, 80, 3, 7), (5, 3, 5, 1)],
)
def test_a_long_source_or_output_still_fits(length, width, across, down):
    *lines, last = attention_map(np.eye(length), ["w"] * length, ["w"] * length, width).splitlines()
    if across == down == 1:
        lines.append(last)
    else:
        shared = " x ".join([f"{down} steps"] * (down > 1) + [f"{across} source positions"] * (across > 1))
        assert last == f"each cell: the largest of {shared}, named by the first"
    assert all(len(line) <= width for line in lines)
    assert len(lines) == 1 + -(-length // down) <= 31
    cell = 2 if 2 * length <= width - 2 else 1
    for number, line in enumerate(lines[1:]):  # the diagonal survives
        first, final = number * down // across, min(length - 1, number * down + down - 1) // across
        assert line[2:] == " " * (first * cell) + "█" * ((final - first + 1) * cell)


def test_rows_and_columns_are_merged_apart_and_named_by_their_first():
    weights = np.zeros((32, 3))
    weights[5, 1] = 0.4
    lines = attention_map(weights, ["a", "b", "c"], [str(step) for step in range(32)]).splitlines()
    assert lines[:5] == ["   a b c", "0", "2", "4    ▒▒", "6"]
    assert lines[16:] == ["30", "each cell: the largest of 2 steps, named by the first"]


def test_control_characters_are_escaped_and_take_their_columns():
    lines = attention_map(np.eye(2), ["a", "b"], ["\x1b[2J", "\u202e"]).splitlines()
    assert lines == ["        a b", r"\x1b[2J ██", r"\u202e    ██"]
    assert attention_map(np.eye(1), ["\x9b"], ["a"]).splitlines() == ["  \\", "  x", "  9", "  b", "a ██"]


def test_letters_of_two_columns_and_accents_of_none_stay_aligned():
    lines = attention_map(np.eye(3), ["日", "本", "b"], ["日本", "e\u0301t", "a"], width=11).splitlines()
    assert lines[:2] == ["     日本b", "日本 ██"]
    assert lines[2:] == ["e\u0301t     ██", "a        ██"]


def test_a_terminal_without_the_shades_shows_others():
    shown = attention_map(np.array([[0.1, 0.3, 0.5, 0.7]]), list("abcd"), ["é"]).encode("ascii", PLAIN).decode()
    assert shown == "  a b c d\n? ..::++##"
    assert LEGEND.encode("ascii", PLAIN) == b"blank below 0.1, . from 0.1, : from 0.3, + from 0.5, # from 0.7"
    with pytest.raises(UnicodeDecodeError):
        b"\xff".decode("ascii", PLAIN)


def test_words_stand_upright_over_their_columns():
    lines = attention_map(np.eye(3), ["I", "am", "a" * 30], ["je", "suis", "."]).splitlines()
    assert lines[:2] == ["         a", "         a"]
    assert lines[14:] == ["       a a", "     I m …", "je   ██", "suis   ██", ".        ██"]


def test_labels_that_do_not_fit():
    with pytest.raises(ValueError, match=r"^attention: expected a row per output label .*\(1, 2\), got \(2, 2\)$"):
        attention_map(np.eye(2), ["a", "b"], ["a"])


def test_an_exponential_is_a_straight_line_down_from_the_top_left():
    lines = curves_chart(
        {"fall": 10.0 ** -np.arange(8), "stay": np.full(8, 1.0)}, "distance", width=40, height=8
    ).splitlines()
    rows = [line.split("│")[1] for line in lines[:8]]
    assert [row.strip()[:1] for row in rows] == ["●"] * 8
    starts = [row.index("●") for row in rows]
    assert starts == sorted(starts)
    assert set(rows[0]) == {"●", "○"}  # the first curve is on top where they meet
    assert lines[0].startswith(" 1e0 │●")
    assert lines[6].startswith("1e-6 │")
    assert lines[-1].split() == ["distance", "●", "fall", "○", "stay"]


@pytest.mark.parametrize("length", [1, 2, 50, 500])
@pytest.mark.parametrize("width", [20, 80, 120])
def test_a_chart_fits_its_terminal(length, width):
    picture = curves_chart({"a": np.linspace(1e-30, 1, length)}, "d", width=width)
    assert all(len(line) <= width for line in picture.splitlines())
    assert "●" in picture


def test_what_has_no_logarithm_is_left_out():
    picture = curves_chart({"a": np.array([1.0, 0.0, np.nan, np.inf, 10.0])}, "d")
    assert picture.splitlines()[0].startswith("1e1 │")
    assert curves_chart({"a": np.zeros(3)}, "d") == "nothing above 0 to show"


@pytest.mark.parametrize(
    "curves", [{}, {"a": np.ones(0)}, {"a": np.ones(2), "b": np.ones(3)}, {str(n): np.ones(2) for n in range(7)}]
)
def test_curves_that_do_not_fit_together(curves):
    with pytest.raises(ValueError, match="^curves: expected 1 to 6 of equal length, got lengths "):
        curves_chart(curves, "d")
