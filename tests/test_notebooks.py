"""The notebooks of docs/notebooks are what their script makes, and their cells run to the end."""

import json
import runpy
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[1] / "docs" / "notebooks"
MADE = runpy.run_path(str(FOLDER / "make_notebooks.py"))


@pytest.mark.parametrize("name", MADE["NOTEBOOKS"])
def test_a_notebook_is_what_the_script_makes(name):
    text = (FOLDER / f"{name}.ipynb").read_text("utf-8")
    assert text == MADE["notebook"](MADE["NOTEBOOKS"][name]), "python docs/notebooks/make_notebooks.py writes it anew"


@pytest.mark.slow
@pytest.mark.parametrize("name", MADE["NOTEBOOKS"])
def test_the_cells_of_a_notebook_run(name, monkeypatch):
    plots = pytest.importorskip("matplotlib.pyplot")
    shown = []
    monkeypatch.setattr(plots, "show", lambda: shown.append(plots.gcf()))
    namespace = {}
    for cell in json.loads((FOLDER / f"{name}.ipynb").read_text("utf-8"))["cells"]:
        if cell["cell_type"] == "code":
            exec(compile("".join(cell["source"]), f"{name}.ipynb", "exec"), namespace)
    plots.close("all")
    assert len(shown) == (name != "check_your_own_layer")
