"""The examples of docs/gradient_checking.md run and print what the page says; the report as text and as JSON."""

import contextlib
import io
import json
import linecache
import re
import sys
from pathlib import Path

import numpy as np
import pytest

from numpy_attention import gradcheck

PAGE = Path(__file__).parents[2] / "docs" / "gradient_checking.md"
NUMBER = re.compile(r"^[-+]?\d+(\.\d+)?(e[-+]?\d+)?[.,]?$")


def words(text):
    """The words and numbers of an output, without digits of what is right: those are rounding."""
    found = []
    for line in text.strip().splitlines():
        parts = re.sub(r"accurate to \de-1[67]\b", "accurate to rounding", line).split()
        right = " ok " in f"{line} "
        found.append([part for part in parts if not (right and NUMBER.match(part)) and not re.match(r"\[\d", part)])
    return found


def same(printed, expected):
    if len(printed) != len(expected):
        return False
    return all(
        a == b
        or (NUMBER.match(a) and NUMBER.match(b) and np.isclose(float(a.rstrip(".,")), float(b.rstrip(".,")), rtol=0.02))
        for a, b in zip(printed, expected, strict=True)
    )


@pytest.mark.slow
@pytest.mark.parametrize("page", [PAGE, PAGE.with_name("check_your_own_layer.md")], ids=lambda page: page.stem)
def test_page(page):
    blocks = re.findall(r"```(python|text)\n(.*?)```", page.read_text(), flags=re.DOTALL)
    namespace, printed, compared = {}, "", 0
    for number, (kind, block) in enumerate(blocks):
        if kind == "python":
            output = io.StringIO()
            name = f"{page.name}, block {number}"
            linecache.cache[name] = len(block), None, block.splitlines(keepends=True), name  # mutants need the source
            with contextlib.redirect_stdout(output):
                exec(compile(block, name, "exec"), namespace)
            printed = output.getvalue()
        else:
            assert len(words(printed)) == len(words(block)), printed
            for ours, theirs in zip(words(printed), words(block), strict=True):
                assert same(ours, theirs), (ours, theirs)
            compared += 1
    assert compared >= 6


def test_the_room_stands_alone():
    """It imports no other room; SciPy only inside the functions that use it; and nothing that only draws or prints."""
    for path in Path(gradcheck.__file__).parent.rglob("*.py"):
        at_once = re.findall(r"^(?:from|import) (\S+)", path.read_text(), flags=re.MULTILINE)
        third_party = [name for name in at_once if name.split(".")[0] not in sys.stdlib_module_names]
        allowed = r"numpy$|numpy\.exceptions$|\.{2,3}_(checks|code|json|shared|text|typing)$|\.$|\.(\w+\.)?\w+$"
        if path.name == "pytest_plugin.py":  # which nothing else imports
            third_party.remove("pytest")
        assert [name for name in third_party if not re.match(allowed, name)] == [], path


def test_report_as_json_and_text():
    x = {"a": np.ones(2), "b": np.ones((2, 2))}
    report = gradcheck.check_gradients(
        lambda p: np.sum(p["a"] ** 2) + np.sum(p["b"] ** 3), x, {"a": 2 * x["a"], "b": -3 * x["b"]}
    )
    read = json.loads(json.dumps(report.to_dict(), allow_nan=False))
    assert (read["ok"], read["verdict"], read["method"], read["mode"]) == (False, "wrong", "complex-step", "full")
    assert read["parameters"][1] == {
        "name": "b",
        "shape": [2, 2],
        "verdict": "wrong",
        "largest": 3.0,
        "share": 1.0,
        "absolute_error": 6.0,
        "relative_error": 2.0,
        "index": [0, 0],
        "gradient": -3.0,
        "expected": 3.0,
        "ratio": -1.0,
        "cosine": -1.0,
        "diagnosis": "-1 times the true gradient: a constant factor = -1",
    }
    lines = str(report).splitlines()
    assert lines[0].startswith("gradient check: WRONG    complex-step, full, ")
    headings = "parameter shape verdict error relative at gradient expected ratio cosine share"
    assert " ".join(lines[2].split()) == headings
    assert " ".join(lines[4].split()) == "b (2, 2) WRONG 6.0e+00 2.0e+00 [0, 0] -3 3 -1 -1 1.0e+00"
    assert max(map(len, lines)) <= 120
