"""The benchmarks' own parts: the floor, the meters, the processes of a side, and the pages of results."""

import dataclasses
import importlib
import json
import math
import re
import time
from argparse import Namespace
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from benchmarks import floor, learning, measuring, memory, results, search, time_to_solve
from benchmarks.crew import Failed, Side, Worker
from benchmarks.problems import QUICK, SIZES, Size, make_problem
from benchmarks.published import ablation, book, bottleneck, common, page, wang
from numpy_attention import Seq2Seq, TrainConfig, train
from numpy_attention.data.batch import BOS, EOS, PAD
from numpy_attention.data.scan import scan
from numpy_attention.sweep import Outcome, grid, sweep
from tests.browser import missing

ROOT = Path(__file__).parents[2]
ODD = Size(B=3, T=5, U=4, E=2, H=6, D=7, A=8, V=9)  # no two letters the same
OURS = Side("ours", "ours")


def products_of_a_step(B, T, U, E, H, D, A, V, _):
    """Multiplications and additions, written down from the equations."""
    forward = V * E * H + V * E * D + B * T * H * H + B * T * H * A + B * H * D
    forward += U * B * (D * A + T * A + T * H + (D + H) * D + (D + H) * V)
    return 2 * 3 * forward  # two more of each on the way back


def test_a_problem_has_its_size_and_is_the_same_every_time():
    for size in (*QUICK.values(), SIZES["small"], SIZES["ragged"]):
        problem, again = make_problem(size), make_problem(size)
        assert problem.batch.source.shape == (size.B, size.T)
        assert problem.batch.target_output.shape == (size.B, size.U)
        assert problem.batch.source_mask.all() != size.ragged
        np.testing.assert_array_equal(problem.batch.source, again.batch.source)
        assert problem.params["decoder.C"].dtype == np.float32
    assert len(make_problem(SIZES["ragged"], sequences=3).batch.source) == 3


@pytest.mark.parametrize("size", [ODD, QUICK["tiny"], SIZES["small"]])
def test_the_floor_has_every_product_of_the_step(size):
    work = sum(line.work * line.times for line in floor.lines(size) if line.function is np.matmul)
    assert math.isclose(work, products_of_a_step(*size), rel_tol=1e-12)


@pytest.mark.parametrize("size", [ODD, SIZES["small"]])
def test_the_floor_has_every_element_of_the_alignment(size):
    elements = {}
    for line in floor.lines(size):
        if line.name.startswith("alignment") and line.function is not np.matmul:
            elements[line.function] = elements.get(line.function, 0) + line.work * line.times
    everything = size.B * size.T * size.U * size.A
    assert elements == {np.add: 2 * everything, np.multiply: everything, np.tanh: everything, np.square: everything}


def test_an_elementwise_function_is_cut_down_to_the_cache_and_counts_as_a_whole():
    assert floor.Line("", 1, np.tanh, (np.ones((100, 1000)),)).call()[1] == pytest.approx(100 / 65)
    assert floor.Line("", 1, np.tanh, (np.ones((4, 5)),)).call()[1] == 1


def test_the_floor_can_be_timed():
    assert floor.make(QUICK["tiny"])(3) > 0


def test_every_round_has_every_side_and_another_begins():
    orders = [measuring.order_of(3, number) for number in range(6)]
    assert all(sorted(order) == [0, 1, 2] for order in orders)
    assert {order[0] for order in orders} == {0, 1, 2}


@pytest.mark.parametrize("kept", [True, False])
def test_the_peak_has_an_array_that_is_gone_again(kept, monkeypatch):
    if kept and not measuring.kept_by_kernel():
        pytest.skip("the kernel does not reset its mark")
    monkeypatch.setattr(measuring, "kept_by_kernel", lambda: kept)
    with measuring.Peak() as peak:
        held = np.ones(1 << 28, np.uint8)
        inside = measuring.resident()
        for _ in range(1000):
            if kept or peak.bytes >= inside - (1 << 26):
                break
            time.sleep(0.01)  # until the thread has sampled
        del held
    assert peak.bytes >= inside - (1 << 26)


def test_the_processes_of_a_side_return_what_they_compute_and_say_what_went_wrong():
    with Worker(Side("two", "ours", 1, 2)) as worker:
        first, second = worker.call("benchmarks.learning:prepare", OURS, {"task": "copy", "length": 3})
        assert first > 0
        assert second > 0
        accuracy, nothing = worker.call("benchmarks.learning:accuracy")
        assert 0 <= accuracy <= 1
        assert nothing is None
        with pytest.raises(Failed, match="AttributeError.*no_such_function"):
            worker.call("benchmarks.learning:no_such_function")


@pytest.mark.slow
def test_a_call_that_takes_too_long_is_ended():
    with Worker(OURS) as worker, pytest.raises(Failed, match="more than 0 s"):
        worker.call("benchmarks.memory:steps", OURS, SIZES["large"], limit=0.01)


def test_memory_that_is_measured_again_keeps_the_figures_of_the_other_sides():
    size = SIZES["small"]._asdict()
    earlier = {"size": size, "method": "VmHWM", "bytes": {"ours": 1, "a": 2, "b": 3}, "left_out": {"c": "why"}}
    now = {"size": size, "method": "VmHWM", "bytes": {"ours": 4, "c": 5}, "left_out": {"b": "died"}}
    found = memory.with_earlier(now, {"small": earlier})
    assert (found["bytes"], found["left_out"]) == ({"ours": 4, "a": 2, "c": 5}, {"b": "died"})
    for other in ({"size": SIZES["large"]._asdict()}, {"method": "samples"}):
        assert memory.with_earlier(now, {"small": earlier | other}) == now


@pytest.mark.slow
def test_a_side_that_fails_is_left_out_and_the_others_are_timed():
    sides = [OURS, Side("unknown", "no such peer")]
    options = Namespace(rounds=2, limit=None)
    found = measuring.time_sides(sides, "benchmarks.sides:prepare", QUICK["tiny"], options, turn=0.0)
    assert len(found.seconds["ours"]) == 2
    assert found.left_out == {"unknown": "KeyError: 'no such peer'"}


def test_a_run_that_is_timed_learns_what_training_learns(tmp_path):
    settings = {"task": "reverse", "length": 3, **time_to_solve.TINY, "steps": 5}
    run = learning.OurRun(TrainConfig(**settings))
    for _ in range(5):
        run.update()
    trained = train(TrainConfig(**settings, out=tmp_path / "run"), progress=None)
    for name, value in trained.params.items():
        np.testing.assert_array_equal(run.params[name], value, err_msg=name)


def test_trainings_that_cannot_be_compared_are_refused():
    config = TrainConfig("reverse", length=3, **time_to_solve.TINY)
    for other in ({"dropout": 0.1}, {"optimizer": "sgd", "learning_rate": 0.1}, {"weight_decay": 0.1}):
        with pytest.raises(ValueError, match="config: expected Adam alone"):
            learning.OurRun(dataclasses.replace(config, **other))


def test_losses_that_go_apart_are_seen():
    assert time_to_solve.apart([[2.0, 1.0], [2.0, 1.1, 5.0]]) == pytest.approx(0.1)
    assert time_to_solve.apart([[2.0, 1.0]]) == 0
    assert time_to_solve.apart([]) == 0


def test_tokens_are_counted_with_eos():
    assert search.output_tokens([[5, 6], [], [7] * 10], max_length=10) == 3 + 1 + 10


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (1234.5, "1,230"), (0.012345, "0.0123"), (9.999, "10.0"), (1e9, "1.00e+09"), (2, "2.00")],
)
def test_numbers_are_short(value, text):
    assert results.short(value) == text


def test_ratios_are_taken_in_every_round():
    assert results.spread(results.ratios([1.0, 4.0, 3.0], [2.0, 2.0, 1.0])) == "2.00 (0.500 to 3.00)"


@pytest.mark.parametrize("name", results.PAGES)
def test_the_pages_are_those_that_the_programs_write(name):
    assert results.render(name, results.FOLDER) == (ROOT / "benchmarks" / name).read_text(encoding="utf-8")


def test_the_page_of_published_results_is_what_its_programs_write():
    assert page.render(results.FOLDER) == (ROOT / "docs" / "results.md").read_text(encoding="utf-8")


@pytest.mark.slow
@pytest.mark.parametrize("program", page.PROGRAMS)
def test_a_program_of_published_results_makes_its_table(program, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(results, "QUICK", tmp_path / "quick")
    monkeypatch.setattr(common, "sweep", partial(sweep, executor=ThreadPoolExecutor(1), progress=None))
    module = importlib.import_module(f"benchmarks.published.{program}")
    monkeypatch.setattr("sys.argv", [program, "--quick", "--processes", "1"])
    module.main()
    written = (tmp_path / "quick" / "results.md").read_text()
    rows = json.loads((tmp_path / "quick" / f"published_{program}.json").read_text())["rows"]
    assert len(rows) > 1
    assert f"python -m benchmarks.published.{program}`" in written
    monkeypatch.setattr("sys.argv", [program, "--quick", "--table"])
    module.main()
    assert (tmp_path / "quick" / "results.md").read_text() == written


def test_strings_of_the_test_are_not_trained_on(tmp_path):
    wang.write_files(tmp_path, few=True)
    sides = {path.stem: path.read_text().split("\n")[:-1] for path in tmp_path.iterdir()}
    sources = {name: {line.split("\t")[0] for line in lines} for name, lines in sides.items()}
    assert not sources["copy"] & sources["copy-test"]
    assert not sources["copy"] & sources["copy-dev"]
    assert not sources["copy-dev"] & sources["copy-test"]
    assert {len(source) for source in sources["copy"]} == set(wang.TRAINED)
    assert {len(source) for source in sources["reverse-test"]} == set(wang.TESTED)
    assert all(line.split("\t")[1] == line.split("\t")[0][::-1] for line in sides["reverse"])


def test_the_split_of_the_book_is_its_own(tmp_path):
    training, test = book.write_files("addition", tmp_path, few=False)
    lines = training.read_text().splitlines(), test.read_text().splitlines()
    assert list(map(len, lines)) == [45_000, 5_000]
    assert not set(lines[0]) & set(lines[1])
    # The first training pair is 71+118 = 189: the one that the book prints as [3 0 2 0 0 11 5] and [6 0 11 7 5].
    assert lines[0][0] == "71+118\t189"


def test_dates_of_the_test_that_were_trained_on_are_counted(tmp_path):
    training, test = book.write_files("date", tmp_path, few=False)
    seen = {line.split("\t")[0] for line in training.read_text().splitlines()}
    assert sum(line.split("\t")[0] in seen for line in test.read_text().splitlines()) == 1405
    training.write_text("1+1\t2\n2+2\t4\n1+2\t3\n2+1\t3\n")
    test.write_text("1+1\t2\n1+11\t12\n")
    tiny = {"hidden_size": 4, "embedding_size": 4, "alignment_size": 4, "steps": 1}
    config = TrainConfig(str(training), dev=test, test=test, tokens="characters", **tiny, out=tmp_path / "run")
    run = train(config, progress=None)
    found = book.row(Outcome("", config, tmp_path, run, [], None))
    assert (found["tested"], found["new"], found["new_accuracy"]) == (2, 1, 0)


def test_the_license_of_the_book_lies_beside_its_files():
    text = (book.DATA / "LICENSE").read_text(encoding="utf-8")
    assert "MIT" in text
    assert "Koki Saitoh" in text


def test_every_length_of_the_bottleneck_is_counted_once():
    lows = range(bottleneck.SHORTEST, bottleneck.LONGEST, bottleneck.WIDTH)
    counted = [length for low in lows for length in range(low, bottleneck.last_of(low) + 1)]
    assert counted == list(range(bottleneck.SHORTEST, bottleneck.LONGEST + 1))


def test_a_model_that_reads_itself_is_not_trained_on_what_follows_its_end():
    data = scan("simple", 0)
    model = Seq2Seq(len(data.source_vocabulary), len(data.target_vocabulary), 4, 5, alignment="none")
    params = model.init(0)
    params["output.b"][[PAD, BOS, EOS]] = -100
    batch = data.batch(0, 16)
    own = ablation.reading_itself(model, params, batch)
    sources = [list(row[mask]) for row, mask in zip(batch.source, batch.source_mask, strict=True)]
    longest = own.target_input.shape[1] - 1
    outputs = model.translate(params, sources, max_length=longest)
    assert own.target_input.tolist() == [[BOS, *output.tokens] for output in outputs]
    np.testing.assert_array_equal(own.target_mask, batch.target_mask)  # none of them has ended
    params["output.b"][EOS] = 100
    ended = ablation.reading_itself(model, params, batch)
    assert (ended.target_input[:, 1:] == EOS).all()
    assert (ended.target_mask.sum(axis=1) == 1).all()


def test_the_initial_values_of_pytorch():
    model = Seq2Seq(2000, 1000, 16, 25, alignment="none")
    for name, value in ablation.pytorch_values(model, np.random.default_rng(0)).items():
        if name.endswith("embedding"):
            assert value.std() == pytest.approx(1, abs=0.02), name
        else:
            assert np.abs(value).max() <= 1 / 5, name
            assert np.abs(value).max() > 0.1, name


def test_a_run_of_another_recipe_is_not_taken_for_one_that_is_over(tmp_path):
    job = ("ours", 0)
    assert ablation.saved(tmp_path, job, ablation.OURS) is None
    row = {**dataclasses.asdict(ablation.OURS), "sequence_accuracy": 0.5}
    ablation.path_of(tmp_path, job).write_text(json.dumps(row))
    assert ablation.saved(tmp_path, job, ablation.OURS) == row
    assert ablation.saved(tmp_path, job, dataclasses.replace(ablation.OURS, clip=2.0)) is None


def program(folder, monkeypatch, **settings):
    """Options of a program that writes into a folder, and a function that runs its configs there."""
    monkeypatch.setattr(results, "QUICK", folder / "quick")
    monkeypatch.setattr(common, "sweep", partial(sweep, executor=ThreadPoolExecutor(1), progress=None))
    options = Namespace(quick=True, table=False, out=folder / "runs", processes=1)
    vars(options).update(settings)
    configs = grid(task="copy", length=[(3, 4)], seed=range(2))
    return lambda: common.run("recipe", configs, options, lambda outcome: {})


def test_a_table_without_runs_leaves_the_one_that_is_there(tmp_path, monkeypatch):
    kept = tmp_path / "quick" / "published_recipe.json"
    kept.parent.mkdir()
    kept.write_text("kept")
    with pytest.raises(SystemExit, match="^recipe: no run is over, so there is no table$"):
        program(tmp_path, monkeypatch, table=True)()
    assert kept.read_text() == "kept"


def test_a_run_that_fails_is_missing_in_the_table_and_in_the_exit_status(tmp_path, monkeypatch, capsys):
    made = program(tmp_path, monkeypatch)
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "copy seed=1").write_text("in the way")
    with pytest.raises(SystemExit) as ended:
        made()
    assert ended.value.code == 1
    assert "1 of 2 runs are not over; the same command makes them" in capsys.readouterr().out
    rows = json.loads((tmp_path / "quick" / "published_recipe.json").read_text())["rows"]
    assert [row["seed"] for row in rows] == [0]


def test_an_interruption_and_a_folder_of_other_runs_are_one_line_each(tmp_path, monkeypatch, capsys):
    def interrupted(*arguments, **settings):
        raise KeyboardInterrupt

    made = program(tmp_path, monkeypatch)
    monkeypatch.setattr(common, "sweep", interrupted)
    with pytest.raises(SystemExit, match="^interrupted; run the same command again to continue$"):
        made()
    program(tmp_path, monkeypatch)()
    monkeypatch.setattr(common, "TINY", {**common.TINY, "steps": 30})
    with pytest.raises(SystemExit) as ended:
        program(tmp_path, monkeypatch)()
    assert ended.value.code == 2
    line = capsys.readouterr().err
    assert line.startswith("error: folder: ")
    assert "steps 20, expected 30" in line


@pytest.mark.parametrize("words", [["--seeds", "0"], ["--processes", "0"], ["--full"]])
def test_wrong_settings_of_a_program_are_refused(words, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["scan", *words])
    with pytest.raises(SystemExit) as ended:
        common.options_of("")
    assert ended.value.code == 2
    assert words[0] in capsys.readouterr().err


def test_what_was_measured_is_saved_after_every_case_and_kept_on_request(tmp_path, monkeypatch):
    monkeypatch.setitem(results.PAGES, "RESULTS.md", ("train_step",))
    parser = results.arguments("", rounds=2)
    found = {"size": ODD._asdict(), "seconds": {}, "ready": {}, "left_out": {"JAX jit": "not installed"}}
    once = results.parse(parser, ["--out", str(tmp_path)])
    results.measure("train_step", once, {"one": ODD}, lambda size: found, rounds=2, turn_seconds=1)
    assert "JAX jit (one): not installed" in " ".join((tmp_path / "RESULTS.md").read_text().split())
    again = results.parse(parser, ["--out", str(tmp_path), "--add"])
    results.measure("train_step", again, {"two": ODD}, lambda size: found, rounds=2, turn_seconds=1)
    saved = json.loads((tmp_path / "train_step.json").read_text())
    assert list(saved["cases"]) == ["one", "two"]
    with pytest.raises(SystemExit, match="was measured with turn_seconds 1, expected 2"):
        results.measure("train_step", again, {"two": ODD}, lambda size: found, rounds=2, turn_seconds=2)


def test_a_smoke_run_writes_beside_the_results_and_not_into_them(monkeypatch, tmp_path):
    monkeypatch.setattr(results, "QUICK", tmp_path / "quick")
    parser = results.arguments("", rounds=11, quick_rounds=2)
    results.add_peers(parser, ["torch", "compile"])
    options = results.parse(parser, ["--quick"])
    assert (options.rounds, options.out, options.peers) == (2, tmp_path / "quick", ["torch"])
    with pytest.raises(SystemExit):
        results.parse(parser, ["--rounds", "0"])


@pytest.mark.slow
@pytest.mark.parametrize("program", [program for programs in results.PAGES.values() for program in programs])
def test_a_program_measures_every_side_that_is_installed(program, tmp_path, monkeypatch):
    if program == "page" and (reason := missing()):
        pytest.skip(reason)
    monkeypatch.setattr("sys.argv", [program, "--quick", "--rounds", "1", "--out", str(tmp_path)])
    importlib.import_module(f"benchmarks.{program}").main()
    cases = json.loads((tmp_path / f"{program}.json").read_text())["cases"]
    assert cases
    for case in cases.values():
        assert set(case.get("left_out", {}).values()) <= {"not installed", "MPI is not installed"}


def test_how_well_it_learns_in_the_readme_is_what_was_measured():
    page = (ROOT / "README.md").read_text(encoding="utf-8")
    rows = json.loads((results.FOLDER / "published_recipe.json").read_text(encoding="utf-8"))["rows"]
    told = re.findall(r"^\| length (\d+) \| ([\d,]+) \| (.*?) \| (.*?) \| ([\d.]+) \| (\d+) \|$", page, re.MULTILINE)
    assert len(told) == 4
    for length, updates, *shares, seconds, seeds in told:
        found = common.where(rows, length=int(length), cell="tanh", bidirectional=False)
        assert f"{found[0]['steps']:,}" == updates
        for task, share in zip(("copy", "reverse"), shares, strict=True):
            each = common.where(found, task=task)
            assert (common.percent([row["sequence_accuracy"] for row in each]), len(each)) == (share, int(seeds))
        median = float(np.median([row["seconds_to_99"] for row in found]))
        assert f"{median:.{len(seconds.partition('.')[2])}f}" == seconds


def test_the_times_on_the_page_about_speed_are_those_that_were_measured():
    page = (ROOT / "docs/speed.md").read_text(encoding="utf-8")
    head, _, *rows = page[page.index("| B, T = U") :].partition("\n\n")[0].splitlines()
    sides = ["ours, 1 thread", "ours, 2 workers", "PyTorch eager", "PyTorch compile", "JAX jit", "HIPS autograd"]
    assert head.count("|") == len(sides) + 2
    sizes = json.loads((results.FOLDER / "train_step.json").read_text(encoding="utf-8"))["cases"]
    for row, name in zip(rows, ("small", "medium", "large", "long"), strict=True):
        found = sizes[name]
        size, *cells = [cell.strip() for cell in row.strip("|").split("|")]
        assert size == "{B}, {T}, {H}".format(**found["size"])
        for side, cell in zip(sides, cells, strict=True):
            milliseconds = 1e3 * float(np.median(found["seconds"][side]))
            assert math.isclose(float(cell.replace(",", "")), milliseconds, rel_tol=0.03), (size, side, milliseconds)
