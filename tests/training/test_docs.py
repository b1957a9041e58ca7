import re
import subprocess
import sys
from pathlib import Path

from numpy_attention.training.config import TrainConfig

PAGE = (Path(__file__).parents[2] / "docs" / "training.md").read_text(encoding="utf-8")


def test_the_examples_print_what_the_page_says(tmp_path):
    program, loop = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    (expected,) = re.findall(r"```text\n(.*?)```", PAGE, re.DOTALL)
    for code, output in ((program, expected), (loop, "")):
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, check=True)
        assert done.stdout == output


def test_every_setting_that_the_page_names_is_one():
    table = PAGE[PAGE.index("| setting") : PAGE.index("## What a run holds")]
    for row in re.findall(r"^\| (`.*?) \|", table, re.MULTILINE):
        for name in re.findall(r"`(\w+)`", row):
            assert name in TrainConfig.__dataclass_fields__, name
