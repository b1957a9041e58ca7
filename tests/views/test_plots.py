import re
import subprocess
import sys
import warnings

import numpy as np
import pytest

from numpy_attention.views.plots import (
    COLOURS,
    DECADES,
    NEEDS,
    PICTURES,
    Map,
    plot_attention,
    plot_curves,
    plot_learning,
    plot_maps,
    save_figure,
)

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
    assert figure.axes[1].get_ylabel() == "attention weight"


def test_even_attention_does_not_look_like_a_strong_pattern():
    figure = plot_attention(np.full((2, 10), 0.1), list("abcdefghij"), ["x", "y"])
    assert figure.axes[0].images[0].get_clim() == (0, 1)


@pytest.mark.parametrize("word", ["$$", "$_$", r"$\frac$", "$x$", "\ud800", "\x1b[2J", "two\nlines", "a" * 1000])
def test_any_word_is_drawn_as_it_is(word, tmp_path):
    attention = plot_attention(np.eye(2), [word, "b"], [word, "b"], title=word)
    learning = plot_learning([1], {"held out": [1.0]}, {"tokens": [0.5]}, title=word)
    for number, figure in enumerate((attention, learning)):
        figure.savefig(tmp_path / f"{number}.png")
        assert not figure._suptitle.get_parse_math()
    for label in (attention.axes[0].get_xticklabels()[0], attention.axes[0].get_yticklabels()[0]):
        assert not label.get_parse_math()
        assert label.get_text().isprintable()
        assert len(label.get_text()) <= 24


@pytest.mark.parametrize("ending", PICTURES)
def test_a_picture_is_saved_as(ending, tmp_path):
    plot_attention(np.eye(2), ["a", "b"], ["a", "$$"], title="copy").savefig(tmp_path / f"picture{ending}")
    assert (tmp_path / f"picture{ending}").stat().st_size > 1000


def test_a_long_title_is_cut_to_three_lines_within_the_picture(tmp_path):
    for word in ("right ", "日本 "):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # whether there is a font is another matter
            figure = plot_attention(np.eye(2), ["a", "b"], ["a", "b"], title=100 * word)
        figure.savefig(tmp_path / "picture.png")
        assert figure._suptitle.get_text().count("\n") == 2
        assert figure._suptitle.get_text().endswith("…")
        box = figure._suptitle.get_window_extent()
        assert figure.bbox.x0 <= box.x0 < box.x1 <= figure.bbox.x1


def test_maps_have_their_own_scales_and_numbered_words_on_every_axis():
    norms = np.array([[1e-9, 1e-2, 0.0], [1.0, 2.0, 3.0]])
    maps = {
        "norm": Map(norms, "norm", log=True),
        "share": Map(WEIGHTS, "share"),
        "none": Map(0 * norms, "none", log=True),
    }
    figure = plot_maps(maps, list("abc"), ["x", "<eos>"])
    panels, bars = figure.axes[::2], figure.axes[1::2]
    assert [axes.get_title() for axes in panels] == list(maps)
    assert [axes.get_ylabel() for axes in bars] == ["norm", "share", "none"]
    assert panels[0].images[0].get_clim() == (3 / 10**DECADES, 3)
    assert panels[1].images[0].get_clim() == (0, 1)
    for axes in panels:
        assert [label.get_text() for label in axes.get_xticklabels()] == ["a\n1", "b\n2", "c\n3"]
        assert [label.get_text() for label in axes.get_yticklabels()] == ["x 1", "<eos> 2"]


def test_too_many_words_to_read_become_numbers():
    figure = plot_attention(np.eye(80), ["word"] * 80, ["word"] * 80)
    for axis in (figure.axes[0].xaxis, figure.axes[0].yaxis):
        assert [label.get_text() for label in axis.get_ticklabels()] == ["10", "20", "30", "40", "50", "60", "70", "80"]
        assert list(axis.get_ticklocs()) == list(range(9, 80, 10))


def test_curves_have_their_quartiles_as_a_band_and_one_legend_where_they_have_the_same_names():
    quartiles = np.array([[1.0, 2.0, 3.0], [2.0, 4.0, 6.0], [3.0, 6.0, 9.0]])
    curves = {"with attention": quartiles, "without attention": np.array([5.0, 4.0, 0.0])}
    figure = plot_curves({"left": curves, "right": curves}, "distance", "norm")
    left = figure.axes[0]
    np.testing.assert_array_equal(left.lines[0].get_ydata(), quartiles[1])
    np.testing.assert_array_equal(left.lines[1].get_ydata(), [5, 4, np.nan])  # what is not above 0 is left out
    assert len(left.collections) == 1
    assert [line.get_color() for line in left.lines] == [COLOURS["with attention"], COLOURS["without attention"]]
    assert len(figure.legends) == 1
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["with attention", "without attention"]


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


def test_four_panels_stand_in_two_rows_and_a_place_that_is_left_is_empty():
    curves = {"a": np.ones(3)}
    for count, across in ((1, 1), (3, 3), (4, 2), (5, 3)):
        figure = plot_curves({str(number): curves for number in range(count)}, "x", "y")
        assert len(figure.axes) == count
        last = count - across
        assert [axes.get_ylabel() for axes in figure.axes] == ["" if each % across else "y" for each in range(count)]
        assert [axes.get_xlabel() for axes in figure.axes] == ["x" if each >= last else "" for each in range(count)]


def test_the_legends_and_the_explanation_of_the_bands_cover_no_curve(tmp_path):
    bands = np.exp(np.random.default_rng(0).normal(size=(3, 30)).cumsum(axis=1))
    for panels in (
        {"": {"with attention": bands, "without attention": bands}},
        {"left": {"context": bands, "key": bands, "total": bands}, "right": {"entered by the bridge": bands}},
    ):
        figure = plot_curves(panels, "x", "y")
        figure.savefig(tmp_path / "figure.png")
        legends = figure.legends or [axes.get_legend() for axes in figure.axes]
        assert "quartile" in figure.get_supxlabel()
        for legend in legends:
            assert not any(legend.get_window_extent().overlaps(axes.get_window_extent()) for axes in figure.axes)
        assert len(legends) == len(panels)


def test_panels_may_have_vertical_axes_of_their_own():
    panels = {"flat": {"a": np.array([1.0, 0.5])}, "steep": {"a": np.array([1.0, 1e-20])}}
    shared, own = (plot_curves(panels, "x", "y", sharey=sharey).axes[0].get_ylim()[0] for sharey in (True, False))
    assert shared < 1e-19
    assert own > 0.1


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
        (lambda: plot_attention(WEIGHTS, ["a"], ["x", "y"]), r"^attention weight: expected a row per .*\(2, 1\), got \(2, 3\)$"),
        (lambda: plot_maps({}, [], []), "^maps: expected at least one matrix, got none$"),
        (lambda: plot_curves({}, "x", "y"), "^panels: expected at least one curve in each, got none$"),
        (lambda: plot_curves({"a": {}}, "x", "y"), "^panels: expected at least one curve in each, got none$"),
    ],
)  # fmt: skip
def test_what_cannot_be_drawn(draw, message):
    with pytest.raises(ValueError, match=message):
        draw()


def test_learning_curves_mark_the_best_evaluation_and_show_the_rate():
    losses, accuracies = {"held out": [1.0, 0.1]}, {"tokens": [0.5, 0.9]}
    figure = plot_learning([10, 20], losses, accuracies, rates=[1e-3, 1e-4], best=20, title="reverse")
    assert figure.get_suptitle() == "reverse"
    assert figure.axes[2].get_ylabel() == "learning rate"
    assert list(figure.axes[2].lines[0].get_ydata()) == [1e-3, 1e-4]
    for axes in figure.axes:
        assert list(axes.lines[-1].get_xdata()) == [20, 20]
    assert "best evaluation" in {text.get_text() for text in figure.axes[0].get_legend().get_texts()}


def test_without_matplotlib_one_line_says_how_to_install_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ModuleNotFoundError, match=f"^{re.escape(NEEDS)}$"):
        plot_attention(WEIGHTS, list("abc"), list("xy"))


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
