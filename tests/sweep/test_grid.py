import pytest

from numpy_attention import TrainConfig
from numpy_attention.sweep import grid, names_of


def test_a_grid_is_every_combination():
    configs = grid(task=["copy", "reverse"], length=[5, (3, 10)], alignment=["additive", "none"], seed=range(3))
    assert len(configs) == 24
    assert len(set(configs)) == 24
    assert configs[0] == TrainConfig("copy", length=5, seed=0)
    assert configs[-1] == TrainConfig("reverse", length=(3, 10), alignment="none", seed=2)


def test_a_range_of_lengths_is_one_value():
    assert [config.length for config in grid(task="copy", length=(3, 10))] == [(3, 10)]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"task": "copy", "colour": 3}, "^grid: expected settings of a run .*, got 'colour'$"),
        ({"task": "copy", "out": "runs"}, "^grid: expected settings of a run .*, got 'out'$"),
        ({"length": 3}, "^grid: expected a task, got none$"),
        ({"task": [], "length": 3}, "^grid: expected a value of task, got none$"),
        ({"task": "copy", "seed": range(0)}, "^grid: expected a value of seed, got none$"),
        ({"task": "copy", "cell": ["tanh", "relu"]}, "^cell: expected one of tanh, gru, lstm, got 'relu'$"),
    ],
)
def test_an_impossible_grid(settings, message):
    with pytest.raises(ValueError, match=message):
        grid(**settings)


def test_names_hold_what_varies():
    configs = grid(task=["copy", "reverse"], length=[5, (3, 10)], hidden_size=16)
    names = ["copy length=5", "copy length=3-10", "reverse length=5", "reverse length=3-10"]
    assert names_of(configs) == [f"{name} seed=0" for name in names]
    assert names_of(configs[:1]) == ["copy seed=0"]


def test_names_leave_out_what_the_task_decides(tmp_path):
    configs = []
    for name in ("a", "b"):
        configs += grid(task=str(tmp_path / f"{name}.tsv"), dev=tmp_path / f"{name}-dev.tsv", seed=range(2))
    assert names_of(configs) == ["a seed=0", "a seed=1", "b seed=0", "b seed=1"]


def test_names_are_safe_as_folders(tmp_path):
    configs = grid(task=str(tmp_path / "a\x1b[31m?*.tsv"), dev=[tmp_path / "x/one.tsv", tmp_path / "two words.tsv"])
    assert names_of(configs) == ["a 31m dev=one seed=0", "a 31m dev=two words seed=0"]


def test_two_runs_of_one_name_are_refused():
    with pytest.raises(ValueError, match="^grid: expected different runs, got 'copy seed=0' more than once$"):
        names_of(grid(task="copy", length=[3, 3]))
