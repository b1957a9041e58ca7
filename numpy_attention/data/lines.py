"""Lines of a pairs file: UTF-8, ``source<TAB>target``, and one clear error for any other line."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import BinaryIO

from .._text import brief

LONGEST_LINE = 1 << 20  # bytes; a longer line is refused before it is read

Path = str | os.PathLike[str]


def read_lines(path: Path) -> Iterator[tuple[str, str]]:
    """Sources and targets of a file, one pair per line, read lazily.

    A byte-order mark, CRLF line ends and blank lines at the end of the file are ignored.

    Parameters
    ----------
    path : path

    Yields
    ------
    source, target : str
        Both non-empty.

    Raises
    ------
    OSError
        If the file cannot be read.
    ValueError
        With the number of the line, if a line is blank, longer than a megabyte or not UTF-8, has no tab or more than
        one, or has nothing but white space on one side of the tab; or if the file has no pairs.
    """
    blank = pairs = 0
    with _open(path) as file:
        for number, line in enumerate(iter(lambda: file.readline(LONGEST_LINE + 1), b""), start=1):
            text = _decode(line, f"{os.fspath(path)}, line {number}")
            if number == 1:
                text = text.removeprefix("\ufeff")
            if not text.strip(" "):
                blank = blank or number
                continue
            if blank:
                raise ValueError(f"{os.fspath(path)}, line {blank}: expected source<TAB>target, got a blank line")
            yield _split(text, f"{os.fspath(path)}, line {number}")
            pairs += 1
    if not pairs:
        raise ValueError(f"{os.fspath(path)}: expected lines of source<TAB>target, got none")


def _open(path: Path) -> BinaryIO:
    """The file, or an OSError that says in words what is wrong with it."""
    if not isinstance(path, (str, os.PathLike)):
        raise ValueError(f"pairs: expected the path of a file, got {brief(path)}")
    try:
        return open(path, "rb")
    except FileNotFoundError:
        raise FileNotFoundError(f"pairs: there is no file {os.fspath(path)}") from None
    except IsADirectoryError:
        raise IsADirectoryError(f"pairs: expected a file, {os.fspath(path)} is a folder") from None
    except OSError as error:
        raise type(error)(f"pairs: cannot read {os.fspath(path)}: {error.strerror}") from None


def _decode(line: bytes, place: str) -> str:
    if len(line) > LONGEST_LINE:
        raise ValueError(f"{place}: expected at most {LONGEST_LINE:,} bytes, got a longer line")
    try:
        return line.decode("utf-8").rstrip("\r\n")
    except UnicodeDecodeError as error:
        wrong = f"byte 0x{line[error.start]:02x} at place {error.start + 1}"
        raise ValueError(f"{place}: expected UTF-8, got {wrong} ({error.reason})") from None


def _split(text: str, place: str) -> tuple[str, str]:
    source, tab, target = text.partition("\t")
    if not tab:
        raise ValueError(f"{place}: expected source<TAB>target, got no tab in {brief(text)}")
    if "\t" in target:
        raise ValueError(f"{place}: expected one tab, got {text.count(chr(9))} in {brief(text)}")
    for name, side in (("source", source), ("target", target)):
        if not side or side.isspace():
            raise ValueError(f"{place}: expected a {name}, got none in {brief(text)}")
    return source, target
