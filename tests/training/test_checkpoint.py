import io
import json
import pickle
import re

import numpy as np
import pytest

from numpy_attention import Evaluation, Run, TrainConfig, load_run
from numpy_attention.training.checkpoint import FILE, prepare_folder, save_run


@pytest.fixture
def run(tmp_path):
    config = TrainConfig("reverse", symbols=4, hidden_size=6, embedding_size=3, alignment_size=5, out=tmp_path / "run")
    folder = prepare_folder(config)
    params = config.model().init(0, np.float32)
    run = Run(config.settled(), params, config.make_task().vocabulary, 12, Evaluation(0.5, 0.75, 0.25), folder)
    save_run(run)
    return run


def test_a_run_comes_back_as_it_was(run):
    back = load_run(run.folder)
    assert (back.config, back.vocabulary, back.step, back.evaluation) == (
        run.config, run.vocabulary, run.step, run.evaluation
    )  # fmt: skip
    assert list(back.params) == list(run.params)
    for name, value in run.params.items():
        np.testing.assert_array_equal(back.params[name], value)
        assert back.params[name].dtype == value.dtype
    assert [path.name for path in run.folder.iterdir()] == [FILE]


def test_a_run_translates_words(run):
    found = run.translate("a b c d")
    assert found.source == ["a", "b", "c", "d"]
    assert str(found) == " ".join(found.words)
    assert found.attention.shape == (len(found.words) + found.finished, 4)
    assert run.translate(["a", "b"]).source == ["a", "b"]
    with pytest.raises(ValueError, match="^words: expected words of the vocabulary, such as 'd', got 'x'$"):
        run.translate("a x")
    with pytest.raises(ValueError, match="^text: expected at least one word, got none$"):
        run.translate("  ")


def damage(folder, **changes):
    with np.load(folder / FILE) as arrays:
        kept = dict(arrays)
    metadata = json.loads(str(kept["metadata"]))
    metadata.update(changes.pop("metadata", {}))
    kept["metadata"] = np.array(json.dumps(metadata))
    kept.update(changes)
    kept = {name: value for name, value in kept.items() if value is not None}
    np.savez(folder / FILE, **kept)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"bridge.W": None}, "bridge.W"),
        ({"bridge.W": np.zeros((2, 2), np.float32)}, "params: expected bridge.W of shape (6, 6), got shape (2, 2)"),
        ({"bridge.b": np.full(6, np.nan, np.float32)}, "params: expected finite values, bridge.b[0] is nan"),
        ({"metadata": {"format": 99}}, "its format is 99, this version reads 1"),
        ({"metadata": {"config": {"task": "copy", "colour": 1}}}, "config: expected the settings of a run, got colour"),
        ({"metadata": {"words": ["a"]}}, "words: expected <pad>, <bos>, <eos> first, got a"),
        ({"metadata": {"words": ["<pad>", "<bos>", "<eos>", "a"]}}, "words: expected one per token id (7), got 4"),
    ],
)
def test_a_file_that_does_not_fit_its_own_settings(run, changes, reason):
    damage(run.folder, **changes)
    with pytest.raises(ValueError, match=f"^folder: cannot read .*{re.escape(FILE)}: .*{re.escape(reason)}"):
        load_run(run.folder)


def test_a_truncated_or_foreign_file_and_no_file(run, tmp_path):
    whole = (run.folder / FILE).read_bytes()
    array = io.BytesIO()
    np.save(array, np.zeros(3))
    for content in (whole[:-100], whole[:50], b"", b"hello", array.getvalue()):
        (run.folder / FILE).write_bytes(content)
        with pytest.raises(ValueError, match="^folder: cannot read "):
            load_run(run.folder)
    with pytest.raises(ValueError, match="^folder: expected a run, there is no "):
        load_run(tmp_path)


class Trap:
    def __reduce__(self):
        return (pytest.fail, ("something from the file was executed",))


def test_nothing_in_a_file_is_executed(run):
    (run.folder / FILE).write_bytes(pickle.dumps(Trap()))
    with pytest.raises(ValueError, match="^folder: cannot read "):
        load_run(run.folder)
    np.savez(run.folder / FILE, metadata=np.array([Trap()], dtype=object))
    with pytest.raises(ValueError, match="^folder: cannot read "):
        load_run(run.folder)


def test_a_run_that_cannot_be_written_leaves_the_old_one(run, monkeypatch):
    monkeypatch.setattr("os.fsync", lambda number: (_ for _ in ()).throw(OSError("No space left on device")))
    with pytest.raises(OSError, match="No space left"):
        save_run(run)
    monkeypatch.undo()
    assert load_run(run.folder).step == run.step


def test_a_folder_with_something_in_it_is_not_overwritten_without_being_asked(tmp_path):
    folder = tmp_path / "run"
    config = TrainConfig("copy", out=folder)
    assert prepare_folder(config) == folder
    assert prepare_folder(config) == folder  # empty
    (folder / "notes.txt").write_text("mine")
    with pytest.raises(FileExistsError, match="^out: .*run has something in it; name another folder"):
        prepare_folder(config)
    assert prepare_folder(TrainConfig("copy", out=folder, overwrite=True)) == folder
    assert (folder / "notes.txt").read_text() == "mine"
    with pytest.raises(FileExistsError, match="^out: expected a folder, .*notes.txt is a file$"):
        prepare_folder(TrainConfig("copy", out=folder / "notes.txt"))


def test_the_first_free_name_is_taken(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = [str(prepare_folder(TrainConfig("copy"))) for _ in range(3)]
    assert names == ["runs/copy", "runs/copy-2", "runs/copy-3"]
