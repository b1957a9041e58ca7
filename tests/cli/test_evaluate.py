import json

import pytest

import numpy_attention as na
from numpy_attention.cli import evaluate, main
from numpy_attention.cli.evaluate import bleu, word_error_rate
from numpy_attention.training.evaluation import judge


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    small = {"length": 3, "symbols": 5, "hidden_size": 16, "steps": 10}
    na.train(na.TrainConfig("copy", **small, out=folder / "one"), progress=None)
    na.train(na.TrainConfig("copy", **small, seed=1, cell="lstm", out=folder / "two"), progress=None)
    na.train(na.TrainConfig("copy", **small | {"symbols": 6}, out=folder / "other"), progress=None)
    (folder / "pairs.tsv").write_text("a b c\ta b c\nb b\tb b\n")
    (folder / "letters.tsv").write_text("ab cd\tdc ba\nba dc\tcd ab\nac bd\tdb ca\n" * 4)
    na.train(
        na.TrainConfig(
            str(folder / "letters.tsv"), tokens="characters", hidden_size=16, steps=10, out=folder / "letters"
        ),
        progress=None,
    )
    return folder


def figures(runs, *names, file="pairs.tsv"):
    arguments = [str(runs / name) for name in (*names, file)]
    assert main(["evaluate", *arguments, "--json", str(runs / "out.json")]) == 0
    return json.loads((runs / "out.json").read_text())


def test_runs_together_are_one_model(runs, capsys):
    one, twice = figures(runs, "one"), figures(runs, "one", "one")
    assert twice["perplexity"] == pytest.approx(one["perplexity"], rel=1e-9)
    assert {**twice, "perplexity": 0} == {**one, "perplexity": 0}
    assert figures(runs, "one", "two")["perplexity"] != pytest.approx(one["perplexity"], rel=1e-3)


def test_an_error_rate_has_one_name(runs, capsys):
    words = figures(runs, "one")
    out = capsys.readouterr().out
    assert "word error rate" in out
    assert "char. error rate" not in out
    assert words["word_error_rate"] == words["token_error_rate"]
    letters = figures(runs, "letters", file="letters.tsv")
    out = capsys.readouterr().out
    assert "word error rate" in out
    assert "char. error rate" in out
    assert letters["word_error_rate"] != letters["token_error_rate"]


def test_word_error_rate():
    assert word_error_rate(["a b", "c"], ["a b", "c"]) == 0
    assert word_error_rate(["a x", ""], ["a b", "c d"]) == 3 / 4
    assert word_error_rate(["a b c"], ["b"]) == 2
    assert word_error_rate([], []) == 0


def test_bleu_of_sacrebleu():
    pytest.importorskip("sacrebleu")
    text = "the quick brown fox jumps over the lazy dog"
    score, signature = bleu([text], [text], "words")
    assert score == pytest.approx(100)
    assert signature.startswith("nrefs:1|case:mixed|eff:no|tok:none|")
    # Papineni et al. (2002) by hand: of 9 words, 8 pairs, 7 triples and 6 quadruples, the last of each is wrong.
    score, _ = bleu([text.replace("dog", "cat")], [text], "words")
    assert score == pytest.approx(100 * (8 / 9 * 7 / 8 * 6 / 7 * 5 / 6) ** 0.25)
    assert bleu(["ab, c"], ["ab, c"], "characters")[1].split("|")[3] == "tok:13a"


def test_without_sacrebleu_a_line_says_how_to_get_it(runs, capsys, monkeypatch):
    monkeypatch.setattr(evaluate, "bleu", lambda *_: None)
    assert figures(runs, "one")["bleu"] is None
    assert "BLEU              needs sacrebleu: pip install '.[bleu]' in the project's folder" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["one"], "expected PAIRS: one file of UTF-8 lines of source, tab, target, got none"),
        (["one", "pairs.tsv", "two"], "expected PAIRS: one file of UTF-8 lines of source, tab, target, got "),
        (["one", "other", "pairs.tsv"], "runs: expected one source vocabulary, "),
        (["one", "letters", "pairs.tsv"], "runs: expected texts split alike, "),
        (["gone", "pairs.tsv"], "run: expected the folder of a run, there is no "),
        (["one", "gone", "pairs.tsv"], "run: expected the folder of a run, there is no "),
    ],
)
def test_wrong_use(runs, capsys, arguments, message):
    assert main(["evaluate", *(str(runs / name) for name in arguments)]) == 2
    assert capsys.readouterr().err.startswith(f"numpy-attention: {message}")


def test_several_runs_translate_together(runs, capsys):
    one, two = str(runs / "one"), str(runs / "two")
    assert main(["translate", one, "a b c", "--n-best", "1"]) == 0
    alone = capsys.readouterr().out
    assert main(["translate", one, one, "a b c", "--n-best", "1"]) == 0
    assert capsys.readouterr().out == alone
    assert main(["translate", one, two, "a b c", "--n-best", "1"]) == 0
    assert capsys.readouterr().out != alone


def test_a_run_that_is_not_there_is_no_text(runs, capsys):
    assert main(["translate", str(runs / "one"), str(runs / "gone"), "a b c"]) == 2
    assert capsys.readouterr().err.startswith("numpy-attention: run: expected the folder of a run, there is no ")


def test_an_unknown_word_is_never_right(runs, tmp_path, capsys, monkeypatch):
    lines = "".join(f"w{number} x\tw{number} x\n" for number in range(12))
    (tmp_path / "train.tsv").write_text(lines + "x x\tx x\n" * 3)
    (tmp_path / "test.tsv").write_text("x a b c\td e f g\n")
    config = na.TrainConfig(str(tmp_path / "train.tsv"), hidden_size=8, steps=3, min_count=4, out=tmp_path / "run")
    unknown = na.train(config, progress=None).target_vocabulary.unknown

    def judged(*arguments):
        found = judge(*arguments)
        found.outputs[0].tokens[:] = [unknown] * 4  # as many as there are in the target
        return found

    monkeypatch.setattr(evaluate, "judge", judged)
    assert main(["evaluate", str(tmp_path / "run"), str(tmp_path / "test.tsv"), "--json", str(tmp_path / "out")]) == 0
    found = json.loads((tmp_path / "out").read_text())
    assert found["worst"][0]["produced"] == found["worst"][0]["expected"] == "<unk> <unk> <unk> <unk>"
    assert found["bleu"] is None or found["bleu"]["score"] < 1e-6
    assert word_error_rate(["<unk>"], ["<pad>"]) == 1


def test_unknown_characters_are_one_character_that_no_text_has(runs, monkeypatch, capsys):
    (runs / "unknown.tsv").write_text("ab cd\tdXc ba\n")
    seen = []
    monkeypatch.setattr(evaluate, "bleu", lambda *texts: seen.append(texts))
    figures(runs, "letters", file="unknown.tsv")
    ((outputs,), (target,), tokens) = seen[0]
    assert (target, tokens) == ("d\ufdd0c ba", "characters")
    assert "<" not in outputs
