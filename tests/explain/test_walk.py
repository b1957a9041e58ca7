from dataclasses import replace

import numpy as np
import pytest

import numpy_attention as na
from numpy_attention.data.vocabulary import SPECIAL, Vocabulary
from numpy_attention.explain.sentence import find_sentence, run_or_text
from numpy_attention.explain.shipped import shipped
from numpy_attention.explain.stages import stages
from numpy_attention.explain.walk import NUMBERS, Explanation
from numpy_attention.ops.attention import ALIGNMENTS
from numpy_attention.ops.cells import CELLS
from numpy_attention.views.terminal import columns


def run_of(**settings):
    """An untrained run like the one that comes with the package."""
    run = shipped().attention[0]
    config = replace(run.config, **settings)
    model = config.model(len(run.source_vocabulary), len(run.target_vocabulary))
    return replace(run, config=config, model=model, params=model.init(seed=0))


def widest(text):
    return max(map(columns, text.splitlines()))


@pytest.mark.parametrize("alignment", ALIGNMENTS)
@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("bidirectional", [False, True])
def test_every_kind_of_model_is_told_stage_by_stage_in_80_columns(alignment, cell, bidirectional):
    run = run_of(alignment=alignment, cell=cell, bidirectional=bidirectional)
    text = str(na.explain(run, "a b c d", step=2))
    lines = text.splitlines()
    titles = [lines.index(stage.title) for stage in stages(run.model)]
    assert titles == sorted(titles)
    assert {stage.key for stage in stages(run.model)} <= set(NUMBERS)
    assert widest(text) <= 80
    assert ("Attention weights" in lines) == (alignment != "none")
    assert ("without attention there are no keys" in text) == (alignment == "none")


def test_an_alignment_and_a_cell_of_ones_own_are_told_as_well(monkeypatch):
    monkeypatch.setitem(ALIGNMENTS, "mine", ALIGNMENTS["general"])
    monkeypatch.setitem(CELLS, "own", CELLS["tanh"])
    text = str(na.explain(run_of(alignment="mine", cell="own"), "a b"))
    assert "e_{1,t} = score of s_0 against h_t" in text
    assert "s_1 = cell(y_0 W + b + c_1 C, s_0)" in text


def test_numbers_stand_below_their_equation_with_the_step_in_it():
    told = na.explain(step=2)
    lines = str(told).splitlines()
    at = lines.index("    alpha_{2,t} = exp(e_{2,t}) / sum_k exp(e_{2,k})")
    rows = [line.split() for line in lines[at:] if "█" in line or line.strip()[:1].isdigit()][:6]
    assert [row[1] for row in rows] == told.sentence.source.words
    assert [row[2] for row in rows] == [f"{alpha:.4f}" for alpha in told.step.look.alpha]
    assert rows[4][3] == "█" * 12  # it looks at c, the word that it writes
    assert lines[0] == "source  f e h a c d"
    assert lines[1] == "target  d c a h e f <eos> (the right answer of its task)"


def test_a_stage_can_be_printed_alone():
    told = na.explain(step=2)
    assert "\n\n".join(told.stage(stage.key) for stage in stages(told.sentence.run.model) if stage.backward) in str(
        told
    )
    with pytest.raises(ValueError, match=r"^key: expected one of h, s_0, s, logits, loss, .*, got 'alpha'$"):
        na.explain(run_of(alignment="none")).stage("alpha")


def test_the_shares_of_the_paths_are_those_of_the_superhighway():
    told = na.explain()
    run = told.sentence.run
    paths = na.gradient_paths(run.model, {k: v.astype(float) for k, v in run.params.items()}, told.sentence.batch)
    row = str(told).splitlines()[-7].split()
    shown = [float(number) for number in row[2:7]]
    norms = [np.linalg.norm(getattr(paths, name)[0, 0]) for name in ("context", "key", "bridge", "recurrent", "total")]
    np.testing.assert_allclose(shown, norms, rtol=5e-3)
    bar = row[7]
    assert [bar.count(shade) for shade in "█▓▒░"] == [4, 3, 0, 5]


def test_words_are_escaped_and_wide_letters_keep_the_columns():
    run = shipped().attention[500]
    words = (*SPECIAL, "\x1b[31mred\x1b[0m", "[bold]", "長い言葉はここにあります", "<script>", "e", "f", "g", "h")
    vocabulary = Vocabulary(words)
    run = replace(run, source_vocabulary=vocabulary, target_vocabulary=vocabulary)
    told = na.explain(run, words[3:7], target=words[6:2:-1], step=1)
    assert "\x1b" not in str(told) + repr(told)
    assert "\\x1b[31mred" in str(told)
    assert widest(str(told)) <= 80


def test_many_long_words_take_several_lines():
    run = shipped().attention[500]
    told = na.explain(run, ["a"] * 100, target="", step=1)
    assert widest(str(told)) <= 80
    assert repr(told).endswith(" a a a' -> '<eos>', step 1 of 1)")
    assert len(repr(told)) < 130


def test_the_target_is_the_right_answer_or_the_models_own_output_or_given(tmp_path):
    assert find_sentence(text="a b c").target.words == ["c", "b", "a"]
    given = find_sentence(text="a b c", target="a a")
    assert (given.target.words, given.origin, given.written) == (["a", "a"], "as given", ["a", "a", "<eos>"])
    run = shipped().attention[500]
    strange = replace(run, config=replace(run.config, task=str(tmp_path / "gone.tsv"), length=(3, 10), symbols=10))
    found = find_sentence(strange, "a b c")
    assert found.origin == "the model's own output: no right answer is known"
    assert found.target.words == strange.translate("a b c").words
    assert f"({found.origin})" in str(Explanation(found))
    with pytest.raises(ValueError, match=r"^text: expected one, got none, and the run's own data are not there \("):
        find_sentence(strange)


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    """A run on a file of pairs, whose vocabularies have <unk>."""
    folder = tmp_path_factory.mktemp("pairs")
    lines = [f"{one} {two}\t{two} {one}".lower() for one in "ABCDEFG" for two in "ABCDEFG"]
    (folder / "pairs.tsv").write_text("\n".join(lines), encoding="utf-8")
    config = na.TrainConfig(str(folder / "pairs.tsv"), hidden_size=8, embedding_size=4, alignment_size=4, steps=2)
    return na.train(replace(config, out=folder / "run"), None)


def test_a_run_on_a_file_brings_a_text_and_knows_the_targets_of_its_pairs(pairs):
    first = find_sentence(pairs.folder)
    assert first.source.words == first.target.words[::-1]
    assert first.origin == "the right answer of its data"
    assert find_sentence(pairs, "a b").target.words == ["b", "a"]
    assert find_sentence(pairs, "a b c").origin.startswith("the model's own output")


def test_unknown_words_are_named(pairs):
    told = na.explain(pairs, "a zebra", target="b")
    assert "unknown zebra (read as <unk>)" in str(told)
    assert find_sentence(pairs, "a zebra").origin.startswith("the model's own output")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"run": "nowhere"}, "run: expected the folder of a run, there is no nowhere/checkpoint.npz"),
        ({"run": 3}, "folder: expected a path, got 3"),
        ({"text": " "}, "text: expected at least one word, got none"),
        ({"text": 3}, "text: expected a string or a list of strings, got 3"),
        ({"text": "a q"}, "text: expected some of the vocabulary's 8 words, such as 'a', 'b', 'c', got 'q'"),
        ({"text": "abc"}, "text: expected some of .*, got 'abc'; separate words by spaces"),
        ({"text": ["a"] * 101}, "text: expected at most 100 words, more make no readable table, got 101"),
        ({"target": "q"}, "target: expected some of the vocabulary's 8 words, such as 'a', 'b', 'c', got 'q'"),
        ({"target": ["a"] * 101}, "target: expected at most 100 words, more make no readable table, got 101"),
        ({"text": "a b", "step": 4}, "step: expected a whole number of at most 3, got 4"),
        ({"step": 0}, "step: expected a whole number of at least 1, got 0"),
        ({"step": "1"}, "step: expected a whole number of at least 1, got '1'"),
        ({"out": "nowhere/page.html"}, "out: expected a file that ends in .html, in a folder that exists, got nowhere"),
        ({"out": "page.txt"}, "out: expected a file that ends in .html, in a folder that exists, got page.txt"),
        ({"out": 3}, "out: expected a path, got 3"),
    ],
)
def test_bad_arguments_are_one_line(arguments, message):
    with pytest.raises(ValueError, match=f"^{message}") as caught:
        na.explain(**arguments)
    assert "\n" not in str(caught.value)


def test_one_argument_is_a_run_if_there_is_such_a_path_and_otherwise_may_be_a_text(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a").mkdir()
    assert run_or_text("a", None) == ((tmp_path / "a").relative_to(tmp_path), None)
    assert run_or_text("b", None) == (None, "b")
    assert run_or_text("a q", None) == (None, "a q")
    assert run_or_text("", None) == (None, "")
    assert str(run_or_text("runs/typo", None)[0]) == "runs/typo"
    assert run_or_text(None, None) == (None, None)


def test_an_explanation_is_one_line_and_public():
    told = na.explain(text="a b c", step=2)
    assert isinstance(told, na.Explanation)
    assert repr(told) == "Explanation('a b c' -> 'c b a <eos>', step 2 of 4)"
    with pytest.raises(ValueError, match="step"):
        Explanation(told.sentence, 9)
