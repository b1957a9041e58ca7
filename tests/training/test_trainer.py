import json

import numpy as np
import pytest

from numpy_attention import TrainConfig, load_run, train
from numpy_attention.training import trainer
from numpy_attention.training.checkpoint import FILE

SMALL = {"length": 4, "symbols": 6, "hidden_size": 32, "embedding_size": 16, "alignment_size": 16, "steps": 200}


class Watch:
    """Progress that remembers what it was told."""

    def __init__(self):
        self.steps, self.evaluations, self.config = [], [], None

    def started(self, config, model):
        self.config = config

    def stepped(self, step):
        self.steps.append(step)

    def evaluated(self, step, evaluation):
        self.evaluations.append((step.number, evaluation))


@pytest.mark.parametrize(("task", "alignment"), [("reverse", "additive"), ("copy", "additive"), ("copy", "dot")])
def test_a_short_run_learns_the_task(task, alignment, tmp_path):
    run = train(TrainConfig(task, **SMALL, alignment=alignment, learning_rate=1e-2, out=tmp_path), None)
    assert run.evaluation.sequence_accuracy >= 0.95
    assert run.evaluation.token_accuracy >= 0.98
    found = run.translate("a b c d")
    assert str(found) == {"reverse": "d c b a", "copy": "a b c d"}[task]


def test_stochastic_gradient_descent_learns_too(tmp_path):
    settings = SMALL | {"length": (1, 3), "optimizer": "sgd", "learning_rate": 0.5, "out": tmp_path}
    assert train(TrainConfig("copy", **settings), None).evaluation.sequence_accuracy >= 0.9


def test_the_same_seed_gives_the_same_bits_twice_and_another_seed_others(tmp_path):
    runs = [
        train(TrainConfig("reverse", **SMALL | {"steps": 20}, seed=seed, out=tmp_path / name), None)
        for seed, name in ((0, "a"), (0, "b"), (1, "c"))
    ]
    for name, value in runs[0].params.items():
        np.testing.assert_array_equal(value, runs[1].params[name])
        if not name.endswith(".b"):
            assert (value != runs[2].params[name]).any(), name
    assert runs[0].evaluation == runs[1].evaluation != runs[2].evaluation


def test_what_is_told_and_what_is_saved(tmp_path):
    watch = Watch()
    run = train(TrainConfig("copy", **SMALL | {"steps": 25}, out=tmp_path, dtype="float64"), watch)
    assert [step.number for step in watch.steps] == list(range(1, 26))
    assert [number for number, _ in watch.evaluations][-1] == 25
    assert watch.config == run.config
    assert watch.evaluations[-1][1] == run.evaluation
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [line["number"] for line in lines] == [number for number, _ in watch.evaluations]
    assert lines[-1]["held_out"]["sequence_accuracy"] == run.evaluation.sequence_accuracy
    back = load_run(tmp_path)
    assert back.evaluation == run.evaluation
    assert {value.dtype for value in back.params.values()} == {np.dtype(np.float64)}
    for name, value in run.params.items():
        np.testing.assert_array_equal(back.params[name], value)


def test_lines_say_how_far_it_is(tmp_path, capsys):
    train(TrainConfig("reverse", **SMALL | {"steps": 10}, out=tmp_path))
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("reverse, length 4, 6 symbols: alignment additive, ")
    assert lines[-1].startswith("step    10  loss ")


def test_a_loss_that_is_no_longer_finite_stops_the_run_and_the_last_good_one_stays(tmp_path, monkeypatch):
    watch, healthy = Watch(), trainer.clip_by_global_norm

    def poisoned(gradient, limit):
        if len(watch.steps) == 15:
            gradient[:] = np.nan
        return healthy(gradient, limit)

    monkeypatch.setattr(trainer, "clip_by_global_norm", poisoned)
    with pytest.raises(FloatingPointError, match=r"^step 16: .* no longer finite; try a smaller learning rate$"):
        train(TrainConfig("copy", **SMALL | {"steps": 20}, out=tmp_path), watch)
    assert load_run(tmp_path).step == 14
    assert (tmp_path / FILE).exists()


def test_a_folder_that_is_taken_is_refused_before_anything_is_done(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    watch = Watch()
    with pytest.raises(FileExistsError, match="has something in it"):
        train(TrainConfig("copy", **SMALL, out=tmp_path), watch)
    assert watch.config is None
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_flat_vector_and_views_share_memory():
    arrays = {"a": np.arange(6.0).reshape(2, 3), "b": np.arange(2.0)}
    flat = trainer.flatten(arrays)
    parts = trainer.views(flat, arrays)
    flat += 1
    assert list(parts) == ["a", "b"]
    np.testing.assert_array_equal(parts["a"], arrays["a"] + 1)
    np.testing.assert_array_equal(parts["b"], arrays["b"] + 1)
