import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from numpy_attention import TrainConfig
from numpy_attention.training.config import CHOICES


def test_settings_survive_json():
    config = TrainConfig("copy", length=(2, 7), alignment="dot", bidirectional=True, out=Path("a"), clip=0.5, seed=3)
    assert TrainConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config
    assert TrainConfig.from_dict(TrainConfig("reverse").to_dict()) == TrainConfig("reverse")


def test_numpy_numbers_lists_and_text_paths_become_plain_ones():
    config = TrainConfig(
        "copy",
        length=[np.int64(2), np.int64(7)],
        hidden_size=np.int64(8),
        learning_rate=np.float32(0.5),
        bidirectional=np.True_,
        out="a/b",
    )
    assert config.length == (2, 7)
    assert {type(value) for value in (config.hidden_size, *config.length)} == {int}
    assert (type(config.learning_rate), config.bidirectional, config.out) == (float, True, Path("a/b"))
    json.dumps(config.to_dict())


def test_the_default_number_of_steps_grows_with_the_length_and_with_the_pairs(tmp_path):
    def settled(*arguments, **settings):
        config = TrainConfig(*arguments, **settings)
        return config.settled(config.data())

    steps = [settled("reverse", length=length).steps for length in (1, 10, 20, 50)]
    assert steps == sorted(set(steps))
    assert settled("reverse", steps=7).steps == 7
    assert settled("reverse", steps=7).warmup < 7
    assert [settled("copy", length=length).clip for length in (10, 100)] == [1.0, 1.0]
    assert settled("copy", length=50, clip=3).clip == 3.0
    assert settled("scan").clip == 1.0
    assert settled("scan").steps == 15 * 15_892 // 32


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("alignment", CHOICES["alignment"])
def test_every_alignment_fits_both_directions(alignment, bidirectional):
    model = TrainConfig("copy", alignment=alignment, bidirectional=bidirectional).model(9, 8)
    assert (model.alignment, model.bidirectional, model.hidden_size) == (alignment, bidirectional, 128)
    assert (model.source_vocabulary, model.target_vocabulary) == (9, 8)


def test_the_cell_and_its_forget_bias_reach_the_model():
    model = TrainConfig("copy", cell="lstm", forget_bias=np.float32(1.5)).model(9, 8)
    assert (model.cell, model.forget_bias, type(model.forget_bias)) == ("lstm", 1.5, float)
    assert (TrainConfig("copy").model(9, 8).cell, TrainConfig("copy").model(9, 8).forget_bias) == ("tanh", None)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"task": ""}, "task: expected a name or a file, got ''"),
        ({"task": ["copy"]}, "task: expected a name or a file, got ['copy']"),
        ({"length": 0}, "length: expected a whole number of at least 1, got 0"),
        ({"length": True}, "length: expected a whole number of at least 1, got True"),
        ({"length": (1, 2, 3)}, "length: expected a number or a pair of numbers, got (1, 2, 3)"),
        ({"length": "10"}, "length: expected a number or a pair of numbers, got '10'"),
        ({"length": (5, 3)}, "length: expected the shortest length first, got 5 3"),
        ({"steps": 0}, "steps: expected a whole number of at least 1, got 0"),
        ({"patience": 0}, "patience: expected a whole number of at least 1, got 0"),
        ({"batch_size": 1.5}, "batch_size: expected a whole number of at least 1, got 1.5"),
        ({"learning_rate": 0.0}, "learning_rate: expected a number above 0, got 0.0"),
        ({"learning_rate": True}, "learning_rate: expected a number above 0, got True"),
        ({"learning_rate": float("nan")}, "learning_rate: expected a number above 0, got nan"),
        ({"clip": float("inf")}, "clip: expected a number above 0, got inf"),
        ({"weight_decay": -1}, "weight_decay: expected a number of at least 0, got -1"),
        ({"dropout": 1.0}, "dropout: expected a number of at least 0 and below 1, got 1.0"),
        ({"label_smoothing": -0.1}, "label_smoothing: expected a number of at least 0 and below 1, got -0.1"),
        ({"seed": -1}, "seed: expected a whole number of at least 0, got -1"),
        ({"dtype": "float16"}, "dtype: expected one of float32, float64, got 'float16'"),
        ({"optimizer": "lion"}, "optimizer: expected one of adam, sgd, got 'lion'"),
        ({"tokens": "bytes"}, "tokens: expected one of words, characters, got 'bytes'"),
        ({"alignment": "cosine"}, f"alignment: expected one of {', '.join(CHOICES['alignment'])}, got 'cosine'"),
        ({"cell": "elman"}, f"cell: expected one of {', '.join(CHOICES['cell'])}, got 'elman'"),
        ({"cell": "lstm", "forget_bias": "much"}, "forget_bias: expected a finite number, got 'much'"),
        ({"hidden_size": 0}, "hidden_size: expected a whole number of at least 1, got 0"),
        ({"bidirectional": "no"}, "bidirectional: expected True or False, got 'no'"),
        ({"overwrite": "no"}, "overwrite: expected True or False, got 'no'"),
        ({"out": 5}, "out: expected a path, got 5"),
        (
            {"hidden_size": 5, "bidirectional": True},
            "hidden_size: expected an even number for two directions of half its size, got 5",
        ),
    ],
)
def test_impossible_settings(arguments, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        TrainConfig(**({"task": "copy"} | arguments))


def test_a_task_that_is_neither_a_name_nor_a_file():
    expected = (
        "task: expected one of copy, reverse, scan, scan-length, scan-jump, or a file of pairs; there is no file sort"
    )
    with pytest.raises(ValueError, match=f"^{re.escape(expected)}$"):
        TrainConfig("sort").data()


def test_a_dict_that_holds_no_settings():
    message = r"^config: this version has no setting colour, taste; was a later one used\?$"
    with pytest.raises(ValueError, match=message):
        TrainConfig.from_dict({"task": "copy", "taste": 1, "colour": "red"})
    with pytest.raises(ValueError, match="^config: expected the settings of a run, got no task$"):
        TrainConfig.from_dict({})


def test_the_name_of_a_run():
    assert [TrainConfig(task).name for task in ("copy", "scan", "data/en-de.tsv", "pairs.txt")] == [
        "copy", "scan", "en-de", "pairs"
    ]  # fmt: skip


def test_activations_are_computed_again_where_they_would_fill_a_quarter_of_the_free_memory(monkeypatch):
    config = TrainConfig("copy", length=100, batch_size=100, alignment_size=100)
    size = 100 * 100 * 101 * 100 * 4
    for free, again in [(4 * size - 1, True), (4 * size + 1, False), (np.inf, False)]:
        monkeypatch.setattr("numpy_attention.training.config.free_memory", lambda free=free: free)
        assert config.settled(config.data()).recompute is again
        assert replace(config, recompute=False).settled(config.data()).recompute is False
        assert replace(config, alignment="dot").settled(config.data()).recompute is False
