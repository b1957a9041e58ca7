import pytest

from numpy_attention.data.vocabulary import SPECIAL, Vocabulary, symbol_vocabulary


@pytest.mark.parametrize(("symbols", "last"), [(1, "a"), (26, "z"), (27, "27"), (100, "100")])
def test_symbols_have_names_of_their_own(symbols, last):
    vocabulary = symbol_vocabulary(symbols)
    assert len(vocabulary) == symbols + len(SPECIAL)
    assert vocabulary.words[-1] == last
    tokens = list(range(3, len(vocabulary)))
    assert vocabulary.encode(vocabulary.decode(tokens)) == tokens


@pytest.mark.parametrize("word", ["z", "", "<eos>", "<pad>"])
def test_a_word_that_stands_for_nothing(word):
    with pytest.raises(ValueError, match=f"^words: expected words of the vocabulary, such as 'c', got '{word}'$"):
        symbol_vocabulary(3).encode(["a", word])


def test_words_that_make_no_vocabulary():
    with pytest.raises(ValueError, match="^words: expected <pad>, <bos>, <eos> first, got a$"):
        Vocabulary(("a",))
    with pytest.raises(ValueError, match="^words: expected every word once"):
        Vocabulary((*SPECIAL, "a", "a"))
