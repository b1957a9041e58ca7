import subprocess
import sys

import numpy as np
import pytest

from numpy_attention.views.plots import COLOURS, plot_attention, plot_curves, plot_maps, save_figure

WEIGHTS = np.array([[0.1, 0.9, 0.0], [0.5, 0.3, 0.2]])


def test_attention_is_drawn_source_across_output_down_with_its_words():
    figure = plot_attention(WEIGHTS, ["the", "green", "house"], ["la", "<eos>"])
    axes = figure.axes[0]
    np.testing.assert_array_equal(axes.images[0].get_array(), WEIGHTS)
    assert [label.get_text() for label in axes.get_xticklabels()] == ["the", "green", "house"]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["la", "<eos>"]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("source", "output")
    top, bottom = axes.get_ylim()[::-1]
    assert top < bottom  # the first output word is at the top


def test_maps_share_their_axes_and_have_scales_of_their_own():
    figure = plot_maps({"norm": 100 * WEIGHTS, "weight": WEIGHTS, "none": 0 * WEIGHTS}, list("abc"), list("xy"))
    images = [axes.images[0] for axes in figure.axes[:3]]
    assert [image.get_clim() for image in images] == [(0, 90), (0, 0.9), (0, 1)]
    assert [axes.get_title() for axes in figure.axes[:3]] == ["norm", "weight", "none"]


def test_too_many_words_to_read_become_numbers():
    figure = plot_attention(np.eye(80), ["word"] * 80, ["word"] * 80)
    assert "word" not in {label.get_text() for label in figure.axes[0].get_xticklabels()}


def test_curves_have_their_quartiles_as_a_band_and_one_legend_where_they_have_the_same_names():
    quartiles = np.array([[1.0, 2.0, 3.0], [2.0, 4.0, 6.0], [3.0, 6.0, 9.0]])
    curves = {"attention": quartiles, "vanilla": np.array([5.0, 4.0, 0.0])}
    figure = plot_curves({"left": curves, "right": curves}, "distance", "norm")
    left = figure.axes[0]
    np.testing.assert_array_equal(left.lines[0].get_ydata(), quartiles[1])
    np.testing.assert_array_equal(left.lines[1].get_ydata(), [5, 4, np.nan])  # what is not above 0 is left out
    assert len(left.collections) == 1
    assert [line.get_color() for line in left.lines] == [COLOURS["attention"], COLOURS["vanilla"]]
    assert len(figure.legends) == 1
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["attention", "vanilla"]


def test_panels_with_different_curves_have_legends_of_their_own_and_a_series_a_scale_of_colours():
    curve = np.arange(3.0)
    figure = plot_curves(
        {"a": {"radius 1": curve, "radius 2": curve}, "b": {"1 / T": curve}}, "x", "y", x=np.array([1, 10, 100]),
        log=False, log_x=True, guides=["1 / T"],
    )  # fmt: skip
    assert not figure.legends
    assert all(axes.get_legend() is not None for axes in figure.axes)
    first, second = figure.axes[0].lines
    assert tuple(first.get_color()) != tuple(second.get_color())
    assert figure.axes[1].lines[0].get_linestyle() == "--"
    assert figure.axes[0].get_xscale() == "log"
    assert figure.axes[0].get_yscale() == "linear"


def test_a_partner_is_dashed_in_the_colour_of_another_curve():
    figure = plot_curves(
        {"": {"a": np.ones(3), "b": np.ones(3), "part of a": np.ones(3)}}, "x", "y", partners={"part of a": "a"}
    )
    first, second, part = figure.axes[0].lines
    assert tuple(part.get_color()) == tuple(first.get_color()) != tuple(second.get_color())
    assert [line.get_linestyle() for line in (first, second, part)] == ["-", "-", "--"]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["a", "b"]


def test_four_panels_stand_in_two_rows_and_one_that_is_left_empty_is_not_shown():
    curves = {"a": np.ones(3)}
    for count, down, across in ((1, 1, 1), (3, 1, 3), (4, 2, 2), (5, 2, 3)):
        figure = plot_curves({str(number): curves for number in range(count)}, "x", "y")
        assert len(figure.axes) == down * across
        assert [axes.get_visible() for axes in figure.axes] == [True] * count + [False] * (down * across - count)
        assert [axes.get_ylabel() for axes in figure.axes] == (["y"] + [""] * (across - 1)) * down


def test_a_name_has_one_colour_in_all_panels_and_the_fullest_makes_the_legend():
    line = np.ones(3)
    figure = plot_curves({"left": {"b": line}, "right": {"a": line, "b": line}}, "x", "y")
    left, right = (
        dict(zip((text.get_label() for text in axes.lines), axes.lines, strict=True)) for axes in figure.axes
    )
    assert tuple(left["b"].get_color()) == tuple(right["b"].get_color())
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["a", "b"]


def test_a_single_value_is_drawn_as_a_point():
    figure = plot_curves({"": {"bridge": np.array([0.0] * 30 + [1.0])}}, "x", "y")
    assert figure.axes[0].lines[0].get_marker() == "o"
    figure = plot_curves({"": {"total": np.ones(30)}}, "x", "y")
    assert figure.axes[0].lines[0].get_marker() == "None"


def test_saved_as_png_and_svg_the_same_bytes_every_time(tmp_path):
    contents = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        files = save_figure(plot_attention(WEIGHTS, list("abc"), list("xy")), tmp_path / name / "map")
        assert [file.name for file in files] == ["map.png", "map.svg"]
        contents.append([file.read_bytes() for file in files])
    assert contents[0] == contents[1]
    assert contents[0][0].startswith(b"\x89PNG")
    assert b"<svg" in contents[0][1]
    assert b">source<" in contents[0][1]  # text stays text


@pytest.mark.parametrize(
    ("draw", "message"),
    [
        (lambda: plot_attention(WEIGHTS, ["a"], ["x", "y"]), r"^attention weights: expected a row per .*\(2, 1\), got \(2, 3\)$"),
        (lambda: plot_maps({}, [], []), "^maps: expected at least one matrix, got none$"),
        (lambda: plot_curves({}, "x", "y"), "^panels: expected at least one curve in each, got none$"),
        (lambda: plot_curves({"a": {}}, "x", "y"), "^panels: expected at least one curve in each, got none$"),
    ],
)  # fmt: skip
def test_what_cannot_be_drawn(draw, message):
    with pytest.raises(ValueError, match=message):
        draw()


@pytest.mark.slow
def test_matplotlib_is_imported_when_something_is_drawn_and_never_its_global_state():
    program = """
import sys
import numpy as np
from numpy_attention.views import plots, terminal
assert not any(name.startswith("matplotlib") for name in sys.modules)
plots.plot_attention(np.eye(2), ["a", "b"], ["a", "b"])
assert "matplotlib" in sys.modules
assert "matplotlib.pyplot" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", program], check=True)
