"""A sign of life after two seconds, on stderr, and none before."""

import io
import re
import sys

import numpy as np
import pytest

from numpy_attention.gradcheck import check_gradients, progress


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def clock(monkeypatch):
    """A clock that advances by 0.3 s each time it is read."""
    now = [0.0]

    def monotonic():
        now[0] += 0.3
        return now[0]

    monkeypatch.setattr(progress.time, "monotonic", monotonic)


def check(size, **options):
    return check_gradients(np.sum, np.ones(size), np.ones(size), **options)


@pytest.mark.usefixtures("clock")
def test_a_log_gets_a_line_after_two_seconds_and_then_every_ten(monkeypatch):
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    check(100)
    lines = sys.stderr.getvalue().splitlines()
    assert lines[0] == "gradient check: 7 of 100 entries, 2 s, about 28 s left"
    assert 3 <= len(lines) <= 4
    assert re.fullmatch(r"gradient check: 100 of 100 entries, \d+ s", lines[-1])


@pytest.mark.usefixtures("clock")
def test_a_terminal_rewrites_one_line(monkeypatch):
    monkeypatch.setattr(sys, "stderr", Terminal())
    check(30)
    text = sys.stderr.getvalue()
    assert text.count("\r") > 5
    assert text.count("\n") == 1
    assert text.endswith("\n")


@pytest.mark.usefixtures("clock")
def test_an_error_or_ctrl_c_comes_on_a_line_of_its_own(monkeypatch):
    monkeypatch.setattr(sys, "stderr", Terminal())
    evaluations = []

    def loss(x):
        evaluations.append(x)
        if len(evaluations) == 20:
            raise KeyboardInterrupt
        return np.sum(x)

    with pytest.raises(KeyboardInterrupt):
        check_gradients(loss, np.ones(100), np.ones(100), method="complex-step")
    assert re.fullmatch(r"(\rgradient check: \d+ of 100 entries, .* left *)+\n", sys.stderr.getvalue())


@pytest.mark.usefixtures("clock")
def test_it_can_be_switched_off(capsys):
    check(100, show_progress=False)
    assert capsys.readouterr().err == ""


def test_a_quick_check_is_silent(capsys):
    check(10)
    assert capsys.readouterr() == ("", "")
