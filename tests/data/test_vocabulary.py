import pytest
from hypothesis import given
from hypothesis import strategies as st

from numpy_attention.data.vocabulary import SPECIAL, UNK, UNKNOWN, Vocabulary, symbol_vocabulary


@pytest.mark.parametrize(("symbols", "last"), [(1, "a"), (26, "z"), (27, "27"), (100, "100")])
def test_symbols_have_names_of_their_own(symbols, last):
    vocabulary = symbol_vocabulary(symbols)
    assert len(vocabulary) == symbols + len(SPECIAL)
    assert vocabulary.words[-1] == last
    assert vocabulary.unknown is None
    tokens = list(range(3, len(vocabulary)))
    assert vocabulary.encode(vocabulary.decode(tokens)) == tokens


@pytest.mark.parametrize("word", ["z", "", "<eos>", "<pad>", "<unk>"])
def test_a_word_that_stands_for_nothing(word):
    known = "words: expected some of the vocabulary's 3 words, such as 'a', 'b', 'c'"
    with pytest.raises(ValueError, match=f"^{known}, got '{word}'$"):
        symbol_vocabulary(3).encode(["a", word])
    with pytest.raises(ValueError, match=f"^{known}, got 'cab'; separate words by spaces$"):
        symbol_vocabulary(3).encode(["cab"])


def test_words_that_make_no_vocabulary():
    with pytest.raises(ValueError, match="^words: expected <pad>, <bos>, <eos> first, got 'a'$"):
        Vocabulary(("a",))
    with pytest.raises(ValueError, match="^words: expected every word once"):
        Vocabulary((*SPECIAL, "a", "a"))
    for words in ("a" * 500_000, ["a" * 500_000] * 3):
        with pytest.raises(ValueError, match="^words: expected .{,150}$"):
            Vocabulary(words)


@pytest.mark.parametrize("vocabulary", [symbol_vocabulary(3), Vocabulary((*SPECIAL, "<unk>", "a"))])
def test_words_that_are_no_strings(vocabulary):
    for words, shown in ((5, "5"), ([["a"]], r"\[\['a'\]\]")):
        with pytest.raises(ValueError, match=f"^words: expected strings, got {shown}$"):
            vocabulary.encode(words)


def test_a_vocabulary_prints_as_one_line():
    assert repr(symbol_vocabulary(3)) == "Vocabulary(3 words: 'a b c')"
    assert repr(symbol_vocabulary(10_000)) == "Vocabulary(10000 words: '1 2 3 4 5 6 7 8 9 10')"


words = st.text(max_size=3) | st.sampled_from([*SPECIAL, "<unk>"])


@given(st.dictionaries(words, st.integers(1, 9), min_size=1), st.integers(1, 9))
def test_the_vocabulary_of_a_text_has_its_frequent_words_and_reads_every_other_as_unknown(counts, min_count):
    frequent = {word for word, times in counts.items() if times >= min_count} - {*SPECIAL, "<unk>"}
    if not frequent:
        with pytest.raises(
            ValueError, match=f"^min_count: expected a word that occurs {min_count} times, none of {len(counts)} does$"
        ):
            Vocabulary.from_counts(counts, min_count)
        return
    vocabulary = Vocabulary.from_counts(counts, min_count)
    assert vocabulary.unknown == UNK
    assert vocabulary.words[: UNK + 1] == (*SPECIAL, "<unk>")
    assert set(vocabulary.words[UNK + 1 :]) == frequent
    assert sorted(vocabulary.words[UNK + 1 :], key=lambda word: (-counts[word], word)) == list(
        vocabulary.words[UNK + 1 :]
    )
    tokens = vocabulary.encode(counts)
    assert [token != UNK for token in tokens] == [word in frequent for word in counts]
    assert vocabulary.decode(tokens) == [word if word in frequent else "<unk>" for word in counts]


def test_a_token_that_stands_for_nothing():
    for token in (99, -1):
        with pytest.raises(ValueError, match=f"^tokens: expected ids of at least 0 and below 6, got {token}$"):
            symbol_vocabulary(3).decode([3, token])
    with pytest.raises(ValueError, match="^words: expected a tuple of str, got None$"):
        Vocabulary(None)
    assert Vocabulary([*SPECIAL, "a"]) == Vocabulary((*SPECIAL, "a"))


@pytest.mark.parametrize("words", [[5], ["a", None], [b"a"]])
@pytest.mark.parametrize("with_unknown", [False, True])
def test_what_is_no_string_is_refused(words, with_unknown):
    some = Vocabulary((*SPECIAL, *([UNKNOWN] if with_unknown else []), "a"))
    with pytest.raises(ValueError, match="^words: expected strings, got"):
        some.encode(words)
