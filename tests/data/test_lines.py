import re
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from numpy_attention.data.lines import LONGEST_LINE, read_lines


@pytest.fixture
def file(tmp_path):
    return tmp_path / "pairs.tsv"


@pytest.mark.parametrize(
    "content",
    [
        b"a b\tc\nd\te f\n",
        b"a b\tc\nd\te f",
        b"a b\tc\r\nd\te f\r\n",
        b"\xef\xbb\xbfa b\tc\r\nd\te f\r\n",
        b"a b\tc\nd\te f\n\n",
        b"a b\tc\nd\te f\r\n \r\n\n\n",
    ],
)
def test_files_that_say_the_same(file, content):
    file.write_bytes(content)
    assert list(read_lines(file)) == [("a b", "c"), ("d", "e f")]


@pytest.mark.parametrize(
    ("content", "place", "message"),
    [
        (b"a\tb\nc d\n", ", line 2", "expected source<TAB>target, got no tab in 'c d'"),
        (b"a\tb\nc\td\te\n", ", line 2", r"expected one tab, got 2 in 'c\td\te'"),
        (b"a\tb\n\tc\n", ", line 2", r"expected a source, got none in '\tc'"),
        (b"a\tb\nc\t\n", ", line 2", r"expected a target, got none in 'c\t'"),
        (b"a\t \xe3\x80\x80\r\n", ", line 1", r"expected a target, got none in 'a\t \u3000'"),
        (b"a\tb\n\t\n", ", line 2", r"expected a source, got none in '\t'"),
        (b"a\tb\nc\t\xe9t\xe9\n", ", line 2", "expected UTF-8, got byte 0xe9 at place 3 (invalid continuation byte)"),
        ("a\tb\n".encode("utf-16"), ", line 1", "expected UTF-8, got byte 0xff at place 1 (invalid start byte)"),
        (b"a\tb\n\n \nc\td\n", ", line 2", "expected source<TAB>target, got a blank line"),
        (b"\xef\xbb\xbf\na\tb\n", ", line 1", "expected source<TAB>target, got a blank line"),
        (b"a\x1b[31m" + 50 * b"x", ", line 1", r"expected source<TAB>target, got no tab in 'a\x1b[31m" + 50 * "x" + "'"),
        (200 * b"x", ", line 1", "expected source<TAB>target, got no tab in '" + 37 * "x" + "..." + 38 * "x" + "'"),
        (b"", "", "expected lines of source<TAB>target, got none"),
        (b"\xef\xbb\xbf", "", "expected lines of source<TAB>target, got none"),
        (b"\n\r\n", "", "expected lines of source<TAB>target, got none"),
    ],
)  # fmt: skip
def test_the_line_and_what_is_wrong_with_it(file, content, place, message):
    file.write_bytes(content)
    with pytest.raises(ValueError, match=f"^{re.escape(f'{file}{place}: {message}')}$"):
        list(read_lines(file))


def test_a_line_of_a_hundred_megabytes_is_refused_before_it_is_read(file):
    with open(file, "wb") as out:
        out.write(b"a\tb\n")
        out.truncate(100_000_000)
    tracemalloc.start()
    with pytest.raises(ValueError, match="pairs.tsv, line 2: expected at most 1,048,576 bytes, got a longer line$"):
        list(read_lines(file))
    assert tracemalloc.get_traced_memory()[1] < 5_000_000
    tracemalloc.stop()


def test_the_longest_line_that_will_do(file):
    line = "a\t" + "b" * (LONGEST_LINE - 3) + "\n"
    file.write_text(line)
    assert list(read_lines(file)) == [("a", line[2:-1])]


def test_a_file_that_is_not_there_or_a_folder(tmp_path):
    for path, message in (
        (tmp_path / "none.tsv", f"pairs: there is no file {tmp_path / 'none.tsv'}"),
        (tmp_path, f"pairs: expected a file, {tmp_path} is a folder"),
        (tmp_path / ("x" * 300), f"pairs: cannot read {tmp_path / ('x' * 300)}: File name too long"),
    ):
        with pytest.raises(OSError, match=f"^{re.escape(message)}$"):
            list(read_lines(path))
    with pytest.raises(ValueError, match="^pairs: expected the path of a file, got 5$"):
        list(read_lines(5))


sides = st.text(st.characters(exclude_characters="\t\n\r\ufeff", exclude_categories=["Cs"]), max_size=8).filter(
    str.strip
)


@given(st.lists(st.tuples(sides, sides), min_size=1, max_size=5), st.sampled_from(["\n", "\r\n"]), st.booleans())
def test_every_text_comes_back_to_the_letter(tmp_path_factory, pairs, end, mark):
    file = tmp_path_factory.mktemp("lines") / "pairs.tsv"
    text = "".join(f"{source}\t{target}{end}" for source, target in pairs)
    file.write_bytes(("\ufeff" * mark + text).encode())
    assert list(read_lines(file)) == pairs
