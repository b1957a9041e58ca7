import pytest

from numpy_attention.data.catalogue import DATA
from numpy_attention.data.tasks import TASKS
from tests.pages import run_page, unchanged


@pytest.mark.slow
def test_the_examples_print_what_the_page_says(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with unchanged(TASKS, DATA):
        run_page("data.md")
