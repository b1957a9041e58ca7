import re
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from numpy_attention.data.pairs import JOIN, SPLIT, read_encoded, read_pairs
from numpy_attention.data.vocabulary import UNK, symbol_vocabulary

DAYS = [("good day", "bonjour"), ("good night", "bonne nuit"), ("good luck", "bonne chance"), ("thanks", "merci")]


def write(path, pairs):
    path.write_text("".join(f"{source}\t{target}\n" for source, target in pairs), encoding="utf-8")
    return path


@pytest.fixture
def days(tmp_path):
    return write(tmp_path / "days.tsv", DAYS)


def read(data, kind, sources, targets):
    join = JOIN[kind]
    return [
        (join(data.source_vocabulary.decode(source)), join(data.target_vocabulary.decode(target)))
        for source, target in zip(sources, targets, strict=True)
    ]


def trained(data, kind="words"):
    return read(data, kind, data.sources, data.targets)


words = st.text(st.characters(categories=["L", "N", "P", "S", "M"]), min_size=1, max_size=4)
texts = st.lists(words, min_size=1, max_size=4).map(" ".join)


@pytest.mark.parametrize("kind", ["words", "characters"])
@given(st.lists(st.tuples(texts, texts), min_size=1, max_size=8))
def test_what_stands_in_the_file_is_what_is_trained_on(tmp_path_factory, kind, pairs):
    path = write(tmp_path_factory.mktemp("pairs") / "pairs.tsv", pairs)
    data = read_pairs(path, kind, dev=path)
    assert trained(data, kind) == read(data, kind, *data.held_out) == pairs
    for vocabulary, side in ((data.source_vocabulary, 0), (data.target_vocabulary, 1)):
        counts = Counter(token for pair in pairs for token in SPLIT[kind](pair[side]))
        assert vocabulary.words[4:] == tuple(sorted(counts, key=lambda token: (-counts[token], token)))
    assert sorted(trained(data, kind)) == sorted(read(data, kind, *rows(data.batch(0, len(pairs)))))


def rows(batch):
    sources = [row[mask].tolist() for row, mask in zip(batch.source, batch.source_mask, strict=True)]
    return sources, [row[mask][:-1].tolist() for row, mask in zip(batch.target_output, batch.target_mask, strict=True)]


def test_vocabularies_are_those_of_the_training_pairs_and_what_is_unknown_is_said(days, tmp_path):
    dev = write(tmp_path / "dev.tsv", [("good evening", "bonne soirée"), ("thanks", "merci beaucoup")])
    test = write(tmp_path / "test.tsv", [("good day", "bonjour")])
    data = read_pairs(days, dev=dev, test=test)
    assert read(data, "words", *data.held_out) == [("good <unk>", "bonne <unk>"), ("thanks", "merci <unk>")]
    assert read(data, "words", *data.test) == [("good day", "bonjour")]
    assert data.description == (
        "days.tsv: 4 training pairs, 2 held out (33 % of the source and 50 % of the target tokens unknown), "
        "1 for the test, vocabularies of 9 and 9 words"
    )
    assert read_encoded(dev, "words", data.source_vocabulary, data.target_vocabulary) == data.held_out
    assert read_pairs(days, dev=dev).test is None


def test_rare_tokens_are_unknown(days):
    data = read_pairs(days, dev=days, min_count=2)
    assert data.source_vocabulary.words[UNK:] == ("<unk>", "good")
    assert data.target_vocabulary.words[UNK:] == ("<unk>", "bonne")
    assert trained(data)[1] == ("good <unk>", "bonne <unk>")
    with pytest.raises(ValueError, match="^min_count: expected a word that occurs 4 times, none of 5 does$"):
        read_pairs(days, dev=days, min_count=4)


def test_special_words_in_a_text_are_unknown_words(tmp_path):
    path = write(tmp_path / "pairs.tsv", [("<eos> a", "<pad> b"), ("<unk> a", "<bos> b")])
    assert trained(read_pairs(path, dev=path)) == [("<unk> a", "<unk> b")] * 2


def test_a_share_of_the_sources_is_held_out_by_seed_and_equal_sources_go_together(tmp_path):
    pairs = [(f"a {number % 40}", f"{number} b") for number in range(100)]
    path = write(tmp_path / "pairs.tsv", pairs)
    data = read_pairs(path, "characters", held_out=0.25)
    held_out = read(data, "characters", *data.held_out)
    assert sorted(trained(data, "characters") + held_out) == sorted(pairs)
    assert trained(data, "characters") == [pair for pair in pairs if pair not in held_out]
    held_out_sources = {source for source, _ in held_out}
    assert len(held_out_sources) == 10
    assert not held_out_sources & {source for source, _ in trained(data, "characters")}
    assert read_pairs(path, "characters", held_out=0.25).held_out == data.held_out
    assert read_pairs(path, "characters", held_out=0.25, seed=1).held_out != data.held_out


def test_long_pairs_are_left_out_when_asked_and_counted(days):
    data = read_pairs(days, dev=days, max_length=1)
    assert trained(data) == [("thanks", "merci")]
    assert len(data.held_out.sources) == 4
    assert "1 training pairs, 4 held out (86 % of the source" in data.description
    assert "3 of more than 1 words left out" in data.description
    assert "left out" not in read_pairs(days, dev=days).description
    kept = read_pairs(days, "characters", max_length=10, held_out=0.5)
    both = trained(kept, "characters") + read(kept, "characters", *kept.held_out)
    assert len(both) == 3
    assert ("good luck", "bonne chance") not in both
    with pytest.raises(ValueError, match=r"^max_length: .* the shortest of .*days.tsv has 6 tokens$"):
        read_pairs(days, "characters", max_length=3)


@pytest.mark.parametrize(
    ("pairs", "side"), [([("bonsoir", "bonjour")], "source"), ([("good", "day")], "target"), ([("merci", "thanks")], "source")]
)  # fmt: skip
@pytest.mark.parametrize(("setting", "name"), [("dev", "held out"), ("test", "for the test")])
def test_pairs_to_look_at_of_which_nothing_is_known(days, tmp_path, pairs, side, setting, name):
    files = {"dev": days, setting: write(tmp_path / "other.tsv", pairs)}
    message = rf"other.tsv, pairs {name}: expected tokens of the training pairs, every {side} token is unknown$"
    with pytest.raises(ValueError, match=message):
        read_pairs(days, **files)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"tokens": "bytes"}, "tokens: expected one of words, characters, got 'bytes'"),
        ({"held_out": 0.0}, "held_out: expected a share above 0 and below 1, got 0.0"),
        ({"held_out": 1.0}, "held_out: expected a share above 0 and below 1, got 1.0"),
        ({"held_out": float("nan")}, "held_out: expected a share above 0 and below 1, got nan"),
        ({"min_count": 0}, "min_count: expected a whole number of at least 1, got 0"),
        ({"max_length": 0}, "max_length: expected a whole number of at least 1, got 0"),
        ({"max_length": 2.5}, "max_length: expected a whole number of at least 1, got 2.5"),
    ],
)
def test_impossible_settings(days, settings, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        read_pairs(days, **settings)


def test_of_one_source_none_can_be_held_out(tmp_path):
    path = write(tmp_path / "pairs.tsv", [("a", "b"), ("a", "c")])
    with pytest.raises(
        ValueError, match="^held_out: expected at least two different sources, .* got one; name a dev file$"
    ):
        read_pairs(path)


def test_what_is_wrong_in_any_of_the_files_is_said_with_its_line(days, tmp_path):
    broken = tmp_path / "broken.tsv"
    broken.write_text("a\tb\nc\n")
    for files in ({"path": broken}, {"path": days, "dev": broken}, {"path": days, "test": broken}):
        with pytest.raises(ValueError, match=r"broken.tsv, line 2: expected source<TAB>target, got no tab in 'c'$"):
            read_pairs(**files)


def test_a_word_that_a_vocabulary_without_unknown_ones_does_not_have(tmp_path):
    path = write(tmp_path / "pairs.tsv", [("a b", "b a"), ("a z", "z a")])
    with pytest.raises(ValueError, match=r"pairs.tsv, line 2: words: expected some of the .* got 'z'$"):
        read_encoded(path, "words", symbol_vocabulary(3), symbol_vocabulary(3))
