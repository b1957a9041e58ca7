from contextlib import nullcontext

import pytest

from numpy_attention.cli import main

TINY = ["--hidden-size", "6", "--batch-size", "8", "--steps", "20", "--length", "3"]


@pytest.fixture
def in_this_process(monkeypatch):
    from numpy_attention.sweep import making
    from tests.sweep.test_sweep import Here, StopAfter

    making.STOPPED.clear()

    def use(executor):
        monkeypatch.setattr(making, "_pool", lambda: nullcontext(executor))

    use(Here())
    return lambda runs: use(StopAfter(runs))


@pytest.mark.slow
def test_a_table_and_figures(tmp_path, capsys, in_this_process):
    arguments = ["sweep", "copy", "reverse", *TINY, "--alignment", "additive,none", "--seed", "0,1"]
    assert main([*arguments, "--out", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    assert "8 runs" in out
    rows = [line.split()[:3] for line in out.splitlines() if line.startswith(("copy  ", "reverse "))]
    assert ["copy", "additive", "2"] in rows
    assert ["reverse", "none", "2"] in rows
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_file()) == [
        *("copy.png", "copy.svg", "reverse.png", "reverse.svg", "sweep.csv")
    ]
    assert main([*arguments, "--out", str(tmp_path)]) == 0
    assert "8 runs, 8 of them already finished" in capsys.readouterr().out


def test_a_run_that_fails_is_named_and_the_status_says_so(tmp_path, capsys, in_this_process):
    assert main(["sweep", "copy", *TINY, "--learning-rate", "1e-3,1e30", "--out", str(tmp_path)]) == 1
    out = capsys.readouterr().out
    assert "not finished: copy learning_rate=1e+30 seed=0: step" in " ".join(out.split())


def test_an_interrupted_sweep(tmp_path, capsys, in_this_process):
    in_this_process(1)
    assert main(["sweep", "copy", *TINY, "--seed", "0,1", "--out", str(tmp_path)]) == 130
    assert capsys.readouterr().err == "numpy-attention: interrupted; run the same command again to continue\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "expected TASK: what to learn, such as copy or reverse, or a file of pairs"),
        (["copy", "--colour", "3"], "--colour: there is no such flag; see numpy-attention sweep --help"),
        (["copy", "--cell", "tanh,relu"], "cell: expected one of tanh, gru, lstm, got 'relu'"),
        (["copy", "--length", "3,3"], "grid: expected different runs, got 'copy seed=0' more than once"),
        (["copy", "--bidirectional", "yes"], "--bidirectional: expected true or false, got 'yes'; see numpy-attention"),
        (["copy", "--processes", "0"], "processes: expected a whole number of at least 1, got 0"),
        (["copy", "--mpi"], "mpi: expected the program to be started as mpiexec -n 4 python -m mpi4py.futures"),
    ],
)
def test_wrong_use(tmp_path, monkeypatch, capsys, arguments, message):
    monkeypatch.chdir(tmp_path)
    assert main(["sweep", *arguments]) == 2
    assert capsys.readouterr().err.startswith(f"numpy-attention: {message}")
    assert not list(tmp_path.iterdir())


def test_every_process_of_mpi_would_make_all_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PMI_RANK", "0")
    monkeypatch.setenv("PMI_SIZE", "2")
    assert main(["sweep", "copy"]) == 2
    assert "without --mpi every process would make all runs" in capsys.readouterr().err
