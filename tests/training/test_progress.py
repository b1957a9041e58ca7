"""The table of evaluations: what it says, and that it fits a terminal."""

import pytest

from numpy_attention.training import progress
from numpy_attention.training.evaluation import Evaluation
from numpy_attention.training.progress import Lines, Step


@pytest.fixture
def clock(monkeypatch):
    """A clock that advances by half a second each time it is read."""
    now = [0.0]

    def perf_counter():
        now[0] += 0.5
        return now[0]

    monkeypatch.setattr(progress.time, "perf_counter", perf_counter)


def report(*rows, steps=1):
    """Lines of a run with these evaluations, each after so many updates."""
    lines = []
    listener = Lines(lambda text: lines.extend(text.splitlines()))
    listener.started("copy", 100, 0)
    for step, evaluation in rows:
        for _ in range(steps):
            listener.stepped(step)
        listener.evaluated(step, evaluation)
    return lines


def row(number, loss, norm, seconds, held_out, tokens_right=0.5, sequences_right=0.25):
    return Step(number, loss, norm, 1e-3, 64, seconds, seconds), Evaluation(held_out, tokens_right, sequences_right)


@pytest.mark.usefixtures("clock")
def test_both_losses_the_norm_and_the_speed_are_named():
    description, *header, first, second = report(
        row(10, 2.5, 0.75, 1.25, 2.25), row(20, 0.03125, 0.5, 12.5, 0.001, 0.9995, 1.0), steps=10
    )
    assert description == "copy"
    assert header == [
        "        ------ loss -----            --- right, % --- gradient",
        "   step training held-out perplexity tokens sequences     norm tokens/s seconds",
    ]
    assert first == "     10   2.5000   2.2500      9.488   50.0      25.0    0.750      128     1.2"
    assert second == "     20   0.0312   0.0010      1.001  100.0     100.0    0.500      128    12.5"


def test_the_header_comes_once_a_run_and_only_with_a_row():
    lines = []
    listener = Lines(lines.append)
    listener.started("copy", 30, 30)
    assert lines == ["copy; 30 of 30 steps are done"]
    for _ in range(2):
        listener.started("copy", 30, 0)
        listener.evaluated(*row(10, 1, 1, 1, 1))
        listener.evaluated(*row(20, 1, 1, 1, 1))
    assert sum("perplexity" in line for line in lines) == 2


def test_large_values_stay_in_their_columns():
    _, _, header, *rows = report(
        row(1_234_567, 121093.125, 2893.3321, 86400.04, 121093.125),
        row(20, 1e30, 1e300, 12_345_678.0, 300.0),
        row(30, float("nan"), float("inf"), 0.0, float("inf")),
    )
    ends = [header.index(word) + len(word) for word in header.split()]
    assert all(len(line) == len(header) <= 79 for line in rows)
    for line in rows:
        assert all(line[end - 1] != " " and line[end : end + 1] in ("", " ") for end in ends)
        assert len(line.split()) == len(ends)
    assert rows[0].split()[:7] == ["1234567", "121093.1", "121093.1", "inf", "50.0", "25.0", "2893.332"]
    assert rows[1].split()[1:4] == ["1.0e+30", "300.0000", "1.9e+130"]


@pytest.mark.usefixtures("clock")
def test_time_between_updates_that_is_not_training_does_not_count():
    listener = Lines(lambda text: None)
    listener.started("copy", 100, 0)
    for number in range(1, 9):
        listener.stepped(row(number, 1, 1, 1, 1)[0])
        progress.time.perf_counter()  # an evaluation takes its time
        listener.evaluated(*row(number, 1, 1, 1, 1))
    assert listener.rate == 128


def test_the_description_reaches_no_terminal_raw():
    lines = []
    Lines(lines.append).started("\x1b]0;x\x07.tsv\nmore", 1, 0)
    assert lines == [r"\x1b]0;x\x07.tsv\nmore"]
