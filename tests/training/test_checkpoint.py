import json
import re
import tracemalloc
import warnings
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from numpy_attention import Evaluation, TrainConfig, resume, train
from numpy_attention.training.archive import Archive
from numpy_attention.training.checkpoint import FILE, Checkpoint, load_checkpoint, prepare_folder, save_checkpoint
from numpy_attention.training.step import flatten


@pytest.fixture
def saved(tmp_path):
    config = TrainConfig(
        "reverse",
        symbols=4,
        hidden_size=6,
        embedding_size=3,
        alignment_size=5,
        patience=2,
        steps=500,
        out=tmp_path / "run",
    )
    data = config.data()
    folder = prepare_folder(config)
    params = config.model(7, 7).init(0, np.float32)
    rng = np.random.default_rng(0)
    checkpoint = Checkpoint(
        config=config.settled(data),
        source_vocabulary=data.source_vocabulary,
        target_vocabulary=data.target_vocabulary,
        params=params,
        optimizer={name: rng.random(flatten(params).size, np.float32) for name in ("mean", "square")},
        step=12,
        seconds=3.5,
        evaluations=[(6, Evaluation(0.5, 0.75, 0.25)), (12, Evaluation(0.4, 0.7, 0.2))],
        test=Evaluation(0.1, 0.9, 0.8),
        best={name: value + 1 for name, value in params.items()},
        asked=config,
    )
    save_checkpoint(folder, checkpoint)
    return folder, checkpoint


def test_a_checkpoint_comes_back_as_it_was(saved):
    folder, checkpoint = saved
    back = load_checkpoint(folder)
    told = "config", "source_vocabulary", "target_vocabulary", "step", "seconds", "evaluations", "test", "asked"
    for name in told:
        assert getattr(back, name) == getattr(checkpoint, name), name
    for name in ("params", "best", "optimizer"):
        assert list(getattr(back, name)) == list(getattr(checkpoint, name))
        for key, value in getattr(checkpoint, name).items():
            np.testing.assert_array_equal(getattr(back, name)[key], value)
            assert getattr(back, name)[key].dtype == value.dtype
    assert [path.name for path in folder.iterdir()] == [FILE]
    save_checkpoint(folder, replace(checkpoint, best=None, test=None, asked=None))
    back = load_checkpoint(folder)
    assert (back.best, back.test, back.asked) == (None, None, None)


def damage(folder, **changes):
    with np.load(folder / FILE) as arrays:
        kept = dict(arrays)
    metadata = json.loads(kept["metadata"].tobytes())
    metadata.update(changes.pop("metadata", {}))
    kept["metadata"] = np.frombuffer(json.dumps(metadata).encode(), np.uint8)
    kept.update(changes)
    np.savez(folder / FILE, **{name: value for name, value in kept.items() if value is not None})


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"bridge.W": None}, "bridge.W is missing"),
        ({"bridge.W": np.zeros((2, 2), np.float32)}, "expected bridge.W of shape (6, 6) and float32, got (2, 2) float32"),
        ({"bridge.W": np.zeros((6, 6))}, "expected bridge.W of shape (6, 6) and float32, got (6, 6) float64"),
        ({"bridge.b": np.full(6, np.nan, np.float32)}, "params: expected finite values, bridge.b[0] is nan"),
        ({"best:bridge.b": None}, "best:bridge.b is missing"),
        ({"optimizer:mean": np.zeros(3, np.float32)}, "expected optimizer:mean of shape"),
        ({"metadata": {"format": 99}}, "expected format 1, the latest that this version knows, got 99"),
        ({"metadata": {"step": "x"}}, "step: expected a whole number of at least 0, got 'x'"),
        ({"metadata": {"config": {"task": "copy", "colour": 1}}}, "config: this version has no setting colour; was a later one used?"),
        ({"metadata": {"source_words": ["a"]}}, "words: expected <pad>, <bos>, <eos> first, got 'a'"),
        ({"metadata": {"source_words": ["<pad>", "<bos>", "<eos>", "a"]}}, "expected source_embedding of shape (4, 3)"),
        ({"metadata": {"evaluations": [[1, {"loss": "much"}]]}}, "evaluations: expected a list of steps and figures"),
        ({"metadata": {"evaluations": 5}}, "evaluations: expected a list of steps and figures, got 5"),
        ({"metadata": {"evaluations": []}}, "with 0 evaluations cannot be"),
        ({"metadata": {"step": 10**6}}, "step 1000000 of 500 with 2 evaluations cannot be"),
        ({"metadata": {"source_words": 5}}, "source_words: expected a list of words, got 5"),
        ({"metadata": {"source_words": ["<pad>", "\ud800"]}}, "source_words: expected a list of words"),
        ({"metadata": {"seconds": True}}, "seconds: expected a number of at least 0, got True"),
        ({"metadata": {"seconds": float("nan")}}, "seconds: expected a number of at least 0, got nan"),
        ({"metadata": {"seconds": -1}}, "seconds: expected a number of at least 0, got -1"),
        ({"metadata": {"format": True}}, "expected format 1, the latest that this version knows, got True"),
        ({"metadata": {"format": "\x1b[31mred"}}, r"got '\x1b[31mred'"),
        ({"metadata": {"step": True}}, "step: expected a whole number of at least 0, got True"),
        ({"metadata": {"best": 1}}, "best: expected true or false, got 1"),
        ({"metadata": {"asked": 1}}, "asked: expected a table of settings, or null, got 1"),
        ({"metadata": {"asked": {"task": "copy", "colour": 1}}}, "config: this version has no setting colour"),
        ({"metadata": {"lengths": [3, 1]}}, "lengths: expected a shortest and a longest length, or null, got [3, 1]"),
        ({"metadata": {"evaluations": [], "best": False, "step": 500}}, "step 500 of 500 with 0 evaluations cannot be"),
        ({"metadata": {"config": {"task": "reverse", "symbols": 4, "steps": 500}}}, "clip: expected a number above 0, got None"),
        ({"metadata": {"format": [[]] * 10**5}}, "its metadata has more parts than a run with these vocabularies has"),
    ],
)  # fmt: skip
def test_a_file_that_does_not_fit_its_own_settings(saved, changes, reason):
    folder, _ = saved
    damage(folder, **changes)
    with pytest.raises(ValueError, match=f"^run: cannot read .*{re.escape(FILE)}: .*{re.escape(reason)}"):
        load_checkpoint(folder)


@pytest.mark.parametrize(("name", "value"), [("mean", np.inf), ("square", np.nan), ("square", -1.0)])
def test_a_memory_of_the_optimiser_that_cannot_be(saved, name, value):
    folder, checkpoint = saved
    damage(folder, **{f"optimizer:{name}": np.full_like(checkpoint.optimizer[name], value)})
    with pytest.raises(ValueError, match=f"optimizer:{name} holds impossible numbers"):
        load_checkpoint(folder)


def test_a_run_of_an_older_version_without_a_setting_has_its_default(saved):
    folder, checkpoint = saved
    settings = checkpoint.config.to_dict()
    del settings["recompute"], settings["workers"], settings["cell"], settings["forget_bias"]
    damage(folder, metadata={"config": settings})
    assert load_checkpoint(folder).config == replace(checkpoint.config, recompute=None, workers=None)
    assert load_checkpoint(folder).model.cell == "tanh"


def test_hostile_metadata_take_little_memory_and_are_refused(saved):
    folder, _ = saved
    damage(folder, **{"metadata": {"note": 1}})
    with np.load(folder / FILE) as arrays:
        kept = dict(arrays)
    for text in (b"[" * (1 << 24), b"[" + b"[]," * (1 << 23) + b"[]]"):
        kept["metadata"] = np.frombuffer(text, np.uint8)
        np.savez(folder / FILE, **kept)
        tracemalloc.start()
        with pytest.raises(ValueError, match="its metadata has more parts than a run with these vocabularies has"):
            load_checkpoint(folder)
        assert tracemalloc.get_traced_memory()[1] < 5 * len(text)
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("name", "reason"),
    [("bridge.W.npy", "there twice"), ("../evil.npy", "names of paths"), ("a/b.npy", "names of paths")],
)
def test_an_archive_with_names_that_it_cannot_have(saved, name, reason):
    folder, _ = saved
    with zipfile.ZipFile(folder / FILE, "a") as file, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        file.writestr(name, b"")
    with pytest.raises(ValueError, match=f"run: cannot read .*: some of its arrays .*{reason}"):
        load_checkpoint(folder)


def test_a_config_without_steps_is_no_run(saved):
    folder, checkpoint = saved
    damage(folder, metadata={"config": checkpoint.config.to_dict() | {"steps": None}})
    with pytest.raises(ValueError, match="steps: expected a whole number of at least 1, got None"):
        load_checkpoint(folder)


def test_a_config_of_enormous_sizes_takes_no_memory(saved):
    folder, checkpoint = saved
    config = checkpoint.config.to_dict() | {"hidden_size": 10**6, "encoder_size": None}
    del config["encoder_size"]
    damage(folder, metadata={"config": config})
    with pytest.raises(ValueError, match=r"^run: cannot read .*: expected encoder.W of shape \(3, 1000000\)"):
        load_checkpoint(folder)


def test_a_truncated_or_foreign_file_and_no_file(saved, tmp_path):
    folder, _ = saved
    whole = (folder / FILE).read_bytes()
    for content in (whole[:-100], whole[: len(whole) // 2], b"", b"hello"):
        (folder / FILE).write_bytes(content)
        with pytest.raises(ValueError, match="^run: cannot read .*: it is no archive of arrays, or not whole"):
            load_checkpoint(folder)
    with pytest.raises(ValueError, match="^run: expected the folder of a run, there is no "):
        load_checkpoint(tmp_path)


@pytest.mark.parametrize("changes", [60, pytest.param(300, marks=pytest.mark.slow)])
def test_any_changed_byte_is_seen_or_harmless(saved, changes):
    """A file that loads holds the same numbers; any other is one clear line."""
    folder, checkpoint = saved
    whole = (folder / FILE).read_bytes()
    rng = np.random.default_rng(0)
    messages = []
    for _ in range(changes):
        content = bytearray(whole)
        content[rng.integers(len(whole))] ^= int(rng.integers(1, 256))
        (folder / FILE).write_bytes(bytes(content))
        try:
            back = load_checkpoint(folder)
        except ValueError as error:
            messages.append(str(error))
            continue
        for name, value in checkpoint.params.items():
            np.testing.assert_array_equal(back.params[name], value)
    assert len(messages) > changes / 2
    assert all(message.startswith("run: cannot read ") and "\n" not in message for message in messages)


def test_a_run_that_cannot_be_written_leaves_the_old_one(saved, monkeypatch):
    folder, checkpoint = saved

    def full(number):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match=r"^out: cannot write .*checkpoint.npz: No space left on device$"):
        save_checkpoint(folder, replace(checkpoint, step=13))
    monkeypatch.undo()
    assert load_checkpoint(folder).step == 12


def test_a_folder_with_something_in_it_is_not_overwritten_without_being_asked(tmp_path):
    folder = tmp_path / "run"
    config = TrainConfig("copy", out=folder)
    assert prepare_folder(config) == folder
    assert prepare_folder(config) == folder  # empty
    (folder / "checkpoint.npz.part").write_text("half of the first save")
    assert prepare_folder(config) == folder
    (folder / "notes.txt").write_text("mine")
    with pytest.raises(FileExistsError, match=r"^out: .*run has something in it; name another folder"):
        prepare_folder(config)
    assert prepare_folder(TrainConfig("copy", out=folder, overwrite=True)) == folder
    assert (folder / "notes.txt").read_text() == "mine"
    with pytest.raises(FileExistsError, match=r"^out: expected a folder, .*notes.txt is a file$"):
        prepare_folder(TrainConfig("copy", out=folder / "notes.txt"))
    with pytest.raises(OSError, match=r"^out: cannot make the folder .*: Not a directory$"):
        prepare_folder(TrainConfig("copy", out=folder / "notes.txt" / "below"))


def test_the_first_free_name_is_taken(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = [str(prepare_folder(TrainConfig("copy"))) for _ in range(3)]
    assert names == ["runs/copy", "runs/copy-2", "runs/copy-3"]


def test_a_link_that_leads_nowhere_is_an_error(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs").symlink_to(tmp_path / "nowhere")
    with pytest.raises(OSError, match="runs"):
        prepare_folder(TrainConfig("copy"))


def test_a_run_is_over_at_its_last_step_or_out_of_patience(saved):
    _, checkpoint = saved
    assert not checkpoint.over
    assert replace(checkpoint, step=checkpoint.config.steps).over
    looks = [(k, Evaluation(1.0, 0.5, share)) for k, share in enumerate((0.1, 0.4, 0.3, 0.4))]
    assert replace(checkpoint, evaluations=looks).over
    assert not replace(checkpoint, evaluations=looks[:3]).over
    assert not replace(checkpoint, evaluations=[*looks, (9, Evaluation(0.9, 0.5, 0.4))]).over


def test_the_archive_holds_the_parameters_by_name(saved):
    folder, checkpoint = saved
    with Archive(folder / FILE) as archive:
        np.testing.assert_array_equal(archive.read("alignment.v", (5,), np.float32), checkpoint.params["alignment.v"])


def test_a_run_keeps_the_settings_that_it_was_asked_for(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("pairs.tsv").write_text("".join(f"{word} x\t{word}\n" for word in "abcdefgh"))
    config = TrainConfig("pairs.tsv", dev="pairs.tsv", hidden_size=4, steps=5, batch_size=4, out="run")
    train(config, progress=None)
    path = tmp_path / "pairs.tsv"
    asked = replace(config, task=str(path), dev=path)
    saved = load_checkpoint(Path("run"))
    assert saved.asked == asked
    assert (saved.config.clip, saved.config.warmup) == (1.0, 0)
    resume("run", progress=None, steps=8)
    assert load_checkpoint(Path("run")).asked == replace(asked, steps=8)
    save_checkpoint(Path("run"), replace(load_checkpoint(Path("run")), asked=None))
    resume("run", progress=None, steps=9)
    assert load_checkpoint(Path("run")).asked is None
