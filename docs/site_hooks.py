"""Hooks of MkDocs: pages from outside of docs/, the reference from the docstrings, and links that fit the site.

The Markdown is written for people who read it in the repository. Here its links are put right for the site: a link to a
page leads to that page, and one to a file of code is left as text. Equations become MathML, which browsers show by
themselves.
"""

from __future__ import annotations

import posixpath
import re
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
# Pages of the site that stand elsewhere in the repository.
ELSEWHERE = {
    "README.md": "index.md",
    "CONTRIBUTING.md": "CONTRIBUTING.md",
    "CHANGELOG.md": "CHANGELOG.md",
    "benchmarks/README.md": "benchmarks/README.md",
    "benchmarks/RESULTS.md": "benchmarks/RESULTS.md",
    "benchmarks/RESULTS-gradcheck.md": "benchmarks/RESULTS-gradcheck.md",
    "benchmarks/PAGE.md": "benchmarks/PAGE.md",
}
CODE = re.compile(r"^```.*?^```$|`[^`\n]+`", re.MULTILINE | re.DOTALL)
BLOCK = re.compile(r"^```math\n(.*?)\n```$", re.MULTILINE | re.DOTALL)
INLINE = re.compile(r"\$([^$\n]+)\$")
TAG = re.compile(r'((?:src|href)=")([^"#]+)(?=")')


def on_files(files: Any, config: Any) -> Any:
    """Add the pages that are not in docs/."""
    from mkdocs.structure.files import File

    for source, page in ELSEWHERE.items():
        files.append(File.generated(config, page, content=(ROOT / source).read_text(encoding="utf-8")))
    files.append(File.generated(config, "page.html", content=(ROOT / "docs/index.html").read_text(encoding="utf-8")))
    files.append(File.generated(config, "reference.md", content=reference()))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Any) -> str:
    """Put the links of a page right, and typeset its equations."""
    here = page.file.src_uri
    home = next((source for source, name in ELSEWHERE.items() if name == here), f"docs/{here}")
    markdown = re.sub(
        r"(?<!!)\[((?:[^\[\]]|\[[^\]]*\])*)\]\(([^)#\s]+)(#[^)\s]*)?\)",
        lambda found: link(found, home, here, files),
        markdown,
    )
    markdown = re.sub(
        r"(!\[[^\]]*\])\(([^)\s]+)\)",
        lambda found: f"{found[1]}({target(found[2], home, here, files) or found[2]})",
        markdown,
    )
    markdown = TAG.sub(lambda found: found[1] + as_page(target(found[2], home, here, files) or found[2]), markdown)
    return typeset(markdown) if here.startswith("book/") else markdown


def typeset(markdown: str) -> str:
    """The page with MathML in place of its equations; code stays as it is."""

    def inline(text: str) -> str:
        return INLINE.sub(lambda found: mathml(found[1], "inline"), text)

    markdown = BLOCK.sub(lambda found: mathml(found[1], "block"), markdown)
    parts, end = [], 0
    for code in CODE.finditer(markdown):
        parts += [inline(markdown[end : code.start()]), code[0]]
        end = code.end()
    return "".join([*parts, inline(markdown[end:])])


def mathml(equation: str, display: str) -> str:
    """One equation."""
    from latex2mathml.converter import convert

    return str(convert(equation, display=display))


def link(found: re.Match[str], home: str, here: str, files: Any) -> str:
    """A link of the repository's page ``home`` as one of the site's page ``here``; its text alone if it leads out."""
    text, path, anchor = found[1], found[2], found[3] or ""
    if re.match(r"\w+:", path):
        return found[0]
    there = target(path, home, here, files)
    return text if there is None else f"[{text}]({there}{anchor})"


def target(path: str, home: str, here: str, files: Any) -> str | None:
    """Where a path of the repository is on the site, seen from ``here``; None if it is not there."""
    if re.match(r"\w+:", path):
        return path
    place = posixpath.normpath(posixpath.join(posixpath.dirname(home), path))
    there = ELSEWHERE.get(place) or place.removeprefix("docs/")
    there = "page.html" if place == "docs/index.html" else there
    file = files.get_file_from_path(there)
    outside = place not in ELSEWHERE and not place.startswith("docs/")
    if outside or file is None or file.inclusion.is_excluded():
        return None
    return posixpath.relpath(there, posixpath.dirname(here) or ".")


def as_page(path: str) -> str:
    """The page that is made of a Markdown file; other files keep their names."""
    return re.sub(r"\.md$", ".html", path)


def reference() -> str:
    """The page of all public names, by the module that they are in."""
    sys.path.insert(0, str(ROOT))
    import numpy_attention as na

    modules: dict[str, list[str]] = {}
    for name in na.__all__:
        thing = getattr(na, name)
        if callable(thing):
            modules.setdefault(thing.__module__, []).append(thing.__qualname__)
    lines = ["# Reference", "", "What `import numpy_attention as na` offers, and the functions of the calculus.", ""]
    for module, names in modules.items():
        lines += [f"## {module}", ""]
        for name in names:
            lines += [f"::: {module}.{name}", ""]
    for module in ("cells", "attention", "embedding", "cross_entropy", "elementary"):
        path = f"numpy_attention.ops.{module}"
        lines += [f"## {path}", "", f"::: {path}", "    options:", "      show_root_heading: false", ""]
    return "\n".join(lines)
