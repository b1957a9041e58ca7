import re

import pytest

from numpy_attention import TrainConfig
from numpy_attention.cli import main
from numpy_attention.data.catalogue import DATA, make_data, named_sources
from numpy_attention.data.corpus import Corpus
from numpy_attention.data.source import Pairs
from numpy_attention.data.tasks import TASKS, Task
from numpy_attention.data.vocabulary import symbol_vocabulary


def test_every_name_makes_its_source():
    assert list(named_sources()) == ["copy", "reverse", "scan", "scan-length", "scan-jump"]
    for name in named_sources():
        assert make_data(TrainConfig(name)).description.startswith(name.partition("-")[0])
    assert "length split" in make_data(TrainConfig("scan-length")).description


def test_a_name_that_is_added_is_found_from_the_command_line(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(DATA, "mine", lambda settings: Task("reverse", 4, (2, 3), settings.seed))
    monkeypatch.setitem(TASKS, "sort", sorted)
    assert list(named_sources()) == ["copy", "reverse", "sort", "scan", "scan-length", "scan-jump", "mine"]
    for name, description in (
        ("mine", "reverse, lengths 2 to 3, 4 symbols"),
        ("sort", "sort, lengths 3 to 10, 10 symbols"),
    ):
        arguments = ["train", name, "--hidden-size", "8", "--steps", "2", "--out", str(tmp_path / name)]
        assert main(arguments) == 0
        assert capsys.readouterr().out.startswith(f"{description}: alignment additive, ")
    message = (
        "task: expected one of copy, reverse, sort, scan, scan-length, scan-jump, mine, or a file of pairs; "
        "there is no file other"
    )
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        make_data(TrainConfig("other"))


@pytest.mark.parametrize(("length", "steps"), [(1, 210), (20, 1350), (40, 2550), (50, 2700)])
def test_tasks_of_symbols_say_what_steps_and_what_clipping_suit_them(length, steps):
    copy, reverse = (Task(name, 10, (1, length)) for name in ("copy", "reverse"))
    assert copy.default_steps(64) == copy.default_steps(1) == reverse.default_steps(64) == steps
    assert (copy.clip, reverse.clip) == (1.0, 1.0)


@pytest.mark.parametrize(("pairs", "size", "steps"), [(10, 64, 1000), (96_000, 64, 20_000), (12_800, 64, 3_000)])
def test_a_corpus_asks_for_fifteen_epochs_within_bounds(pairs, size, steps):
    words = symbol_vocabulary(2)
    corpus = Corpus(words, words, [[3]] * pairs, [[3]] * pairs, Pairs([[3, 3]], [[3, 3]]), None, "pairs")
    assert (corpus.default_steps(size), corpus.clip) == (steps, 1.0)
