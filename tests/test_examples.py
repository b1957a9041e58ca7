"""The pages of docs/examples run, and print what they say."""

import pytest

from numpy_attention.data.tasks import TASKS
from tests.pages import DOCS, run_page, unchanged

PAGES = sorted(path.name for path in (DOCS / "examples").glob("*.md"))


@pytest.mark.slow
@pytest.mark.parametrize("name", PAGES)
def test_an_example_prints_what_its_page_says(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with unchanged(TASKS):
        run_page(f"examples/{name}")
