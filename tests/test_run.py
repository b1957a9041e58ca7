import re

import numpy as np
import pytest

import numpy_attention as na
from numpy_attention import TrainConfig, load_run, plot_attention, train

SMALL = {"length": 3, "symbols": 4, "hidden_size": 12, "steps": 5}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return train(TrainConfig("reverse", **SMALL, out=tmp_path_factory.mktemp("run")), None)


def test_a_run_translates_words(run):
    found = run.translate("a b c d")
    assert found.source == ["a", "b", "c", "d"]
    assert str(found) == found.text == " ".join(found.words)
    assert found.attention.shape == (len(found.rows), 4)
    assert found.unknown == []
    assert run.translate(["a", "b"]).source == ["a", "b"]
    tokens = run.source_vocabulary.encode(["a", "b", "c", "d"])
    (plain,) = run.model.translate(run.params, [tokens])
    assert (plain.tokens, plain.score, plain.finished) == (found.tokens, found.score, found.finished)


def test_a_beam_gives_several_outputs_best_first(run):
    found = run.translate("a b c", beam_size=3, n_best=3)
    assert len({each.text for each in found}) == 3
    ranks = [each.score / (len(each.tokens) + each.finished) for each in found]
    assert ranks == sorted(ranks, reverse=True)
    assert len(run.translate("a b c", max_length=1).tokens) <= 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a x", "words: expected some of the vocabulary's 4 words, such as 'a', 'b', 'c', got 'x'"),
        ("  ", "text: expected at least one word, got none"),
        ([], "text: expected at least one word, got none"),
        (None, "text: expected a string or a list of strings, got None"),
        ([3, 4], "text: expected a string or a list of strings, got [3, 4]"),
    ],
)
def test_a_text_that_cannot_be_read(run, text, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        run.translate(text)


def test_a_notebook_shows_the_attention(run):
    found = run.translate("a b c")
    html = found._repr_html_()
    assert html.count("<td") == found.attention.size
    assert html.count("<th") == 1 + 3 + len(found.rows)


def test_a_figure_of_the_attention_has_its_words(run):
    found = run.translate("a b c")
    axes = plot_attention(found).axes[0]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["a", "b", "c"]
    assert [label.get_text() for label in axes.get_yticklabels()] == found.rows


def test_a_model_without_attention_translates_and_has_none_to_show(tmp_path):
    run = train(TrainConfig("copy", **SMALL, alignment="none", out=tmp_path), None)
    found = run.translate("a b")
    assert found.attention is None
    assert found._repr_html_() == f"<p>{found.text}</p>"
    with pytest.raises(ValueError, match="^translation: expected one of a model with attention, this one has none$"):
        plot_attention(found)


def test_characters_and_unknown_ones(tmp_path):
    path = tmp_path / "pairs.tsv"
    path.write_text("".join(f"{word}\t{word[::-1]}\n" for word in ("ab", "ba", "aab", "bab", "abb", "bba")), "utf-8")
    config = TrainConfig(str(path), tokens="characters", hidden_size=8, steps=2, held_out=0.3, out=tmp_path / "run")
    run = train(config, None)
    found = run.translate("ab a<c")
    assert found.source == list("ab a<c")
    assert found.unknown == [" ", "<", "c"]
    assert found.text == "".join(found.words)
    assert "&lt;" in found._repr_html_()
    assert load_run(tmp_path / "run").translate("ab").tokens == run.translate("ab").tokens


def test_a_run_and_its_translations_print_as_one_line(run):
    accuracy = f"{100 * run.evaluation.sequence_accuracy:.1f} %"
    assert repr(run) == f"Run({str(run.folder)!r}: step 5 of 5, sequence accuracy {accuracy})"
    found = run.translate("a b c")
    assert repr(found) == f"WordTranslation({found.text!r}, score={found.score:.4f}, finished={found.finished})"


def test_a_run_is_evaluated_on_pairs_and_on_a_file_of_them(run, tmp_path):
    held_out = run.config.data().held_out
    found = run.evaluate(held_out)
    assert found.sequence_accuracy == run.evaluation.sequence_accuracy
    np.testing.assert_allclose(found.loss, run.evaluation.loss)
    path = tmp_path / "pairs.tsv"
    decode = run.source_vocabulary.decode
    lines = [f"{' '.join(decode(each))}\t{' '.join(decode(other))}\n" for each, other in zip(*held_out, strict=True)]
    path.write_text("".join(lines), encoding="utf-8")
    assert run.evaluate(path) == run.evaluate(str(path)) == found
    with pytest.raises(ValueError, match=r"^pairs: expected \(sources, targets\), got None$"):
        run.evaluate(None)


def test_outputs_that_cannot_be_counted(run):
    with pytest.raises(ValueError, match="^n_best: expected a whole number of at least 1, got 0$"):
        run.translate("a b", n_best=0)
    with pytest.raises(ValueError, match=r"^n_best: expected at most beam_size \(1\), got 2$"):
        run.translate("a b", n_best=2)


def test_what_is_no_translation_to_draw():
    with pytest.raises(ValueError, match="^translation: expected what Run.translate returns, got None$"):
        plot_attention(None)


def test_what_is_no_folder():
    with pytest.raises(ValueError, match="^folder: expected a path, got 5$"):
        load_run(5)


def test_the_parameters_of_a_run_are_its_own(run):
    back = load_run(run.folder)
    assert back.evaluation == run.evaluation
    assert (back.step, back.over, back.test) == (5, True, run.test)
    for name, value in run.params.items():
        np.testing.assert_array_equal(back.params[name], value)


@pytest.fixture(scope="module")
def several(tmp_path_factory):
    folder = tmp_path_factory.mktemp("several")
    plain = {"length": 3, "symbols": 5, "hidden_size": 8, "steps": 10}
    na.train(na.TrainConfig("copy", **plain, out=folder / "one"), progress=None)
    na.train(na.TrainConfig("copy", **plain, cell="gru", alignment="none", out=folder / "two"), progress=None)
    na.train(na.TrainConfig("copy", **plain | {"symbols": 6}, out=folder / "other"), progress=None)
    pairs = folder / "pairs.tsv"
    pairs.write_text("ab\tba\nbc\tcb\nac\tca\nba\tab\n" * 3)
    na.train(
        na.TrainConfig(str(pairs), tokens="characters", hidden_size=8, steps=10, out=folder / "letters"), progress=None
    )
    return folder


def test_several_runs_write_together(several):
    runs = na.load_runs([several / "one", several / "two"])
    assert repr(runs).startswith("Runs(Run(")
    assert (runs.tokens, runs.has_attention, runs.lengths) == ("words", True, (3, 3))
    found = runs.translate("a b c", beam_size=2, n_best=2)
    assert len(found) == 2
    assert found[0].attention.shape[1] == 3
    assert runs.evaluate(([[3, 4, 5]], [[3, 4, 5]])).loss > 0
    assert not na.load_runs([several / "two", several / "two"]).has_attention


def test_one_run_is_itself(several):
    run = na.load_runs([several / "one"])
    assert isinstance(run, na.Run)
    twice = na.load_runs([several / "one", several / "one"]).translate("a b c")
    alone = run.translate("a b c")
    assert (twice.text, twice.score) == (alone.text, pytest.approx(alone.score, rel=1e-12))


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ([], r"^folders: expected at least one folder in a list, got \[\]$"),
        (["one", "other"], "^runs: expected one source vocabulary, .*other' has other words than .*one'$"),
        (["one", "letters"], "^runs: expected texts split alike, .*letters' reads characters, .*one' words$"),
        (["one", "gone"], "^run: expected the folder of a run, there is no .*gone"),
    ],
)
def test_runs_that_cannot_write_together(several, names, message):
    with pytest.raises(ValueError, match=message):
        na.load_runs([several / name for name in names])


def test_folders_that_are_no_list():
    with pytest.raises(ValueError, match="^folders: expected at least one folder in a list, got 'runs/copy'$"):
        na.load_runs("runs/copy")
