"""Every link of a document leads to a file that is there, and every anchor to a heading."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
DOCUMENTS = sorted(
    path.relative_to(ROOT).as_posix()
    for folder in (".", "benchmarks", "docs", "docs/book", "docs/examples")
    for path in (ROOT / folder).glob("*.md")
)
LINK = re.compile(r'\]\(([^)\s]+)\)|(?:src|href)="([^"]+)"')


def without_code(page):
    """The page with empty lines in place of its code."""
    page = re.sub(r"^```.*?^```$", lambda found: "\n" * found[0].count("\n"), page, flags=re.MULTILINE | re.DOTALL)
    return re.sub(r"`[^`\n]+`", "", page)


def anchors(page):
    """The anchors of a page's headings, by the rule of GitHub."""
    found = set()
    for heading in re.findall(
        r"^#+ (.+)$", re.sub(r"^```.*?^```$", "", page, flags=re.MULTILINE | re.DOTALL), re.MULTILINE
    ):
        slug = re.sub(r"[^\w\- ]", "", re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).lower()).replace(" ", "-")
        number = 0
        while (name := f"{slug}-{number}" if number else slug) in found:
            number += 1
        found.add(name)
    return found


def broken(name, root=ROOT):
    """Page, line and link of every link that leads nowhere."""
    page = (root / name).read_text(encoding="utf-8")
    for number, line in enumerate(without_code(page).splitlines(), start=1):
        for link in map("".join, LINK.findall(line)):
            if re.match(r"\w+:", link):
                continue
            path, _, anchor = link.partition("#")
            there = (root / name).parent / path if path else root / name
            if not there.exists() or (anchor and anchor not in anchors(there.read_text(encoding="utf-8"))):
                yield f"{name}, line {number}: {link}"
    known = re.findall(r"^\[(\w+)\]: \S+$", page, re.MULTILINE)
    for number, line in enumerate(without_code(page).splitlines(), start=1):
        yield from (
            f"{name}, line {number}: [{link}]" for link in re.findall(r"\]\[(\w+)\]", line) if link not in known
        )


@pytest.mark.parametrize("name", DOCUMENTS)
def test_every_link_leads_somewhere(name):
    assert not list(broken(name))


def test_a_link_that_leads_nowhere_is_told_with_page_and_line(tmp_path):
    (tmp_path / "a.md").write_text("# A page\n\n## Two: words `x`\n\n## Two: words `x`\n", encoding="utf-8")
    (tmp_path / "b.md").write_text(
        "[to it](a.md#two-words-x) [again](a.md#two-words-x-1)\n[gone](c.md)\n`[code](d.md)`\n[no heading](a.md#three)\n"
        '<img src="e.png">\n[out](https://example.org)\n[known][here] [unknown][there]\n\n[here]: https://example.org\n',
        encoding="utf-8",
    )
    assert list(broken("b.md", tmp_path)) == [
        "b.md, line 2: c.md",
        "b.md, line 4: a.md#three",
        "b.md, line 5: e.png",
        "b.md, line 7: [there]",
    ]
