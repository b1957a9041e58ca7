"""The diagrams of docs/ are those that their program draws, and their numbers are those of the model."""

import runpy
from xml.etree import ElementTree

import numpy as np
import pytest

import numpy_attention as na
from numpy_attention.explain.shipped import shipped
from tests.pages import DOCS, run_page

FOLDER = DOCS / "figures" / "diagrams"
COMMAND = "run `python docs/figures/diagrams.py`: a diagram is not the one that it draws"
PROGRAM = runpy.run_path(str(DOCS / "figures" / "diagrams.py"))
NAMES = [f"{name}.svg" for name in PROGRAM["DIAGRAMS"]]
SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture(scope="module")
def drawn():
    return PROGRAM["draw"]()


def texts(drawn, name):
    """The text of every element with an id."""
    return {
        each.get("id"): "".join(each.itertext())
        for each in ElementTree.fromstring(drawn[name]).iter()
        if each.get("id")
    }


def norms(run):
    """Norm of each part of dL/dh_t, of the loss of the right answer to the text of the diagrams."""
    source = run.source_vocabulary.encode(shipped().text.split())
    params = {name: value.astype(float) for name, value in run.params.items()}
    parts = na.gradient_paths(run.model, params, na.Batch.from_sequences([source], [source[::-1]]))
    return {name: np.linalg.norm(part[0], axis=1) for name, part in parts._asdict().items() if name != "cell"}


@pytest.mark.parametrize("name", NAMES)
def test_the_files_are_what_the_program_draws(drawn, name):
    assert (FOLDER / name).read_text(encoding="utf-8") == drawn[name], COMMAND


def test_there_is_no_other_file():
    assert sorted(file.name for file in FOLDER.iterdir()) == sorted(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_a_diagram_is_well_formed_and_says_what_it_shows(drawn, name):
    root = ElementTree.fromstring(drawn[name])
    assert root.tag == f"{SVG}svg"
    assert root.get("role") == "img"
    ids = [each.get("id") for each in root.iter() if each.get("id")]
    assert len(set(ids)) == len(ids)
    said = texts(drawn, name)
    assert all(said[each].strip() for each in root.get("aria-labelledby").split())
    assert "prefers-color-scheme: dark" in root.find(f"{SVG}style").text
    styles = {style for each in root.iter() for style in (each.get("class") or "").split()}
    assert all(f".{style}" in PROGRAM["STYLE"] for style in styles)


@pytest.mark.parametrize("name", NAMES)
def test_all_is_inside_the_picture(drawn, name):
    root = ElementTree.fromstring(drawn[name])
    _, _, width, height = map(float, root.get("viewBox").split())
    for each in root.iter():
        corners = [tuple(map(float, corner.split(","))) for corner in (each.get("points") or "").split()]
        if each.get("x"):
            x, y = (float(each.get(axis)) for axis in "xy")
            corners += [(x, y), (x + float(each.get("width", 0)), y + float(each.get("height", 0)))]
        assert all(0 <= x <= width and 0 <= y <= height for x, y in corners)


def test_the_weights_of_the_context_are_the_models_and_add_up_to_1(drawn):
    said = texts(drawn, "context.svg")
    weights = [float(said[f"alpha-{t + 1}"]) for t in range(6)]
    step = na.explain(text=shipped().text, step=PROGRAM["STEP"]).step
    assert np.allclose(weights, step.look.alpha, rtol=0.005, atol=0)
    assert abs(sum(weights) - 1) < 0.0015


@pytest.mark.parametrize("name", ["with", "without"])
def test_the_shares_are_those_of_gradient_paths(drawn, name):
    models, said = shipped(), texts(drawn, "superhighway.svg")
    found = norms({"with": models.attention, "without": models.vanilla}[name][500])
    whole = found["context"] + found["key"] + found["bridge"] + found["recurrent"]
    for t in range(6):
        shares = {path: found[path][t] / whole[t] for path in ("context", "key", "bridge", "recurrent")}
        printed = {path: said[f"{name}-{path}-{t + 1}"] for path in shares if f"{name}-{path}-{t + 1}" in said}
        assert {path for path, share in shares.items() if share > 0} == set(printed)
        assert all(abs(float(text) / shares[path] - 1) < 0.005 for path, text in printed.items())
        assert abs(sum(map(float, printed.values())) - 1) < 0.0025
        assert abs(float(said[f"{name}-total-{t + 1}"]) / found["total"][t] - 1) < 0.005


def test_what_the_page_says_of_the_paths_to_the_first_state(drawn):
    page = " ".join((DOCS / "superhighway.md").read_text(encoding="utf-8").split())
    said = texts(drawn, "superhighway.svg")
    context_and_key = float(said["with-context-1"]) + float(said["with-key-1"])
    assert f"context and key bring {context_and_key:.2f} of the sum of the norms" in page
    (entered,) = [text for text in said.values() if "entered by the bridge" in text]
    assert f"{100 * float(entered.split(': ')[1].split()[0]):.1f} % of the norm" in page


def test_the_words_of_the_bottleneck_are_what_the_models_write(drawn):
    models, said = shipped(), texts(drawn, "bottleneck.svg")
    for name, runs in (("with", models.attention), ("without", models.vanilla)):
        printed = [text for key, text in said.items() if key.startswith(f"{name}-word-")]
        assert " ".join(printed) == f"{runs[500].translate(models.text)} eos"


def test_a_label_writes_an_index_lower():
    drawn = ElementTree.fromstring(PROGRAM["label"](1, 2, "s_{u-1} < c_u"))
    assert "".join(drawn.itertext()) == "su−1 < cu"
    assert [each.get("dy") for each in drawn] == ["4", "-4", "4"]


def test_the_page_from_scores_to_a_context_prints_what_it_says():
    run_page("softmax_to_context.md")
