import base64
import json
import re
import zlib

import pytest

from numpy_attention.cli import main
from numpy_attention.explain.shipped import FILE, shipped
from numpy_attention.training.evaluation import evaluate
from tests.pages import DOCS, run_page

PAGE = (DOCS / "explain.md").read_text(encoding="utf-8")


def test_the_programs_of_the_page_print_what_it_says():
    run_page("explain.md")


def test_the_size_is_what_the_page_says():
    assert f"take {FILE.stat().st_size // 1000} KB" in PAGE


@pytest.mark.slow
def test_the_table_of_the_models_that_come_with_the_package_is_true():
    models = shipped()
    for (updates, run), vanilla in zip(models.attention.items(), models.vanilla.values(), strict=True):
        pairs = run.config.data().held_out
        shares = [100 * evaluate(each.model, each.params, pairs).sequence_accuracy for each in (run, vanilla)]
        row = next(line for line in PAGE.splitlines() if line.startswith(f"| {updates} |"))
        said = [float(cell) for cell in re.findall(r"([\d.]+) %", row)]
        assert all(abs(share - each) < 0.15 for share, each in zip(shares, said, strict=True)), row


def unpacked(path):
    """The text of a page without its data, and the data without what the checker says of the mistakes."""
    text = path.read_text(encoding="utf-8")
    packed = re.search(r'<script id="data" type="text/plain">(.*?)</script>', text)
    data = json.loads(zlib.decompress(base64.b64decode(packed[1])))
    for mistake in data["mistakes"]:
        del mistake["said"]
    return text.replace(packed[1], ""), data


@pytest.mark.slow
def test_the_page_in_docs_is_what_the_command_writes_now(tmp_path):
    assert main(["explain", "--out", str(tmp_path / "page.html")]) == 0
    text, data = unpacked(tmp_path / "page.html")
    kept_text, kept_data = unpacked(DOCS / "index.html")
    command = "run `numpy-attention explain --out docs/index.html`: the page is out of date"
    assert text == kept_text, command
    for name, value in data.items():
        assert value == kept_data[name], f"{command} in its {name}"
