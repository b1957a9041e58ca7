import numpy as np
import pytest

from numpy_attention import Batch, Seq2Seq
from numpy_attention.superhighway.figures import NAMES, draw_lengths, draw_paths, gates_figures, study_figures
from numpy_attention.superhighway.study import study_length, study_one, study_paths

MODEL = Seq2Seq(8, 8, embedding_size=4, hidden_size=5)
WORDS = {"source": ["a", "b", "c"], "output": ["c", "$$", "a", "<eos>"]}


def batch_of(length):
    tokens = np.random.default_rng(0).integers(3, 8, (2, length)).tolist()
    return Batch.from_sequences(tokens, tokens)


def names_in(figure):
    legends = figure.legends or [axes.get_legend() for axes in figure.axes]
    return {text.get_text() for legend in legends for text in legend.get_texts()}


def test_the_figures_say_what_the_tables_say():
    batch = batch_of(3)
    found = {"paths": {}, **WORDS}
    for (kind, when), job in study_one(MODEL, MODEL.init(0), batch, seed=0).items():
        found.setdefault(kind, {})[when] = job()
    figures = study_figures(found)
    assert NAMES["bottleneck"] in names_in(figures["paths-training"])
    for figure in figures.values():
        shown = [names_in(figure)] if figure.legends or figure.axes[0].get_legend() else []
        assert not set().union(*shown) & set(NAMES)
    assert names_in(figures["training"]) == {"with attention", "attention cut out"}


@pytest.mark.parametrize("alignment", ["additive", "none"])
def test_the_map_is_logarithmic_and_named_by_the_words_of_its_sequence(alignment):
    model = Seq2Seq(8, 8, embedding_size=4, hidden_size=5, alignment=alignment)
    study = study_paths(model, [model.init(0)], batch_of(3))
    figure = draw_paths(study, "at initialisation", **WORDS)["map"]
    assert figure.axes[0].images[0].norm.__class__.__name__ == "LogNorm"
    labels = ["norm, logarithmic", "share of the row's largest", "attention weight"]
    assert [axes.get_ylabel() for axes in figure.axes[1::2]] == labels[: 3 if alignment == "additive" else 2]
    assert [label.get_text() for label in figure.axes[2].get_yticklabels()] == ["c 1", "$$ 2", "a 3", "<eos> 4"]


def test_every_length_has_a_panel_with_a_scale_of_its_own():
    rows = {length: study_length(MODEL, batch_of(length), [0]) for length in (2, 3, 40)}
    panels = draw_lengths(rows)["profiles"].axes
    assert [axes.get_title() for axes in panels] == ["length 2", "length 3", "length 40"]
    assert panels[0].get_ylim()[0] > 100 * panels[2].get_ylim()[0]


def test_the_gates_of_each_cell_have_panels_of_their_own():
    def row(gates):
        profile = {"norms": np.ones((3, 4)), "gates": np.full((3, 4), gates)}
        return {"attention": profile, "vanilla": profile}

    rows = {"tanh": row(0.0)} | {f"{cell}, bias {bias}": row(0.5) for cell in ("gru", "lstm") for bias in (0, 1, 3)}
    figure = gates_figures({"gates": {"at initialisation": rows, "after training": rows}})["gates"]
    assert [axes.get_title() for axes in figure.axes[:4]] == [
        f"{cell} at initialisation,\n{model} attention" for cell in ("gru", "lstm") for model in ("without", "with")
    ]
    assert [len(axes.lines) for axes in figure.axes] == [7] * 8
    assert names_in(figure) == {"tanh", "bias 0", "bias 1", "bias 3"}
    colours = [axes.lines[0].get_color() for axes in figure.axes]
    assert len(set(colours)) == 1
