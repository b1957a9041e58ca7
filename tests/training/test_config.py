import json
import re
from pathlib import Path

import pytest

from numpy_attention import TrainConfig


def test_settings_survive_json():
    config = TrainConfig("copy", length=(2, 7), alignment="dot", bidirectional=True, out=Path("a"), clip=0.5, seed=3)
    assert TrainConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config
    assert TrainConfig.from_dict(TrainConfig("reverse").to_dict()) == TrainConfig("reverse")


def test_the_default_number_of_steps_grows_with_the_length():
    steps = [TrainConfig("reverse", length=length).settled().steps for length in (1, 10, 20, 50)]
    assert steps == sorted(set(steps))
    assert TrainConfig("reverse", steps=7).settled().steps == 7
    assert TrainConfig("reverse", steps=7).settled().warmup < 7


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("alignment", ["additive", "stacked", "dot", "none"])
def test_every_alignment_fits_both_directions(alignment, bidirectional):
    model = TrainConfig("copy", alignment=alignment, bidirectional=bidirectional).model()
    assert (model.alignment, model.bidirectional, model.hidden_size) == (alignment, bidirectional, 128)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"task": "sort"}, "task: expected one of copy, reverse, got 'sort'"),
        ({"length": 0}, "length: expected whole numbers of at least 1, got 0 0"),
        ({"length": (1, 2, 3)}, "length: expected a number or a pair of numbers, got (1, 2, 3)"),
        ({"length": "10"}, "length: expected a number or a pair of numbers, got '10'"),
        ({"steps": 0}, "steps: expected a whole number of at least 1, got 0"),
        ({"batch_size": 1.5}, "batch_size: expected a whole number of at least 1, got 1.5"),
        ({"learning_rate": 0.0}, "learning_rate: expected a number above 0, got 0.0"),
        ({"learning_rate": float("nan")}, "learning_rate: expected a number above 0, got nan"),
        ({"clip": float("inf")}, "clip: expected a number above 0, got inf"),
        ({"seed": -1}, "seed: expected a whole number of at least 0, got -1"),
        ({"dtype": "float16"}, "dtype: expected one of float32, float64, got 'float16'"),
        ({"optimizer": "lion"}, "optimizer: expected one of adam, sgd, got 'lion'"),
        ({"alignment": "cosine"}, "alignment: expected one of additive, stacked, dot, none, got 'cosine'"),
        ({"hidden_size": 0}, "hidden_size: expected a whole number of at least 1, got 0"),
        (
            {"hidden_size": 5, "bidirectional": True},
            "hidden_size: expected an even number for two directions of half its size, got 5",
        ),
    ],
)
def test_impossible_settings(arguments, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        TrainConfig(**({"task": "copy"} | arguments))


def test_a_dict_that_holds_no_settings():
    with pytest.raises(ValueError, match="^config: expected the settings of a run, got colour$"):
        TrainConfig.from_dict({"task": "copy", "colour": "red"})
    with pytest.raises(ValueError, match="^config: expected the settings of a run, got no task$"):
        TrainConfig.from_dict({})
