"""The one thing that setup.cfg cannot say: the README as a package index can show it."""

import re
from pathlib import Path

from setuptools import setup


def without_relative_links(text: str) -> str:
    """The README without the images and links that only work beside its files; a link's text stays."""
    text = re.sub(r'<a href="(?!https?:)[^"]*">(.*?)</a>', r"\1", text)
    text = re.sub(r'<img src="(?!https?:)[^>]*>\n*', "", text)
    parts = re.split(r"(^```.*?^```$)", text, flags=re.MULTILINE | re.DOTALL)
    for i in range(0, len(parts), 2):
        parts[i] = re.sub(r"!\[[^\]]*\]\((?!https?:)[^)]*\)", "", parts[i])
        parts[i] = re.sub(r"\[([^\]]*)\]\((?!https?:)[^)]*\)", r"\1", parts[i])
    return re.sub(r"\n{3,}", "\n\n", "".join(parts))


setup(
    long_description=without_relative_links(Path("README.md").read_text(encoding="utf-8")),
    long_description_content_type="text/markdown",
)
