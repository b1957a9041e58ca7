import dataclasses

import pytest
from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen
from matplotlib import font_manager

from numpy_attention.views import fonts
from numpy_attention.views.fonts import BOX, lettering
from numpy_attention.views.plots import plot_attention


@pytest.fixture
def make_font(tmp_path, monkeypatch):
    """Make a font whose letters are squares, and some of them blank."""
    monkeypatch.setattr(font_manager.fontManager, "ttflist", list(font_manager.fontManager.ttflist))
    monkeypatch.setattr(fonts, "_choose", fonts._choose.__wrapped__)  # fonts come and go here

    def make(family, letters, blank=""):
        pen, nothing = TTGlyphPen(None), TTGlyphPen(None).glyph()
        pen.moveTo((0, 0))
        for point in ((0, 700), (700, 700), (700, 0)):
            pen.lineTo(point)
        pen.closePath()
        names = [".notdef", *(f"u{ord(letter):X}" for letter in letters + blank)]
        builder = FontBuilder(1000)
        builder.setupGlyphOrder(names)
        builder.setupCharacterMap(dict(zip(map(ord, letters + blank), names[1:], strict=True)))
        builder.setupGlyf({name: nothing for name in names} | dict.fromkeys(names[1 : len(letters) + 1], pen.glyph()))
        builder.setupHorizontalMetrics({name: (800, 0) for name in names})
        builder.setupHorizontalHeader(ascent=800, descent=-200)
        builder.setupNameTable({"familyName": family, "styleName": "Regular"})
        builder.setupOS2()
        builder.setupPost()
        builder.save(tmp_path / f"{family}.ttf")
        return str(tmp_path / f"{family}.ttf")

    return make


def only(monkeypatch, *files):
    """Leave the machine no other fonts than those of matplotlib and these, and one that was removed since."""
    monkeypatch.setattr(font_manager, "findSystemFonts", lambda: list(files))
    bundled = [entry for entry in font_manager.fontManager.ttflist if "mpl-data" in entry.fname]
    gone = dataclasses.replace(bundled[0], fname="gone.ttf", name="Gone")
    monkeypatch.setattr(font_manager.fontManager, "ttflist", [*bundled, gone])


def test_letters_that_the_usual_font_lacks_are_drawn_with_fonts_that_have_them(make_font, monkeypatch, tmp_path):
    only(monkeypatch, make_font("Kana", "かな"), make_font("Kana Sans", "かな"), make_font("Hangul", "한"), __file__)
    assert lettering(["cafe"])[1] == ["sans-serif"]
    figure = plot_attention([[1, 0]], ["かな", "cafe"], ["한"], title="な")
    labels = figure.axes[0].get_xticklabels() + figure.axes[0].get_yticklabels() + [figure._suptitle]
    assert [label.get_text() for label in labels] == ["かな", "cafe", "한", "な"]
    assert all(label.get_fontfamily() == ["sans-serif", "Kana Sans", "Hangul"] for label in labels)
    for ending in ("png", "svg", "pdf"):
        figure.savefig(tmp_path / f"picture.{ending}")  # matplotlib warns of letters that it does not find


def test_a_font_of_the_machine_is_used():
    assert lettering(["Ⓐ"])[1][1:]  # one that matplotlib brings along has it, its usual one has not


def test_letters_without_a_font_are_boxes_and_one_warning_says_where_to_get_them(make_font, monkeypatch, tmp_path):
    only(monkeypatch, make_font("Blank Sans", "x", blank="か"))
    words = ["日本語", "かな", "한국", "मन", "\U0001f980"]
    with pytest.warns(UserWarning, match="^drawn as boxes") as caught:
        figure = plot_attention([[0.2] * 5], words, ["a"])
    figure.savefig(tmp_path / "picture.png")
    assert [str(each.message) for each in caught] == [
        "drawn as boxes, as no installed font has them: Devanagari न म (Debian: fonts-noto-core), "
        "Hiragana か な (Debian: fonts-noto-cjk), CJK 日 本 語 (Debian: fonts-noto-cjk), "
        "Hangul 국 한 (Debian: fonts-noto-cjk), symbols \U0001f980 (Debian: fonts-symbola)"
    ]
    assert caught[0].filename == __file__
    assert [label.get_text() for label in figure.axes[0].get_xticklabels()] == [BOX * len(word) for word in words]
