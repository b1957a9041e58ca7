"""The hooks of the site: links that fit it, equations that need no script."""

import importlib.util
from pathlib import Path
from types import SimpleNamespace

import pytest

ROOT = Path(__file__).parents[1]


def hooks():
    spec = importlib.util.spec_from_file_location("site_hooks", ROOT / "docs/site_hooks.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Files:
    """Files of the site by name; those of code are left out."""

    def __init__(self, *names):
        self.names = names

    def get_file_from_path(self, name):
        left_out = SimpleNamespace(is_excluded=lambda: name.endswith(".py"))
        return SimpleNamespace(inclusion=left_out) if name in self.names else None


def test_a_link_leads_to_a_page_of_the_site_and_one_to_code_is_text():
    files = Files("index.md", "model.md", "book/README.md", "book.py", "figures/a.svg", "page.html", "CONTRIBUTING.md")

    def of(text, here):
        page = SimpleNamespace(file=SimpleNamespace(src_uri=here))
        return hooks().on_page_markdown(text, page, None, files)

    assert of("[a](docs/model.md#x) [b](CONTRIBUTING.md) [c](numpy_attention/run.py)", "index.md") == (
        "[a](model.md#x) [b](CONTRIBUTING.md) c"
    )
    assert of("[a](../model.md) [b](../../README.md) [c](../book.py) ![p](../figures/a.svg)", "book/README.md") == (
        "[a](../model.md) [b](../index.md) c ![p](../figures/a.svg)"
    )
    assert of('<a href="docs/model.md">x</a> [page](docs/index.html) [out](https://example.org)', "index.md") == (
        '<a href="model.html">x</a> [page](page.html) [out](https://example.org)'
    )


def test_equations_become_mathml_and_code_stays():
    pytest.importorskip("latex2mathml")
    text = hooks().typeset("so $s'$ is\n\n```math\na = b\n```\n\n```sh\necho $HOME $x$\n```\nand `$y$`\n")
    assert text.count("<math") == 2
    assert 'display="block"' in text
    assert "echo $HOME $x$" in text
    assert "`$y$`" in text


def test_every_page_of_the_documentation_is_in_the_navigation():
    yaml = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    for path in (ROOT / "docs").rglob("*.md"):
        assert path.relative_to(ROOT / "docs").as_posix() in yaml, path
