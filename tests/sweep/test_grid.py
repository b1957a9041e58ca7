import hashlib
import json
from pathlib import Path

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
    with pytest.raises(ValueError, match="^grid: expected different runs, got 'copy seed=0' more than once$"):
        names_of([TrainConfig("copy", out="a"), TrainConfig("copy")])


def test_files_of_one_name_in_two_folders(tmp_path, monkeypatch):
    configs = grid(task=str(tmp_path / "a.tsv"), dev=[tmp_path / "x/dev.tsv", tmp_path / "y/dev.tsv"], seed=range(2))
    names = names_of(configs)
    assert len(set(names)) == 4
    for name, config in zip(names, configs, strict=True):
        start, digest, seed = name.rsplit(" ", 2)
        assert (start, seed) == ("a dev=dev", f"seed={config.seed}")
        assert len(bytes.fromhex(digest)) == 4
    more = names_of(configs + grid(task=str(tmp_path / "a.tsv"), dev=tmp_path / "dev.tsv", seed=range(3)))
    assert more[:4] == names
    assert more[-1] == "a dev=dev seed=2"
    monkeypatch.chdir(tmp_path)
    relative = grid(task="a.tsv", dev=[Path("x/dev.tsv"), Path("y/dev.tsv")], seed=range(2))
    assert names_of(relative) == names
    with pytest.raises(ValueError, match="^grid: expected different runs, got 'a dev=dev seed=0' more than once$"):
        names_of(configs + relative)


def test_tasks_of_one_name_in_two_folders(tmp_path):
    names = names_of(grid(task=[str(tmp_path / "x/a.tsv"), str(tmp_path / "y/a.tsv")]))
    assert len(set(names)) == 2
    assert all(name.startswith("a ") and name.endswith(" seed=0") for name in names)


@pytest.mark.parametrize("letter", ["a", "\u4e2d", "\U00020000"])
def test_a_long_name_keeps_its_seed(tmp_path, letter):
    stems = [letter * (180 // len(letter.encode())) + end for end in ("1", "2")]
    configs = grid(task=str(tmp_path / "a.tsv"), dev=[tmp_path / f"{stem}.tsv" for stem in stems], seed=range(11))
    names = names_of(configs)
    assert len(set(names)) == len(configs)
    assert max(len(name.encode()) for name in names) <= 200
    assert all(name.endswith(f" seed={config.seed}") for name, config in zip(names, configs, strict=True))
    assert names_of(configs[::-1]) == names[::-1]


def test_the_longest_name_that_is_not_cut(tmp_path):
    names = names_of(grid(task=[str(tmp_path / ("a" * length + ".tsv")) for length in (193, 194)]))
    assert names[0] == "a" * 193 + " seed=0"
    assert names[1].startswith("a" * 184 + " ")
    assert len(names[1]) == 200


def test_a_digest_is_that_of_the_settings_that_are_not_left_open(tmp_path):
    task = str(tmp_path / ("a" * 250 + ".tsv"))
    (name,) = names_of([TrainConfig(task, seed=3, hidden_size=16, out=tmp_path, overwrite=True)])
    settings = json.dumps({"hidden_size": 16, "seed": 3, "task": task})
    assert name.endswith(f"a {hashlib.sha256(settings.encode()).hexdigest()[:8]} seed=3")
