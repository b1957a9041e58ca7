import json
import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import nullcontext

import numpy as np
import pytest

from numpy_attention import Evaluation, Seq2Seq, TrainConfig, load_run, resume, train
from numpy_attention.data.catalogue import DATA
from numpy_attention.data.tasks import Task
from numpy_attention.training import trainer
from numpy_attention.training.archive import alone_in
from numpy_attention.training.checkpoint import FILE, load_checkpoint, save_checkpoint
from numpy_attention.training.metrics import METRICS, read_metrics
from numpy_attention.training.optimizers import OPTIMIZERS

SMALL = {"length": 4, "symbols": 6, "hidden_size": 32, "embedding_size": 16, "alignment_size": 16, "steps": 200}


class Watch:
    """Progress that remembers what it was told, and may do something after a step."""

    def __init__(self, after=None):
        self.steps, self.evaluations, self.description, self.after = [], [], None, after or {}

    def started(self, description, steps, done):
        self.description, self.done = description, done

    def stepped(self, step):
        self.steps.append(step)
        self.after.get(step.number, lambda: None)()

    def evaluated(self, step, evaluation):
        self.evaluations.append((step.number, evaluation))


def assert_same_bits(left, right):
    assert load_checkpoint(left).step == load_checkpoint(right).step
    with np.load(left / FILE) as one, np.load(right / FILE) as other:
        assert list(one) == list(other)
        for name in one:
            if name != "metadata":
                np.testing.assert_array_equal(one[name], other[name])

    def metrics(folder):
        return [
            {name: value for name, value in json.loads(line).items() if name not in ("seconds", "cpu_seconds")}
            for line in (folder / METRICS).read_text().splitlines()
        ]

    assert metrics(left) == metrics(right)


@pytest.mark.parametrize(
    ("task", "alignment"),
    [("reverse", "additive"), *(("copy", each) for each in ("additive", "location", "general", "dot"))],
)
def test_a_short_run_learns_the_task(task, alignment, tmp_path):
    run = train(TrainConfig(task, **SMALL, alignment=alignment, learning_rate=1e-2, out=tmp_path), None)
    assert run.evaluation.sequence_accuracy >= 0.95
    assert run.evaluation.token_accuracy >= 0.98
    assert run.over
    assert str(run.translate("a b c d")) == {"reverse": "d c b a", "copy": "a b c d"}[task]


def test_stochastic_gradient_descent_learns_too(tmp_path):
    settings = SMALL | {"length": (1, 3), "optimizer": "sgd", "learning_rate": 0.5, "out": tmp_path}
    assert train(TrainConfig("copy", **settings), None).evaluation.sequence_accuracy >= 0.9


def test_every_regulariser_at_once_still_learns(tmp_path):
    config = TrainConfig(
        "copy", **SMALL, learning_rate=1e-2, dropout=0.1, label_smoothing=0.05, weight_decay=0.01, out=tmp_path
    )
    assert train(config, None).evaluation.sequence_accuracy >= 0.8


@pytest.mark.parametrize("setting", [{"dropout": 0.2}, {"label_smoothing": 0.1}, {"weight_decay": 0.1}, {"clip": 0.01}])
def test_every_setting_makes_a_difference(setting, tmp_path):
    few = SMALL | {"steps": 3}
    plain = train(TrainConfig("copy", **few, out=tmp_path / "plain"), None)
    other = train(TrainConfig("copy", **few, **setting, out=tmp_path / "other"), None)
    assert any((plain.params[name] != other.params[name]).any() for name in plain.params)


def test_computing_activations_again_makes_no_difference(tmp_path, monkeypatch):
    """And the setting reaches the model."""
    asked = []
    inner = Seq2Seq.loss_and_gradients

    def watched(*arguments, **keywords):
        asked.append(keywords["recompute"])
        return inner(*arguments, **keywords)

    monkeypatch.setattr(Seq2Seq, "loss_and_gradients", watched)
    for recompute in (False, True):
        train(TrainConfig("copy", **SMALL | {"steps": 3}, recompute=recompute, out=tmp_path / str(recompute)), None)
    assert asked == [False] * 3 + [True] * 3
    runs = load_run(tmp_path / "False"), load_run(tmp_path / "True")
    for name, value in runs[0].params.items():
        np.testing.assert_array_equal(runs[1].params[name], value)


def test_the_same_seed_gives_the_same_bits_twice_and_another_seed_others(tmp_path):
    runs = [
        train(TrainConfig("reverse", **SMALL | {"steps": 20, "dropout": 0.1}, seed=seed, out=tmp_path / name), None)
        for seed, name in ((0, "a"), (0, "b"), (1, "c"))
    ]
    assert_same_bits(tmp_path / "a", tmp_path / "b")
    assert runs[0].evaluation == runs[1].evaluation != runs[2].evaluation
    for name, value in runs[0].params.items():
        if not name.endswith(".b"):
            assert (value != runs[2].params[name]).any(), name


def test_what_is_told_and_what_is_saved(tmp_path):
    watch = Watch()
    run = train(TrainConfig("copy", **SMALL | {"steps": 25}, out=tmp_path, dtype="float64"), watch)
    assert [step.number for step in watch.steps] == list(range(1, 26))
    assert [number for number, _ in watch.evaluations][-1] == 25
    assert watch.description.startswith("copy, length 4, 6 symbols: alignment additive, ")
    assert watch.done == 0
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
    assert lines[2].split()[:3] == ["step", "training", "held-out"]
    assert [line.split()[0] for line in lines[3:]] == [str(number) for number in range(1, 11)]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("settings", [{}, {"optimizer": "sgd", "patience": 3, "dropout": 0.1}])
def test_a_run_that_was_asked_to_stop_goes_on_to_the_same_bits(number, settings, tmp_path):
    config = SMALL | {"steps": 30} | settings
    whole = train(TrainConfig("copy", **config, out=tmp_path / "whole"), None)
    ask = Watch({7: lambda: os.kill(os.getpid(), number), 20: lambda: os.kill(os.getpid(), number)})
    stopped = train(TrainConfig("copy", **config, out=tmp_path / "parts"), ask)
    assert (stopped.step, stopped.over) == (7, False)
    assert resume(tmp_path / "parts", ask).step == 20
    assert ask.done == 7
    again = resume(tmp_path / "parts", None)
    assert (again.step, again.over, again.evaluation) == (whole.step, True, whole.evaluation)
    assert_same_bits(tmp_path / "whole", tmp_path / "parts")
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_data_of_your_own_train_and_go_on(tmp_path):
    data = TrainConfig("reverse", **SMALL).data()
    few = SMALL | {"steps": 12}
    watch = Watch({5: lambda: os.kill(os.getpid(), signal.SIGINT)})
    assert train(TrainConfig("mine", **few, out=tmp_path / "mine"), watch, data=data).step == 5
    mine = resume(tmp_path / "mine", None, data=data)
    theirs = train(TrainConfig("reverse", **few, out=tmp_path / "theirs"), None)
    assert (mine.config.task, mine.over) == ("mine", True)
    for name, value in theirs.params.items():
        np.testing.assert_array_equal(mine.params[name], value)


def test_a_run_that_is_over_stays_as_it_is(tmp_path):
    train(TrainConfig("copy", **SMALL | {"steps": 5}, out=tmp_path), None)
    before = (tmp_path / FILE).read_bytes()
    watch = Watch()
    assert resume(tmp_path, watch).over
    assert watch.steps == []
    assert (tmp_path / FILE).read_bytes() == before


# Saves as often as it can, for as many instants within a save as possible.
PROGRAM = """
import sys
import numpy_attention as na
from numpy_attention.data.catalogue import DATA
from numpy_attention.data.tasks import Task
from numpy_attention.training import trainer
trainer.SAVE_EVERY = 0.003
print("ready", flush=True)
config = na.TrainConfig("reverse", length=4, symbols=4, hidden_size=32, steps=int(sys.argv[2]), dropout=0.1, out=sys.argv[1])
try:
    na.resume(sys.argv[1], None)
except ValueError as error:
    if "there is no" not in str(error):
        raise
    na.train(config, None)
"""


@pytest.mark.slow
def test_a_run_that_is_killed_at_random_instants_is_resumed_to_the_same_bits(tmp_path):
    """SIGKILL gives a process no chance to tidy up."""
    kills, steps = 12, 100
    killed, alone = tmp_path / "killed", tmp_path / "alone"

    def start(folder):
        command = [sys.executable, "-c", PROGRAM, str(folder), str(steps)]
        one_thread = os.environ | {"OPENBLAS_NUM_THREADS": "1"}
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=one_thread)
        assert process.stdout.readline() == "ready\n"
        return process

    rng = np.random.default_rng(0)
    reached = 0
    for _ in range(kills):
        process = start(killed)
        time.sleep(rng.uniform(0, 0.5))
        process.kill()
        process.communicate()
        if (killed / FILE).exists():  # otherwise it was killed before its first save
            step = load_checkpoint(killed).step
            assert step >= reached, "it went back"
            reached = step
    assert reached > 0
    for folder in (killed, alone):
        process = start(folder)
        process.communicate()
        assert process.returncode == 0
        assert load_run(folder).over
    assert_same_bits(killed, alone)
    assert not list(killed.glob("*.part"))


def test_a_run_is_saved_between_evaluations_whenever_the_time_is_over(tmp_path, monkeypatch):
    monkeypatch.setattr(trainer, "SAVE_EVERY", 0.0)
    saved = {}
    watch = Watch({step: lambda: saved.update({len(watch.steps): load_checkpoint(tmp_path).step}) for step in (4, 18)})
    train(TrainConfig("copy", **SMALL | {"steps": 25}, out=tmp_path), watch)
    assert saved == {4: 3, 18: 17}


def test_metrics_after_the_checkpoint_and_an_incomplete_line_are_dropped(tmp_path):
    config = SMALL | {"steps": 20}
    watch = Watch({7: lambda: os.kill(os.getpid(), signal.SIGINT)})
    train(TrainConfig("copy", **config, out=tmp_path), watch)
    with (tmp_path / METRICS).open("a") as file:
        file.write('{"number": 8}\n{"num')
    resume(tmp_path, None)
    lines = (tmp_path / METRICS).read_text().splitlines()
    assert [json.loads(line)["number"] for line in lines] == list(range(2, 21, 2))


def test_patience_stops_early_and_keeps_the_best(tmp_path, monkeypatch):
    seen = scripted(monkeypatch, [0.3, 0.6, 0.5, 0.6, 0.9])
    watch = Watch()
    run = train(TrainConfig("copy", **SMALL | {"steps": 40, "patience": 2}, out=tmp_path), watch)
    assert (run.over, run.step, len(seen)) == (True, 16, 5)  # equally good is not better; the last one is the test
    assert run.test.sequence_accuracy == 0.9
    assert run.evaluation.sequence_accuracy == 0.6
    for name, value in run.params.items():
        np.testing.assert_array_equal(value, seen[1][name])
        np.testing.assert_array_equal(load_checkpoint(tmp_path).params[name], seen[3][name])
    assert any((seen[1][name] != seen[3][name]).any() for name in seen[1])


def scripted(monkeypatch, accuracies):
    """Looks at the held-out pairs that find these accuracies, one after the other, and what they looked at."""
    seen = []

    def look(model, params, pairs, unknown, ranks):
        seen.append({name: value.copy() for name, value in params.items()})
        return Evaluation(1.0, 0.5, accuracies[len(seen) - 1])

    monkeypatch.setattr(trainer, "evaluate_together", look)
    return seen


def test_a_run_that_was_out_of_patience_stays_as_it_is(tmp_path, monkeypatch):
    seen = scripted(monkeypatch, [0.3, 0.6, 0.5, 0.7, 0.7])
    run = train(TrainConfig("copy", **SMALL | {"steps": 40, "patience": 1}, out=tmp_path), None)
    watch = Watch()
    again = resume(tmp_path, watch)
    assert watch.steps == []
    assert len(seen) == 5  # three in training, and the test of both
    assert (again.step, again.over, again.evaluation) == (12, True, run.evaluation)
    for name, value in run.params.items():
        np.testing.assert_array_equal(again.params[name], value)


def test_two_processes_do_not_train_in_one_folder(tmp_path):
    (tmp_path / "run").mkdir()
    with alone_in(tmp_path / "run"), pytest.raises(ValueError, match="^out: another process is training in .*run$"):
        train(TrainConfig("copy", **SMALL, out=tmp_path / "run"), None)
    with alone_in(tmp_path / "run"):
        pass


def test_other_pairs_of_the_same_words_are_refused_and_so_is_a_file_that_is_gone(tmp_path, monkeypatch):
    lines = [f"{a} {b}\t{b} {a}" for a in "abc" for b in "abc"] * 3
    path = tmp_path / "pairs.tsv"
    path.write_text("\n".join(lines), encoding="utf-8")
    config = TrainConfig(str(path), dev=path, hidden_size=8, steps=10, out=tmp_path / "run")
    train(config, Watch({3: lambda: os.kill(os.getpid(), signal.SIGINT)}))
    monkeypatch.chdir(tmp_path / "run")  # paths are kept whole, so a run goes on from any folder
    path.write_text("\n".join(reversed(lines)), encoding="utf-8")
    with pytest.raises(ValueError, match=r"^run: the pairs of .*pairs.tsv are no longer those that"):
        resume(tmp_path / "run", None)
    path.write_text("\n".join(lines), encoding="utf-8")
    assert resume(tmp_path / "run", None).over
    path.unlink()
    with pytest.raises(ValueError, match=r"^run: its file of pairs .*pairs.tsv is gone$"):
        resume(tmp_path / "run", None)


def test_pairs_of_your_own_with_a_test_set(tmp_path):
    words = ["one", "two", "three", "four", "five", "six"]
    rng = np.random.default_rng(0)

    def write(name, number):
        lines = []
        for _ in range(number):
            chosen = [words[k] for k in rng.integers(0, 6, rng.integers(1, 4))]
            lines.append(" ".join(chosen) + "\t" + " ".join(word.upper() for word in chosen[::-1]))
        (tmp_path / name).write_text("\n".join(lines) + "\n", encoding="utf-8")
        return tmp_path / name

    train_file, test_file = write("pairs.tsv", 300), write("test.tsv", 40)
    config = TrainConfig(
        str(train_file),
        test=test_file,
        hidden_size=32,
        steps=250,
        learning_rate=1e-2,
        held_out=0.1,
        out=tmp_path / "run",
    )
    run = train(config, None)
    assert run.test.sequence_accuracy > 0.9
    assert str(run.translate("one two")) == "TWO ONE"
    assert load_run(tmp_path / "run").test == run.test
    found = run.translate("one zebra")
    assert found.unknown == ["zebra"]
    with train_file.open("a", encoding="utf-8") as file:
        file.write("seven\tSEVEN\n" * 5)
    with pytest.raises(ValueError, match=r"^run: the words of .*pairs.tsv are no longer those that"):
        resume(tmp_path / "run", None)


def test_a_gradient_that_is_no_longer_finite_stops_the_run_and_the_last_good_one_stays(tmp_path, monkeypatch):
    watch, healthy = Watch(), Seq2Seq.loss_and_gradients

    def poisoned(*arguments, **keywords):
        loss, gradients = healthy(*arguments, **keywords)
        if len(watch.steps) == 15:
            gradients["bridge.W"][0, 0] = np.nan
        return loss, gradients

    monkeypatch.setattr(Seq2Seq, "loss_and_gradients", poisoned)
    message = "^step 16: the gradient of bridge.W is no longer finite; try a smaller learning rate$"
    with pytest.raises(FloatingPointError, match=message):
        train(TrainConfig("copy", **SMALL | {"steps": 20}, out=tmp_path), watch)
    assert load_checkpoint(tmp_path).step == 14


@pytest.mark.parametrize("rate", [1e30, 1e300])
def test_a_rate_that_is_much_too_high_names_the_step_and_what_is_no_longer_finite(rate, tmp_path):
    settings = SMALL | {"steps": 20, "learning_rate": rate, "dtype": "float32"}
    with pytest.raises(FloatingPointError, match=r"^step \d+: .+ is no longer finite; try a smaller learning rate$"):
        train(TrainConfig("copy", **settings, out=tmp_path), None)
    assert load_checkpoint(tmp_path).step < 3


def test_a_folder_that_is_taken_is_refused_before_anything_is_done(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    watch = Watch()
    with pytest.raises(FileExistsError, match="has something in it"):
        train(TrainConfig("copy", **SMALL, out=tmp_path), watch)
    assert watch.description is None
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_what_is_no_config():
    with pytest.raises(ValueError, match="^config: expected a TrainConfig, got 'copy'$"):
        train("copy")


class Endless:
    """A source without ``clip`` and ``default_steps``."""

    def __init__(self):
        task = TrainConfig("copy", length=3, symbols=4).data()
        self.source_vocabulary, self.target_vocabulary = task.source_vocabulary, task.target_vocabulary
        self.held_out, self.test, self.description, self.batch = task.held_out, None, "endless", task.batch


def test_a_source_that_says_nothing_of_steps_and_clipping_has_the_defaults(tmp_path):
    watch = Watch({1: lambda: os.kill(os.getpid(), signal.SIGINT)})
    run = train(TrainConfig("mine", hidden_size=8, out=tmp_path), watch, data=Endless())
    assert (run.config.steps, run.config.clip) == (500, 1.0)


def test_a_source_and_an_optimiser_of_your_own_have_names(tmp_path, monkeypatch):
    class Sign:
        """p = p - learning_rate sign(g)"""

        def __init__(self, parameters):
            self.steps, self.arrays = 0, {"last": np.zeros(3, parameters.dtype)}

        def update(self, parameters, gradient, learning_rate):
            self.steps += 1
            self.arrays["last"][:] = gradient[:3]
            parameters -= learning_rate * np.sign(gradient)

    monkeypatch.setitem(OPTIMIZERS, "sign", Sign)
    monkeypatch.setitem(DATA, "mine", lambda settings: Task("reverse", 4, (2, 3), settings.seed))
    settings = {"hidden_size": 8, "steps": 12, "optimizer": "sign", "learning_rate": 1e-3}
    whole = train(TrainConfig("mine", **settings, out=tmp_path / "whole"), None)
    train(
        TrainConfig("mine", **settings, out=tmp_path / "parts"), Watch({5: lambda: os.kill(os.getpid(), signal.SIGINT)})
    )
    assert load_checkpoint(tmp_path / "parts").optimizer["last"].shape == (3,)
    assert resume(tmp_path / "parts", None).step == whole.step
    assert_same_bits(tmp_path / "whole", tmp_path / "parts")
    with pytest.raises(ValueError, match="^optimizer: expected one of adam, sgd, sign, got 'lion'$"):
        TrainConfig("mine", optimizer="lion")
    with pytest.raises(
        ValueError, match="^task: expected one of copy, reverse, scan, scan-length, scan-jump, mine, or a file"
    ):
        TrainConfig("other").data()


def test_a_folder_that_is_replaced_while_it_trains_is_left_alone(tmp_path):
    folder = tmp_path / "run"
    other = TrainConfig("copy", **SMALL | {"steps": 20}, out=folder)

    def replaced():
        shutil.rmtree(folder)
        train(other, None)

    with pytest.raises(OSError, match="^out: the folder .*run was removed or replaced while it trained; nothing was"):
        train(TrainConfig("reverse", **SMALL, out=folder), Watch({30: replaced}))
    assert load_run(folder).config.task == "copy"
    assert all(line["number"] <= 20 for line in read_metrics(folder / METRICS))


def test_a_folder_that_is_removed_while_it_trains_is_one_line(tmp_path):
    folder = tmp_path / "run"
    with pytest.raises(OSError, match="^out: the folder .*run was removed or replaced"):
        train(TrainConfig("reverse", **SMALL, out=folder), Watch({30: lambda: shutil.rmtree(folder)}))
    assert not folder.exists()


@pytest.mark.parametrize("name", ["checkpoint.npz.part", "metrics.jsonl.part", "metrics.jsonl"])
@pytest.mark.parametrize("exists", [True, False])
def test_links_in_the_folder_of_a_run_lead_nowhere(tmp_path, name, exists):
    folder, victim = tmp_path / "run", tmp_path / "victim"
    config = TrainConfig("reverse", **SMALL | {"steps": 20}, out=folder)
    train(config, Watch({5: lambda: os.kill(os.getpid(), signal.SIGINT)}))
    if exists:
        victim.write_text("precious")
    (folder / name).unlink(missing_ok=True)
    (folder / name).symlink_to(victim)
    dangling = name == "metrics.jsonl" and not exists
    with pytest.raises(OSError, match=r"^out: cannot write .*metrics\.jsonl: ") if dangling else nullcontext():
        resume(folder, None)
    assert victim.exists() == exists
    assert not exists or victim.read_text() == "precious"


@pytest.mark.parametrize(
    "line", ['{"number": 1}', '{"number": 1, "loss": 1, "held_out": 5}', "[" * 100_000, "null", '{"number": "x"}']
)
def test_damaged_metrics_are_dropped(tmp_path, line):
    config = TrainConfig("reverse", **SMALL | {"steps": 20}, out=tmp_path)
    train(config, Watch({5: lambda: os.kill(os.getpid(), signal.SIGINT)}))
    path = tmp_path / METRICS
    good = path.read_text()
    path.write_text(line + "\n" + good)
    assert read_metrics(path) == [json.loads(each) for each in good.splitlines()]
    assert resume(tmp_path, None).over
    assert [each["number"] for each in read_metrics(path)] == [2, 4, 6, 8, 10, 12, 14, 16, 18, 20]


def test_a_finished_run_can_be_trained_on(tmp_path):
    train(TrainConfig("reverse", **SMALL | {"steps": 20, "patience": 1}, out=tmp_path), None)
    watch = Watch()
    resume(tmp_path, watch)
    assert watch.steps == []
    assert watch.description.endswith("nothing to do: ask for more steps to train on")
    with pytest.raises(ValueError, match="^steps: expected more than the .* that were made, got 5$"):
        resume(tmp_path, None, steps=5)
    before = load_run(tmp_path).step
    run = resume(tmp_path, watch, steps=60)
    assert watch.steps[0].number == before + 1
    assert run.step > before
    assert load_run(tmp_path).config.steps == 60
    rates = [step.learning_rate for step in watch.steps]
    assert max(rates) > rates[-1]


def test_data_that_were_given_in_python_are_asked_for_in_python(tmp_path):
    data = Task("reverse", 6, (4, 4))
    train(TrainConfig("sums", **SMALL | {"steps": 10, "length": 10}, out=tmp_path), Watch({3: stop}), data)
    with pytest.raises(ValueError, match=r"^run: 'sums' only names its data, .* with resume\(folder, data=...\)$"):
        resume(tmp_path, None)
    assert resume(tmp_path, None, data).over


def stop():
    os.kill(os.getpid(), signal.SIGINT)


def test_a_run_knows_the_lengths_that_it_was_trained_on(tmp_path):
    assert train(TrainConfig("copy", **SMALL | {"length": (2, 5), "steps": 2}, out=tmp_path / "a"), None).lengths == (
        2,
        5,
    )
    assert load_run(tmp_path / "a").lengths == (2, 5)
    pairs = tmp_path / "pairs.tsv"
    pairs.write_text("a b c\tx\na\ty\nb a\tx\n" * 4)
    config = TrainConfig(str(pairs), dev=pairs, hidden_size=8, steps=2, out=tmp_path / "b")
    assert train(config, None).lengths == (1, 3)


def test_pairs_that_vanish_while_a_run_trains_are_not_read_again(tmp_path):
    pairs = tmp_path / "pairs.tsv"
    pairs.write_text("a b c\tx\na\ty\nb a\tx\n" * 4)
    config = TrainConfig(str(pairs), dev=pairs, hidden_size=8, steps=10, out=tmp_path / "run")
    run = train(config, Watch({3: pairs.unlink}))
    assert run.over
    assert len(run.unseen.sources) == 12


def test_a_loss_far_worse_than_a_guess_is_a_warning(tmp_path):
    with pytest.warns(
        RuntimeWarning, match="the held-out loss, .* nats, is far worse than that of a guess, .*learning"
    ):
        train(TrainConfig("reverse", **SMALL | {"steps": 20}, learning_rate=1e3, out=tmp_path), None)


def test_parameters_that_overflow_at_the_end_are_one_line(tmp_path, recwarn):
    config = TrainConfig("reverse", **SMALL | {"steps": 10}, out=tmp_path)
    train(config, Watch({5: stop}))
    saved = load_checkpoint(tmp_path)
    for value in saved.params.values():
        value[...] = 1e38
    save_checkpoint(tmp_path, saved)
    with pytest.raises(FloatingPointError):
        resume(tmp_path, None)
    assert not recwarn.list
