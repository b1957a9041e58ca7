import io
import json
import subprocess
import sys
import warnings

import numpy as np
import pytest

import numpy_attention as na
from numpy_attention import TrainConfig, load_run, plot_attention, train
from numpy_attention._text import printable
from numpy_attention.cli import main
from numpy_attention.training.checkpoint import load_checkpoint, save_checkpoint


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


def test_a_long_text_is_no_name_of_a_file(folder, capsys):
    for text in (" ".join(["one"] * 200), "x" * 300 + "/one"):
        assert main(["translate", str(folder / "run"), text]) == 0
        assert "name too long" not in capsys.readouterr().err
    assert main(["explain", " ".join("abc" * 200)]) == 2
    assert capsys.readouterr().err.startswith("numpy-attention: text: expected at most 100 words")
    assert main(["evaluate", str(folder / "run"), "x" * 300, str(folder / "pairs.tsv")]) == 2
    assert capsys.readouterr().err.startswith("numpy-attention: run: expected the folder of a run, there is no 'xxx")


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


@pytest.fixture(scope="module")
def letters(tmp_path_factory):
    """A run whose vocabulary has no <unk>."""
    folder = tmp_path_factory.mktemp("letters")
    train(TrainConfig("copy", length=(1, 3), symbols=4, hidden_size=8, steps=2, alignment="none", out=folder), None)
    return folder


def test_a_line_with_an_unknown_word_is_an_error_with_its_number_and_the_others_go_on(letters, capsys, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.StringIO("a b c\n\nabc\na q\nd c b\n"))
    assert main(["translate", str(letters)]) == 2
    run, captured = load_run(letters), capsys.readouterr()
    assert captured.out.split("\n") == [str(run.translate("a b c")), "", "", "", str(run.translate("d c b")), ""]
    known = "words: expected some of the vocabulary's 4 words, such as 'a', 'b', 'c'"
    assert captured.err.splitlines() == [
        f"line 3: {known}, got 'abc'; separate words by spaces",
        f"line 4: {known}, got 'q'",
        "numpy-attention: 2 of 5 lines could not be translated",
    ]
    assert main(["translate", str(letters), "a b", "a q"]) == 2
    assert capsys.readouterr().err.startswith("text 2: words: ")
    assert main(["translate", str(letters), "a q"]) == 2
    assert capsys.readouterr().err == f"numpy-attention: {known}, got 'q'\n"


def test_every_line_of_json_has_the_number_and_the_fields_of_its_text(letters, capsys, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.StringIO("a b c\n\na q\n"))
    assert main(["translate", str(letters), "--jsonl", "--attention"]) == 2
    captured = capsys.readouterr()
    right, empty, wrong = map(json.loads, captured.out.splitlines())
    assert captured.err.startswith("this run has no attention to show: its alignment is none\nline 3: words: ")
    nothing = {"output": "", "words": [], "score": None, "score_per_step": None, "finished": None, "unknown": []}
    assert empty == {"line": 2, "source": [], "attention": None} | nothing
    error = "words: expected some of the vocabulary's 4 words, such as 'a', 'b', 'c', got 'q'"
    assert wrong == {"line": 3, "source": ["a", "q"], "attention": None, "error": error} | nothing
    assert (right["line"], right["source"], list(right)) == (1, ["a", "b", "c"], list(empty))


def test_a_length_that_never_came_in_training_is_a_warning(letters, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.StringIO("a b\n\na b c d\na\n"))
    assert main(["translate", str(letters)]) == 0
    warning = "length 4 did not occur in training (1 to 3); the output may be wrong\n"
    assert capsys.readouterr().err == f"line 3: {warning}"
    assert main(["translate", str(letters), "a b c d"]) == 0
    assert capsys.readouterr().err == warning
    (tmp_path / "pairs.tsv").write_text("a b\ta b\na b c d\ta b c d\na\ta\n", encoding="utf-8")
    assert main(["evaluate", str(letters), str(tmp_path / "pairs.tsv")]) == 0
    line = "lengths           1 of 3 sources have lengths that did not occur in training (1 to 3)\n"
    assert line in capsys.readouterr().out


def test_words_without_quotes_get_a_hint(letters, capsys):
    assert main(["translate", str(letters), "a", "b", "c"]) == 0
    hint = "3 texts of one word each; if they are one text, put it in quotes: 'a b c'\n"
    assert capsys.readouterr().err == hint
    assert main(["translate", str(letters), "a b", "c"]) == 0
    assert capsys.readouterr().err == ""


def test_a_terminal_is_told_what_to_type(letters, capsys, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.StringIO("a b\n"))
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    assert main(["translate", str(letters)]) == 0
    assert capsys.readouterr().err == "one text a line; Ctrl-D ends\n"


def test_several_outputs_with_the_scores_that_order_them_and_attention(folder, capsys):
    assert main(["translate", str(folder / "run"), "one two", "--beam", "3", "--n-best", "3", "--attention"]) == 0
    output = capsys.readouterr().out
    places = []
    for found in load_run(folder / "run").translate("one two", beam_size=3, n_best=3):
        places.append(output.index(f"{found.score_per_step:9.4f}  {found.text}\n"))
    assert places == sorted(places)
    assert output.count("blank below 0.1") == 3


def test_json_lines(folder, capsys):
    assert main(["translate", str(folder / "run"), "one two", "--jsonl", "--attention"]) == 0
    plain = json.loads(capsys.readouterr().out)
    found = load_run(folder / "run").translate("one two")
    assert (plain["source"], plain["output"], plain["finished"]) == (found.source, found.text, found.finished)
    np.testing.assert_allclose((plain["score"], plain["score_per_step"]), (found.score, found.score_per_step))
    np.testing.assert_allclose(plain["attention"], found.attention, atol=1e-6)


@pytest.mark.parametrize(("name", "beginning"), [("a.png", b"\x89PNG"), ("a.svg", b"<?xml"), ("a.pdf", b"%PDF")])
def test_a_figure_of_the_attention(name, beginning, folder, tmp_path):
    assert main(["translate", str(folder / "run"), "one two", "--plot", str(tmp_path / name)]) == 0
    assert (tmp_path / name).read_bytes().startswith(beginning)


def test_a_warning_about_a_letter_is_one_line(folder, tmp_path, capsys, monkeypatch):
    def draw(found):
        warnings.warn("no font has the letter \u65e5", UserWarning, stacklevel=1)
        return plot_attention(found)

    monkeypatch.setattr("numpy_attention.cli.translate.draw", draw)
    assert main(["translate", str(folder / "run"), "one two", "--plot", str(tmp_path / "a.png")]) == 0
    assert capsys.readouterr().err == "plot: no font has the letter \u65e5\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["a", "--plot", "x.gif"], "plot: expected one text and a file that ends in .png, .svg, .pdf, got 1 and x.gif"),
        (["a", "b", "--plot", "x.png"], "plot: expected one text and a file that ends in .png, .svg, .pdf, got 2 and"),
        (["one", "--plot", "nowhere/x.png"], "plot: expected a file in a folder that exists, got nowhere/x.png"),
        (["one", "--beam", "0"], "beam: expected a whole number of at least 1, got 0"),
        (["one", "--n-best", "0"], "n_best: expected a whole number of at least 1, got 0"),
        (["one", "--beam", "2", "--n-best", "3"], "n_best: expected at most beam_size (2), got 3"),
        (["", "--plot", "x.png"], "text: expected at least one word, got none"),
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


def test_a_closed_standard_input_is_one_clear_line(folder):
    command = f"exec {sys.executable} -m numpy_attention translate {folder / 'run'} <&-"
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr == "numpy-attention: standard input: expected lines of text, it is closed\n"


def test_a_picture_of_a_run_without_attention(letters, tmp_path, capsys):
    assert main(["translate", str(letters), "a b", "--plot", str(tmp_path / "a.png")]) == 2
    error = "numpy-attention: plot: expected a run with attention, got alignment none\n"
    assert capsys.readouterr().err == error
    assert not list(tmp_path.iterdir())


HOSTILE = "\x1b]0;OWNED\x07\x9b2J\u202e"


def test_words_that_would_steer_a_terminal_are_escaped(tmp_path, capsys):
    pairs = tmp_path / "pairs.tsv"
    pairs.write_text(f"{HOSTILE}\t{HOSTILE} [red]:smile:\nb\t{HOSTILE} [red]:smile:\n" * 5, encoding="utf-8")
    run = tmp_path / "run"
    train(TrainConfig(str(pairs), dev=pairs, hidden_size=8, steps=60, learning_rate=3e-2, out=run), None)
    (tmp_path / "test.tsv").write_text(f"{HOSTILE}\tb\n", encoding="utf-8")
    report = tmp_path / "report.json"
    for arguments in (
        ["translate", str(run), HOSTILE],
        ["translate", str(run), HOSTILE, "--jsonl"],
        ["translate", str(run), f"{HOSTILE}{HOSTILE}"],
        ["evaluate", str(run), str(tmp_path / "test.tsv"), "--json", str(report)],
    ):
        assert main(arguments) == 0
        captured = capsys.readouterr()
        for line in [*captured.out.splitlines(), *captured.err.splitlines()]:
            assert line == printable(line)
        assert "OWNED" in captured.out
        assert "[red]:smile:" in captured.out
    assert report.read_text(encoding="utf-8").count("OWNED") == 2
    assert json.loads(report.read_text(encoding="utf-8"))["worst"][0]["source"] == HOSTILE


def test_evaluate_names_a_file_that_is_not_there(folder, tmp_path, capsys):
    assert main(["evaluate", str(folder / "run"), str(tmp_path / "none.tsv")]) == 2
    assert capsys.readouterr().err == f"numpy-attention: pairs: there is no file {tmp_path / 'none.tsv'}\n"
    assert main(["evaluate", str(folder / "run"), str(tmp_path)]) == 2
    assert capsys.readouterr().err == f"numpy-attention: pairs: expected a file, {tmp_path} is a folder\n"
    assert main(["evaluate", str(folder / "run"), "x.tsv", "--json", str(tmp_path)]) == 2
    assert capsys.readouterr().err.startswith("numpy-attention: json: expected a file in a folder that exists, got ")
    assert main(["evaluate", str(folder / "run"), "x.tsv", "--beam", "0"]) == 2
    assert capsys.readouterr().err.startswith("numpy-attention: beam: expected a whole number of at least 1, got 0")


@pytest.fixture(scope="module")
def huge(folder):
    """A run whose parameters overflow."""
    saved = load_checkpoint(folder / "run")
    for value in saved.params.values():
        value[...] = 1e38
    (folder / "huge").mkdir()
    save_checkpoint(folder / "huge", saved)
    return folder / "huge"


@pytest.mark.parametrize("arguments", [["translate", "one two"], ["evaluate", "pairs.tsv"]])
def test_parameters_that_overflow_are_one_line_without_warnings(arguments, huge, capsys, monkeypatch):
    monkeypatch.chdir(huge.parent)
    command, what = arguments
    assert main([command, str(huge), what]) == 1
    assert capsys.readouterr().err == "numpy-attention: params: with them the logits are no longer finite\n"


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


def test_the_lines_of_a_file_are_translated_together(letters, tmp_path, capsys, monkeypatch):
    lines = ["a b c", "", "a q", "b", *["a c d"] * 30]
    (tmp_path / "lines.txt").write_bytes("\n".join(lines).encode() + b"\n")
    monkeypatch.setattr("sys.stdin", io.StringIO("\n".join(lines)))
    assert main(["translate", str(letters)]) == 2
    one_by_one, calls = capsys.readouterr(), []
    translate = na.Seq2Seq.translate
    monkeypatch.setattr(
        na.Seq2Seq, "translate", lambda *args, **more: calls.append(args[2]) or translate(*args, **more)
    )
    with open(tmp_path / "lines.txt", encoding="utf-8") as file:
        monkeypatch.setattr("sys.stdin", file)
        assert main(["translate", str(letters)]) == 2
    together = capsys.readouterr()
    assert (together.out, together.err) == (one_by_one.out, one_by_one.err)
    assert [len(sources) for sources in calls if sources] == [32]  # without the empty line and the one with an error


def test_of_a_file_that_is_no_utf_8_the_lines_before_are_translated(folder, tmp_path, capsys, monkeypatch):
    (tmp_path / "lines.txt").write_bytes(b"one two\n" * 4000 + b"\xff\n")
    with open(tmp_path / "lines.txt", encoding="utf-8") as file:
        monkeypatch.setattr("sys.stdin", file)
        assert main(["translate", str(folder / "run")]) == 2
    found = capsys.readouterr()
    assert found.out.count("\n") > 1000
    assert "standard input: expected UTF-8" in found.err
