import json
import re
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest

from numpy_attention import Batch, Seq2Seq
from numpy_attention._json import plain
from numpy_attention.data.tasks import Task
from numpy_attention.ops.cells import CELLS
from numpy_attention.superhighway import study as module
from numpy_attention.superhighway.paths import context_by_decoder_steps, gradient_by_target, gradient_paths
from numpy_attention.superhighway.profile import compare, fit_decay, gradient_profile, without_attention
from numpy_attention.superhighway.study import (
    AFTER,
    BEFORE,
    PathStudy,
    attention_breadth,
    describe,
    describe_comparison,
    double,
    held_out_batch,
    radius_length,
    study_initial,
    study_length,
    study_one,
    study_paths,
    study_trained,
)

MODEL = Seq2Seq(8, 8, embedding_size=4, hidden_size=5)


def batch_of(length, rows=5):
    tokens = np.random.default_rng(0).integers(3, 8, (rows, length)).tolist()
    return Batch.from_sequences(tokens, tokens)


def test_a_study_is_the_quartiles_over_sequences_and_draws():
    batch, draws = batch_of(4), [MODEL.init(seed) for seed in range(3)]
    study = study_paths(MODEL, draws, batch)
    norms = {name: [] for name in study.paths}
    for params in draws:
        paths = gradient_paths(MODEL, params, batch)
        for name, part in ((name, getattr(paths, name)) for name in norms):
            # The batch's loss is the mean over its sequences, all of the same length: each has a fifth of it.
            norms[name].append(np.linalg.norm(part, axis=2) * len(part))
    for name, found in study.paths.items():
        pooled = np.sort(np.concatenate(norms[name]), axis=0)
        assert len(pooled) == 15
        np.testing.assert_allclose(found[1], pooled[7], rtol=1e-12, atol=1e-18)
        assert (found[0] <= found[1]).all()
        assert (found[1] <= found[2]).all()
    first = Batch.from_sequences(batch.source[:1].tolist(), batch.source[:1].tolist())
    expected = np.linalg.norm(gradient_by_target(MODEL, draws[0], first)[:, 0], axis=2)
    np.testing.assert_allclose(study.map, expected, rtol=1e-12)
    np.testing.assert_allclose(study.attention.sum(axis=1), 1)


def test_the_shares_of_the_context_path_are_those_of_its_steps():
    batch, params = batch_of(4, rows=1), MODEL.init(0)
    study, by_steps = study_paths(MODEL, [params], batch), context_by_decoder_steps(MODEL, params, batch)
    own, later, whole = (
        np.linalg.norm(part.ravel()) for part in (by_steps[0], by_steps[1:].sum(axis=0), by_steps.sum(axis=0))
    )
    np.testing.assert_allclose(study.context_shares["own loss"], own / whole)
    np.testing.assert_allclose(study.context_shares["later losses"], later / whole)
    norms = np.array([np.linalg.norm(part.ravel()) for part in by_steps])
    np.testing.assert_allclose(study.decoder_steps[1], norms)
    np.testing.assert_allclose(study.mean_decoder_steps, (norms @ np.arange(5)) / norms.sum())


def test_at_the_first_position_only_the_longest_way_leads_from_the_bridge():
    study = study_paths(MODEL, [MODEL.init(0)], batch_of(4))
    np.testing.assert_array_equal(study.encoder_steps["bottleneck"], np.full((3, 4), [3.0, 2.0, 1.0, 0.0]))
    assert (study.reach_first["bottleneck"] > 0).tolist() == [[False, False, False, True]] * 3
    assert (study.reach_first["superhighway"] > 0).all()


@pytest.mark.parametrize("alignment", ["additive", "none"])
@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("cell", CELLS)
def test_one_position_one_sequence_and_no_attention_work(alignment, bidirectional, cell):
    model = Seq2Seq(8, 8, embedding_size=4, hidden_size=5, alignment=alignment, bidirectional=bidirectional, cell=cell)
    study = study_paths(model, [model.init(0)], batch_of(1, rows=1))
    assert study.map.shape == (2, 1)
    assert ("cell" in study.paths) == (cell == "lstm")
    assert study.attention.shape == ((2, 1) if alignment == "additive" else (0, 1))
    np.testing.assert_allclose(study.breadth, 1 if alignment == "additive" else np.nan)
    json.dumps(plain({field.name: getattr(study, field.name) for field in fields(PathStudy)}), allow_nan=False)


def test_bad_input_is_one_clear_line():
    with pytest.raises(ValueError, match="^draws: expected at least one set of parameters, got none$"):
        study_paths(MODEL, [], batch_of(3))
    with pytest.raises(ValueError, match="^batch: expected sources of one length, got padded ones$"):
        study_paths(MODEL, [MODEL.init(0)], Batch.from_sequences([[3], [3, 4]], [[3], [4]]))


def test_the_breadth_of_attention():
    uniform, one, half = np.full(8, 1 / 8), np.eye(8)[3], np.repeat([0.25, 0], 4)
    np.testing.assert_allclose(attention_breadth(np.array([[uniform, one, half]])), [1, 1 / 8, 1 / 2])
    assert np.isnan(attention_breadth(np.zeros((0, 2, 8)))).all()


def test_descriptions():
    batch = batch_of(6)
    comparison = compare(MODEL, batch, [0, 1])
    found = describe_comparison(comparison)
    assert found["first_ratio"][1] in np.sort(comparison.first_ratio)[4:6]  # ten in all
    for name in ("attention", "vanilla"):
        norms = getattr(comparison, name)
        expected = np.sort(fit_decay(norms).rate)
        assert found[name]["rate"][1] in expected[4:6]
        assert found[name]["norms"].shape == (3, 6)
    assert describe(np.array([[1.0]]))["norms"].tolist() == [[1.0]] * 3


def test_the_study_of_a_length_is_one_comparison_and_what_enters():
    batch, seeds = batch_of(6), [0, 1]
    found = study_length(MODEL, batch, seeds)
    expected = describe_comparison(compare(MODEL, batch, seeds))
    for name in ("attention", "vanilla"):
        np.testing.assert_array_equal(found[name]["norms"], expected[name]["norms"])
    vanilla = np.concatenate([gradient_profile(*without_attention(MODEL, MODEL.init(s)), batch) for s in seeds])
    assert found["vanilla"]["norms"][1, 0] in vanilla[:, 0]
    assert 0 < found["context"][1] < found["bridge"][1]


def test_sequences_of_one_length_that_training_never_sees():
    task = Task("reverse", symbols=4, lengths=(2, 6))
    batch = held_out_batch(task, 5, 3)
    assert batch.source.shape == (3, 5)
    assert batch.source_mask.all()
    assert batch.source.tolist() == replace(task, lengths=(5, 5)).held_out.sources[:3]
    np.testing.assert_array_equal(batch.target_output[:, :5], batch.source[:, ::-1])


def test_the_jobs_of_a_study_measure_what_their_names_say():
    jobs = study_initial(MODEL, [0, 1], batch_of, 4, [6, 3, 6], [0.5])
    assert list(jobs) == [("paths", BEFORE), ("lengths", 3), ("lengths", 6), ("radii", 0.5)]
    assert jobs["lengths", 3]()["vanilla"]["norms"].shape == (3, 3)
    expected = describe_comparison(compare(MODEL, batch_of(6), [0, 1], radius=0.5))
    np.testing.assert_array_equal(jobs["radii", 0.5]()["first_ratio"], expected["first_ratio"])
    assert radius_length([3, 700]) == 50


def test_trained_models_are_measured_at_their_first_parameters_and_their_last():
    single = {name: value.astype(np.float32) for name, value in MODEL.init(5).items()}
    vanilla, values = without_attention(MODEL, MODEL.init(6))
    jobs, batch = study_trained((MODEL, single), (vanilla, values), batch_of(4), seed=0), batch_of(4)
    before, after = (jobs["profiles", when]() for when in (BEFORE, AFTER))
    for name, model, params, found in (
        ("attention", MODEL, MODEL.init(0), before), ("vanilla", vanilla, vanilla.init(0), before),
        ("attention", MODEL, double(single), after), ("vanilla", vanilla, values, after),
        ("attention cut out", vanilla, without_attention(MODEL, double(single))[1], after),
    ):  # fmt: skip
        np.testing.assert_array_equal(found[name]["norms"], describe(gradient_profile(model, params, batch))["norms"])
    alone = study_one(MODEL, single, batch, seed=0)
    np.testing.assert_array_equal(alone["profiles", AFTER]()["attention"]["norms"], after["attention"]["norms"])
    assert list(study_one(vanilla, values, batch, seed=0)["profiles", AFTER]()) == ["vanilla"]


def test_the_room_knows_nothing_of_training_and_of_the_command_line():
    for file in Path(module.__file__).parent.glob("*.py"):
        imported = re.findall(r"^from (\.\S+)", file.read_text(encoding="utf-8"), re.MULTILINE)
        assert not [name for name in imported if name.startswith(("..training", "..cli", "..run"))]
