import re
import sys
from dataclasses import replace

import numpy as np
import pytest

import numpy_attention as na
from numpy_attention.data.vocabulary import SPECIAL, Vocabulary
from numpy_attention.explain.page import BYTES, MISTAKES, ROOM, SCRIPTS, WORDS, content, page, write_page
from numpy_attention.explain.shipped import shipped
from numpy_attention.verification.mutants import MUTANTS

SOURCE, TARGET = ["f", "e", "h", "a"], ["a", "h", "e", "f"]


def untrained(words=None, **settings):
    """A run of the shipped kind with other settings, or with words of one's own."""
    run = shipped().attention[0]
    vocabulary = run.source_vocabulary if words is None else Vocabulary((*SPECIAL, *words))
    model = replace(run.config, **settings).model(len(vocabulary), len(vocabulary))
    return replace(run, model=model, params=model.init(0), source_vocabulary=vocabulary, target_vocabulary=vocabulary)


@pytest.mark.slow
def test_the_shipped_model_fits_a_page_with_every_mistake_that_it_can_make():
    models = shipped()
    data = content(models.attention, SOURCE, TARGET, models.vanilla)
    assert [each["key"] for each in data["variants"]] == ["model", "off", "vanilla"]
    assert [[moment["updates"] for moment in moments] for moments in data["moments"]] == [[0, 50, 200, 500]] * 2
    assert [each["moments"] for each in data["variants"]] == [0, 0, 1]
    assert {each["name"] for each in data["mistakes"]} == set(MISTAKES)
    assert all(each["said"] for each in data["mistakes"])
    assert len(page(models.attention, SOURCE, TARGET, models.vanilla)) < BYTES / 2


def test_the_mistakes_are_ones_that_the_checker_knows():
    assert set(MISTAKES) <= {mutant.name for mutant in MUTANTS}


@pytest.mark.slow
@pytest.mark.parametrize("alignment", ["additive", "location", "stacked", "general", "dot", "none"])
@pytest.mark.parametrize("cell", ["tanh", "gru", "lstm"])
def test_every_kind_of_model_has_a_page(alignment, cell, tmp_path):
    run = untrained(alignment=alignment, cell=cell, bidirectional=alignment == "general")
    write_page(tmp_path / "page.html", {0: run}, SOURCE, TARGET)
    text = (tmp_path / "page.html").read_text("utf-8")
    assert text.startswith("<!doctype html>")
    assert not re.search("@[A-Z]+@", text)


def test_lines_of_scripts_and_styles_are_no_longer_than_those_of_python():
    files = [*ROOM.glob("*.js"), *ROOM.glob("*.css"), *ROOM.glob("*.html"), *(ROOM.parent / "trace").glob("*.js")]
    assert len(files) == len(SCRIPTS) + 3
    lines = {
        f"{file.name}: {line}" for file in files for line in file.read_text("utf-8").splitlines() if len(line) > 120
    }
    assert lines == set()


def test_nothing_on_the_page_is_loaded_from_elsewhere():
    text = page({0: untrained(alignment="none")}, SOURCE, TARGET)
    outside = re.sub(r'<script id="data".*?</script>', "", text, flags=re.DOTALL)
    assert re.findall(r"(?:src|href)=.[^\"']*", outside) == ['href="data:,']
    addresses = set(re.findall(r"https?://[^\"'\s]+", outside))
    assert addresses == {"http://www.w3.org/2000/svg"}  # a name, which nothing loads
    assert "@import" not in outside
    assert "fetch(" not in outside


def test_words_with_markup_are_data_and_nothing_else():
    words = ["<script>alert(1)</script>", '"quoted"', "'", "&amp;", "@DATA@", "</title>", "\x1b[31m"]
    run = untrained(words, alignment="none")
    text = page({0: run}, words, words[::-1])
    assert "alert(1)</script>" not in text
    assert text.count("</title>") == 1
    assert "\x1b" not in text
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in text


@pytest.mark.parametrize(
    ("source", "target", "settings", "said"),
    [
        (["a"] * (WORDS + 1), ["a"], {}, "source: expected 1 to 24 words, as many as a page has columns for, got 25"),
        (["a"], ["a"] * (WORDS + 1), {}, "target: expected 1 to 24 words"),
        (
            ["a"],
            ["a"],
            {"hidden_size": 500},
            "model: expected states of at most 128 entries, .* got 500; without --out",
        ),
        (["nothing"], ["a"], {}, "words: expected some of the vocabulary's 8 words"),
    ],
)
def test_what_does_not_fit_a_page_is_one_line(tmp_path, source, target, settings, said):
    with pytest.raises(ValueError, match=said):
        write_page(tmp_path / "page.html", {0: untrained(**settings)}, source, target)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_a_model_whose_page_is_too_large_is_refused(tmp_path):
    words = [f"w{k}" for k in range(4000)]
    run = untrained(words, alignment="none", hidden_size=100)
    rng = np.random.default_rng(0)
    run = replace(run, params={name: rng.standard_normal(value.shape) for name, value in run.params.items()})
    with pytest.raises(ValueError, match="model: expected one whose page takes at most 1,000,000 bytes, got"):
        write_page(tmp_path / "page.html", {0: run}, words[:2], words[:2])
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_not_there_is_one_line(tmp_path):
    with pytest.raises(OSError, match=r"absent"):
        write_page(tmp_path / "absent" / "page.html", {0: untrained(alignment="none")}, ["a"], ["b"])


def test_a_notebook_shows_the_page_or_where_it_does_not_fit_the_walk(monkeypatch):
    told = na.explain(text="a b")
    monkeypatch.setattr(
        sys.modules[write_page.__module__], "page", lambda *arguments: f"<p>{len(arguments[0])} moments</p>"
    )
    assert "&lt;p&gt;4 moments&lt;/p&gt;" in told._repr_html_()
    assert "&lt;p&gt;1 moments" in na.explain(untrained(alignment="dot"), "a b")._repr_html_()
    monkeypatch.undo()
    long = na.explain(untrained(alignment="dot"), "a " * (WORDS + 1))._repr_html_()
    assert long.startswith("<p>source: expected 1 to 24 words")
    assert "<pre>source  a a a" in long
