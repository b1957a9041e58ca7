"""docs/questions.md: its programs print what it says, and every line that it quotes stands in the file that it names."""

import re
from pathlib import Path

import pytest

import numpy_attention
from tests.pages import DOCS, run_page

PACKAGE = Path(numpy_attention.__file__).parent
PAGE = (DOCS / "questions.md").read_text(encoding="utf-8")
# [`ops/attention.py`](../numpy_attention/ops/attention.py), `softmax`: and a block of py, which is not run
QUOTATION = re.compile(
    r"^\[`(.+)`\]\(\.\./numpy_attention/(.+)\), `(\w+)`:\n\n```py\n(.*?)```", re.MULTILINE | re.DOTALL
)


def sections(page):
    """(question, text) of every section; blocks of code may hold lines with a #, never with two."""
    headings = re.split(r"^## (.*)\n", page, flags=re.MULTILINE)
    return list(zip(headings[1::2], headings[2::2], strict=True))


def lines_of(text):
    """Lines with single spaces, and none around them."""
    return [" ".join(line.split()) for line in text.strip().splitlines()]


def stands(quotation, function, code):
    """Whether the lines stand one after the other in the code, after the ``def`` of the function and before the next."""
    within = None
    for number, line in enumerate(code):
        start = re.match(r"def (\w+)\(", line)
        within = start[1] if start else within
        if within == function and code[number : number + len(quotation)] == quotation:
            return True
    return False


def complaints(page):
    """What is wrong with the quotations of a page, each with its question and file."""
    found = []
    for question, text in sections(page):
        quotations = QUOTATION.findall(text)
        if not quotations or len(quotations) != text.count("```py\n"):
            found.append(f"{question} expected a quotation, and a line with file and function above each")
        for shown, file, function, quotation in quotations:
            lines, path = lines_of(quotation), PACKAGE / file
            code = lines_of(path.read_text(encoding="utf-8")) if path.is_file() else []
            if shown != file or not stands(lines, function, code):
                found.append(f"{question} {file} has no such lines in {function}: {quotation.strip()}")
            if not 1 <= len(lines) <= 3:
                found.append(f"{question} expected one to three lines, got {len(lines)}")
    return found


def test_the_programs_print_what_the_page_says():
    run_page("questions.md")


def test_every_heading_is_a_question():
    questions = [question for question, _ in sections(PAGE)]
    assert len(questions) == len(set(questions)) >= 15
    assert [question for question in questions if not question.endswith("?")] == []


def test_every_quoted_line_stands_in_its_file():
    assert complaints(PAGE) == []


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        (
            "e = np.where(mask, e, -np.inf)",
            "e = np.where(mask, e, -1e9)",
            "ops/attention.py has no such lines in softmax",
        ),
        ("e = np.where(mask, e, -np.inf)", "", "expected one to three lines, got 0"),
        ("`softmax`:\n\n```py\ne =", "`context`:\n\n```py\ne =", "ops/attention.py has no such lines in context"),
        ("`softmax`:\n\n```py\ne =", "`softmax`\n\n```py\ne =", "expected a quotation"),
        (
            "[`ops/attention.py`](../numpy_attention/ops/attention.py)",
            "[`ops/gone.py`](../numpy_attention/ops/gone.py)",
            "gone",
        ),
    ],
)
def test_a_stale_quotation_is_told_with_its_question_and_file(old, new, told):
    question = "How do masks work, and must they come before the softmax?"
    text = dict(sections(PAGE))[question]
    assert old in text
    found = complaints(PAGE.replace(text, text.replace(old, new)))
    assert any(each.startswith(question) and told in each for each in found), found


def test_space_within_a_quotation_does_not_matter():
    line = "e = np.where(mask, e, -np.inf)"
    assert complaints(PAGE.replace(line, f"    {line.replace(' = ', '  =  ')}")) == []
