import re

import pytest

from numpy_attention.training.config import TrainConfig
from numpy_attention.training.optimizers import OPTIMIZERS
from tests.pages import DOCS, run_page, unchanged


@pytest.mark.slow
def test_the_examples_print_what_the_page_says(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with unchanged(OPTIMIZERS):
        run_page("training.md")


def test_every_setting_that_the_page_names_is_one():
    page = (DOCS / "training.md").read_text(encoding="utf-8")
    rows = re.findall(
        r"^\| (`.*?) \|", page[page.index("| setting") : page.index("## A loop of your own")], re.MULTILINE
    )
    assert len(rows) > 5
    for row in rows:
        for name in re.findall(r"`(\w+)`", row):
            assert name in TrainConfig.__dataclass_fields__, name
