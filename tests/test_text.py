"""Text for people: nothing that steers a terminal gets through, nothing readable is lost, and no message is long."""

import unicodedata

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from numpy_attention._text import LONGEST, brief, printable


@given(st.text(st.characters(categories=("L", "M", "N", "P", "S", "Zs"))))
def test_letters_of_every_script_are_left_alone(text):
    assert printable(text) == text


@given(st.text())
def test_no_control_character_is_left(text):
    shown = printable(text)
    assert not {"Cc", "Cs", "Zl", "Zp"} & {unicodedata.category(character) for character in shown}
    assert not set("\u202a\u202b\u202d\u202e\u2066\u2067\u2068") & set(shown)


def test_what_comes_is_shown_as_in_a_python_literal():
    assert printable("\x1b]0;owned\x07 \x9b \u2028 \u202e \ud800") == (r"\x1b]0;owned\x07 \x9b \u2028 \u202e \ud800")


def test_joiners_of_scripts_and_of_emoji_are_kept():
    assert printable("می\u200cخواهم 👩\u200d👧") == "می\u200cخواهم 👩\u200d👧"


class Unspeakable:
    def __repr__(self):
        raise RuntimeError("no")


def test_a_value_is_one_short_line_whatever_it_is():
    values = ["x" * 500_000, [1.5] * 100_000, 10**10_000, np.zeros((50, 50)), {"a": ["b" * 900] * 9}, Unspeakable()]
    for value in values:
        text = brief(value)
        assert "\n" not in text
        assert len(text) <= LONGEST


def test_a_short_value_is_its_repr():
    for value in (3, "abc", 2.5, [1, 2], None, True):
        assert brief(value) == repr(value)
