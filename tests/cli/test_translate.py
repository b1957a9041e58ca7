import io
import json
import subprocess
import sys

import numpy as np
import pytest

from numpy_attention import TrainConfig, load_run, train
from numpy_attention.cli import main


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    rng = np.random.default_rng(0)
    lines = [" ".join(rng.choice(["one", "two", "three"], rng.integers(1, 4))) for _ in range(60)]
    (folder / "pairs.tsv").write_text("".join(f"{line}\t{line.upper()}\n" for line in lines), encoding="utf-8")
    config = TrainConfig(str(folder / "pairs.tsv"), hidden_size=16, steps=60, learning_rate=1e-2, out=folder / "run")
    train(config, None)
    return folder


def test_texts_are_translated_in_their_order(folder, capsys):
    assert main(["translate", str(folder / "run"), "one two", "three"]) == 0
    run = load_run(folder / "run")
    assert capsys.readouterr().out.splitlines() == [str(run.translate("one two")), str(run.translate("three"))]


def test_lines_of_the_standard_input_and_an_empty_one(folder, capsys, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.StringIO("one two\n\nthree\r\n"))
    assert main(["translate", str(folder / "run")]) == 0
    run = load_run(folder / "run")
    assert capsys.readouterr().out.split("\n") == [str(run.translate("one two")), "", str(run.translate("three")), ""]


def test_an_unknown_word_is_a_warning(folder, capsys):
    assert main(["translate", str(folder / "run"), "one zebra zebra"]) == 0
    captured = capsys.readouterr()
    assert captured.err == "never seen in training, read as <unk>: zebra\n"
    assert captured.out == f"{load_run(folder / 'run').translate('one zebra zebra')}\n"


def test_several_outputs_with_scores_and_attention(folder, capsys):
    assert main(["translate", str(folder / "run"), "one two", "--beam", "3", "--n-best", "2", "--attention"]) == 0
    output = capsys.readouterr().out
    for found in load_run(folder / "run").translate("one two", beam_size=3, n_best=2):
        assert f"{found.score:9.4f}  {found.text}\n" in output
    assert output.count("blank below 0.1") == 2


def test_json_lines(folder, capsys):
    assert main(["translate", str(folder / "run"), "one two", "--jsonl", "--attention"]) == 0
    plain = json.loads(capsys.readouterr().out)
    found = load_run(folder / "run").translate("one two")
    assert (plain["source"], plain["output"], plain["finished"]) == (found.source, found.text, found.finished)
    np.testing.assert_allclose(plain["score"], found.score)
    np.testing.assert_allclose(plain["attention"], found.attention, atol=1e-6)


@pytest.mark.parametrize(("name", "beginning"), [("a.png", b"\x89PNG"), ("a.svg", b"<?xml")])
def test_a_figure_of_the_attention(name, beginning, folder, tmp_path):
    assert main(["translate", str(folder / "run"), "one two", "--plot", str(tmp_path / name)]) == 0
    assert (tmp_path / name).read_bytes().startswith(beginning)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["one", "--plot", "x.gif"], "plot: expected one text and a file that ends in .png or .svg, got 1 and x.gif"),
        (["one", "two", "--plot", "x.png"], "plot: expected one text and a file that ends in .png or .svg, got 2 and"),
        (["one", "--plot", "nowhere/x.png"], "plot: expected a file in a folder that exists, got nowhere/x.png"),
        (["one", "--beam", "0"], "beam_size: expected a whole number of at least 1, got 0"),
        (["one", "--max-length", "0"], "max_length: expected a whole number of at least 1, got 0"),
    ],
)
def test_bad_input_is_one_clear_line(arguments, message, folder, capsys):
    assert main(["translate", str(folder / "run"), *arguments]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"numpy-attention: {message}")
    assert error.count("\n") == 1


def test_a_folder_without_a_run(tmp_path, capsys):
    assert main(["translate", str(tmp_path), "one"]) == 2
    assert capsys.readouterr().err.startswith("numpy-attention: run: expected the folder of a run, there is no ")


def test_evaluate_counts_and_lists_the_worst(folder, tmp_path, capsys):
    pairs, report = tmp_path / "test.tsv", tmp_path / "report.json"
    run = load_run(folder / "run")
    own = str(run.translate("one two three")) or "ONE"
    pairs.write_text(f"one two three\t{own}\nthree\tone one one one\n", encoding="utf-8")
    assert main(["evaluate", str(folder / "run"), str(pairs), "--json", str(report), "--worst", "1"]) == 0
    output = capsys.readouterr().out
    plain = json.loads(report.read_text(encoding="utf-8"))
    assert f"exact match       {100 * plain['exact_match']:.2f} %  (2 pairs)" in output
    assert (plain["pairs"], len(plain["worst"])) == (2, 1)
    assert plain["worst"][0]["source"] == "three"
    assert plain["token_error_rate"] > 0
    assert sum(part["pairs"] for part in plain["by_length"].values()) == 2
    assert "produced" in output


def test_evaluate_tells_how_much_is_unknown_and_never_counts_it_as_right(folder, tmp_path, capsys):
    pairs, report = tmp_path / "test.tsv", tmp_path / "report.json"
    pairs.write_text("one zebra\tONE ZEBRA\n", encoding="utf-8")
    assert main(["evaluate", str(folder / "run"), str(pairs), "--json", str(report)]) == 0
    assert "unknown           50.0 % of the source tokens and 50.0 % of the target tokens" in capsys.readouterr().out
    plain = json.loads(report.read_text(encoding="utf-8"))
    assert (plain["exact_match"], plain["unknown"]) == (0.0, {"source": 0.5, "target": 0.5})
    assert main(["evaluate", str(folder / "run"), str(pairs), "--worst", "-1"]) == 2
    assert "worst: expected a whole number of at least 0, got -1" in capsys.readouterr().err


def test_standard_input_that_is_no_utf_8_and_one_with_a_mark(folder):
    command = [sys.executable, "-m", "numpy_attention", "translate", str(folder / "run")]
    done = subprocess.run(command, input=b"one\n\xff\n", capture_output=True)
    assert done.returncode == 2
    assert done.stderr.startswith(b"numpy-attention: standard input: expected UTF-8")
    marked = subprocess.run(command, input=b"\xef\xbb\xbfone\n", capture_output=True)
    assert (marked.returncode, marked.stderr) == (0, b"")


def test_evaluate_says_what_is_wrong(folder, tmp_path, capsys):
    pairs = tmp_path / "test.tsv"
    pairs.write_text("one two three\n", encoding="utf-8")
    assert main(["evaluate", str(folder / "run"), str(pairs)]) == 2
    assert "line 1" in capsys.readouterr().err
    assert main(["evaluate", str(folder / "run"), str(pairs), "--json", "nowhere/x.json"]) == 2
    assert (
        capsys.readouterr().err
        == "numpy-attention: json: expected a file in a folder that exists, got nowhere/x.json\n"
    )
