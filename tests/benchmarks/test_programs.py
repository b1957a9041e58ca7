"""The benchmarks' own parts that need no framework: sizes, floor, results, meters, and workers."""

import json
import math
from pathlib import Path

import numpy as np
import pytest

from benchmarks import (
    floor,
    learning,
    machine,
    measuring,
    memory,
    profile,
    results,
    scaling,
    search,
    startup,
    time_to_solve,
    train_step,
)
from benchmarks.crew import Failed, Side, Worker
from benchmarks.problems import QUICK, SIZES, SearchSize, Size, make_problem, square
from benchmarks.sides import compare
from numpy_attention import TrainConfig, train

PRODUCTS = {  # multiplications and additions of every part of a step, written down from the equations
    "forward": lambda B, T, U, E, H, D, A, V: (
        V * E * H + V * E * D + B * T * H * H + B * T * H * A + B * H * D,
        U * B * (D * A + T * A + T * H + (D + H) * D + (D + H) * V),
    ),
    "backward": lambda B, T, U, E, H, D, A, V: (
        2 * V * E * H + 2 * V * E * D + 2 * B * T * H * H + 2 * B * T * H * A + 2 * B * H * D,
        U * B * (2 * D * A + 2 * T * A + 2 * T * H + 2 * (D + H) * D + 2 * (D + H) * V),
    ),
}
ODD = Size(B=3, T=5, U=4, E=2, H=6, D=7, A=8, V=9)  # no two letters the same


def test_a_problem_has_its_size_and_is_the_same_every_time():
    for size in (*QUICK.values(), SIZES["small"], SIZES["ragged"]):
        problem, again = make_problem(size), make_problem(size)
        assert problem.batch.source.shape == (size.B, size.T)
        assert problem.batch.target_output.shape == (size.B, size.U)
        assert problem.batch.source_mask.all() != size.ragged
        np.testing.assert_array_equal(problem.batch.source, again.batch.source)
        assert problem.params["decoder.C"].dtype == np.float32
    assert len(make_problem(SIZES["ragged"], sequences=3).batch.source) == 3


@pytest.mark.parametrize("size", [ODD, QUICK["tiny"], SIZES["small"], SIZES["large"]])
def test_the_floor_has_every_product_of_the_step(size):
    work = sum(line.work * line.count for line in floor.lines_of(size) if isinstance(line, floor.Product))
    expected = sum(2 * number for part in PRODUCTS.values() for number in part(*size[:8]))
    assert math.isclose(work, expected, rel_tol=1e-12)


@pytest.mark.parametrize("size", [ODD, SIZES["small"], SIZES["medium"]])
def test_the_floor_has_every_element_of_the_alignment(size):
    elements = {}
    for line in floor.lines_of(size):
        if isinstance(line, floor.Elements) and line.name.startswith(("alignment", "dquery", "dkeys")):
            elements[line.function] = elements.get(line.function, 0) + line.work * line.count
    everything = size.B * size.T * size.U * size.A
    assert elements == {"add": 2 * everything, "multiply": everything, "tanh": everything, "square": everything}


def test_the_operands_of_the_floor_fit_together():
    rng = np.random.default_rng(0)
    for line in floor.lines_of(ODD):
        if isinstance(line, floor.Product):
            assert line.left.make(rng).shape == line.left.shape
            assert line.right.make(rng).shape == line.right.shape
        line.make(rng)()


def test_the_floor_can_be_timed():
    desk = {}
    lines = floor.prepare(desk, QUICK["tiny"])
    times = floor.turn(desk, 1)
    assert len(times) == len(lines)
    assert min(times) > 0


def test_an_array_that_is_cut_counts_as_a_whole():
    line = floor.Elements("", 1, "tanh", (100, 1000))
    assert line.cut == pytest.approx(100 / 65)
    assert floor.Elements("", 1, "tanh", (4, 5)).cut == 1


def test_every_round_has_every_side_and_another_begins():
    orders = [measuring.order_of(3, number) for number in range(6)]
    assert all(sorted(order) == [0, 1, 2] for order in orders)
    assert {order[0] for order in orders} == {0, 1, 2}


def test_the_meter_sees_fifty_megabytes():
    measuring.settle_memory()
    before = measuring.resident()
    with measuring.Peak() as peak:
        np.ones(50_000_000, np.uint8)
    assert 45e6 < peak.bytes - before < 90e6
    measuring.settle_memory()
    with measuring.Peak() as peak:
        pass
    assert peak.bytes - before < 30e6


def test_the_meter_samples_where_the_kernel_keeps_no_mark(monkeypatch):
    monkeypatch.setattr(measuring, "kept_by_kernel", lambda: False)
    before = measuring.resident()
    with measuring.Peak() as peak:
        held = np.ones(50_000_000, np.uint8)
        for _ in range(20):
            held += 1
    assert peak.method == "a sampling thread"
    assert peak.bytes - before > 40e6


def test_a_worker_answers_and_says_what_went_wrong():
    with Worker(Side("two", "ours", 1, 2)) as worker:
        assert worker.call("benchmarks.floor:prepare", QUICK["tiny"])[1][0]["name"] == "source embedding: projection"
        assert len(worker.call("benchmarks.floor:turn", 1)) == 2
        with pytest.raises(Failed, match="AttributeError.*no_such_function"):
            worker.call("benchmarks.floor:no_such_function")


def test_a_worker_that_takes_too_long_is_ended():
    with (
        Worker(Side("one", "ours")) as worker,
        pytest.raises(Failed, match="more than 0 s"),
    ):
        worker.call("benchmarks.memory:steps", Side("one", "ours"), SIZES["medium"], {}, limit=0.01)


def test_a_side_that_computes_something_else_is_refused():
    side, ours = Side("theirs", "torch"), (1.0, {"W": np.ones((2, 2))})
    compare(side, (1.0, {"W": np.ones((2, 2))}), ours, 1e-10)
    for wrong in ({"W": np.full((2, 2), 1.001)}, {"W": np.full((2, 2), np.nan)}, {"W": np.ones(2)}, {"U": np.ones(2)}):
        with pytest.raises(ValueError, match="theirs"):
            compare(side, (1.0, wrong), ours, 1e-10)
    with pytest.raises(ValueError, match="loss"):
        compare(side, (1.1, ours[1]), ours, 1e-10)


def test_the_profile_accounts_for_the_whole_step_and_puts_everything_back():
    from numpy_attention.model import decoder

    before = dict(vars(decoder))
    found = profile.profile({}, QUICK["tiny"], 2, 0.01)
    assert dict(vars(decoder)) == before
    names = {line["name"]: line for line in found["lines"]}
    assert names["decoder: alignment_forward"]["calls"] == QUICK["tiny"].U
    assert {"decoder: tanh_cell_backward_previous", "decoder: np.stack", "seq2seq: check_params"} <= names.keys()
    assert sum(line["ms"] for line in found["lines"]) == pytest.approx(1e3 * np.mean(found["clocked"]))


def test_a_clock_gives_every_function_its_own_time(monkeypatch):
    now = iter(range(100))
    monkeypatch.setattr(profile.time, "perf_counter", lambda: float(next(now)))
    clock = profile.Clock()
    inner = clock.around("inner", lambda: None)
    clock.around("outer", lambda: (inner(), inner()))()
    assert clock.seconds == {"inner": 2.0, "outer": 3.0}
    assert clock.calls == {"inner": 2, "outer": 1}


def test_a_run_that_is_timed_learns_what_training_learns(tmp_path):
    settings = {"task": "reverse", "length": 3, **time_to_solve.TINY, "steps": 5}
    run = learning.OurRun(TrainConfig(**settings))
    for _ in range(5):
        run.update()
    trained = train(TrainConfig(**settings, out=tmp_path / "run"), progress=None)
    for name, value in trained.params.items():
        np.testing.assert_array_equal(run.params[name], value, err_msg=name)


def test_tokens_are_counted_with_eos():
    assert search.output_tokens([[5, 6], [], [7] * 10], max_length=10) == 3 + 1 + 10


def test_import_times_are_read():
    text = (
        "import time: self [us] | cumulative | imported package\nimport time:      1500 |       2000 |   a.b\nother\n"
    )
    assert startup.parse_importtime(text) == {"a.b": 1.5}


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (1234.5, "1,230"), (0.012345, "0.0123"), (9.999, "10.0"), (1e9, "1.00e+09"), (2, "2.00")],
)
def test_numbers_are_short(value, text):
    assert results.short(value) == text


def figures_of_every_program():
    """A few numbers as the programs save them."""
    size = QUICK["tiny"]
    lines = [floor.described(line) | {"ms": 1.0} for line in floor.lines_of(size)]
    seconds = {
        "ours, 1 thread": [1.0, 2.0, 3.0],
        "ours, 2 threads": [1.0, 2.0, 2.0],
        "PyTorch eager": [2.0, 2.0, 2.0],
        "JAX jit": [4.0, 1.0, 4.0],
        "floor, 1 thread": [0.5, 0.5, 0.5],
    }
    memory_of = {name: [1_000_000, 2_000_000] for name in memory.MEASURES}
    lane = {"seconds": 3.0, "updates": 50, "best": 0.5, "why": "", "ready": 0.1, "turns": [1.0, 2.0], "losses": [2.0]}
    setting = SearchSize(20, 5, 12, 8, 16, 10, 1)
    return {
        "train_step": {
            "rounds": 3,
            "turn_seconds": 0.5,
            "cores": 2,
            "sizes": {
                "tiny": {
                    "size": size._asdict(),
                    "seconds": seconds,
                    "calls": {},
                    "ready": {"JAX jit": 2.0},
                    "left_out": {"HIPS autograd": "not installed"},
                    "floor": {"floor, 1 thread": lines},
                }
            },
        },
        "profile": {
            "rounds": 2,
            "sizes": {
                "tiny": {
                    "size": size._asdict(),
                    "lines": [{"name": "decoder: alignment_forward", "ms": 2.0, "calls": 5.0}],
                    "plain": [0.001],
                    "clocked": [0.002],
                }
            },
        },
        "memory": {
            "rounds": 2,
            "method": "VmHWM",
            "sizes": {
                "tiny": {
                    "size": size._asdict(),
                    "bytes": {"ours": memory_of, "PyTorch eager": memory_of},
                    "left_out": {},
                }
            },
        },
        "scaling": {
            "rounds": 1,
            "method": "VmHWM",
            "points": [
                {"sweep": sweep, "kind": kind, "size": square(2, 4, 8, 12)._asdict(), "seconds": [0.1], "bytes": [1000]}
                for sweep in ("length", "batch")
                for kind in scaling.KINDS
            ],
        },
        "time_to_solve": {
            "limit": 10.0,
            "every": 25,
            "cores": 2,
            "left_out": {"ours, 2 ranks": "MPI is not installed"},
            "runs": [
                {
                    "config": {"task": "reverse", "length": 10, "seed": 0},
                    "sides": {
                        "ours, 1 thread": lane | {"reached": True},
                        "PyTorch eager": lane | {"reached": False, "why": "time is up"},
                    },
                    "left_out": {},
                    "apart": 1e-6,
                }
            ],
        },
        "search": {
            "rounds": 3,
            "cores": 2,
            "settings": {
                "greedy": {
                    "setting": setting._asdict(),
                    "seconds": {"ours, 1 thread": [1.0, 1.0, 1.0], "JAX jit": [2.0, 2.0, 4.0]},
                    "tokens": {"ours, 1 thread": 100, "JAX jit": 100},
                    "ready": {"ours, 1 thread": 0.1, "JAX jit": 1.0},
                    "same": {"ours, 1 thread": 1.0, "JAX jit": 1.0},
                    "left_out": {},
                }
            },
        },
        "startup": {
            "rounds": 2,
            "seconds": {startup.BARE: [0.1, 0.1], startup.NUMPY: [0.2, 0.2], startup.OURS: [0.4, 0.5]},
            "modules": {"numpy": [50.0], "numpy_attention.model": [3.0]},
            "of_numpy": ["numpy"],
        },
    }


def test_the_page_is_made_of_whatever_files_there_are(tmp_path):
    described = machine.describe_machine()
    json.dumps(described)
    assert "# Results" in results.render({}, tmp_path)
    for name, figures in figures_of_every_program().items():
        (tmp_path / f"{name}.json").write_text(json.dumps({"machine": described} | figures))
        page = results.write_page(tmp_path).read_text()
    headings = [line for line in page.splitlines() if line.startswith("## ")]
    assert headings == [
        "## In short",
        "## One training step",
        "## Where the time of a step goes",
        "## Memory",
        "## Scaling",
        "## Time to solve a task",
        "## Search",
        "## Start-up",
    ]
    assert page.count("Machine: ") == 1
    # The ratio is taken in every round, and then its median: of 1/2, 2/2, 3/2, where that of the medians is the same.
    assert "| tiny | PyTorch eager | ours, 1 thread | 1.00 (0.500 to 1.50) |" in page
    assert "| tiny | ours, 1 thread | floor, 1 thread | 4.00 (2.00 to 6.00) |" in page
    assert "HIPS autograd (tiny): not installed" in page
    assert "search, greedy: tokens a second, ours, 1 thread, by JAX jit | 2.00 (2.00 to 4.00)" in page
    assert "not reached (time is up after 3.00 s, 50 updates), best 50.0 %" in page
    assert "| `import numpy_attention` beyond `import numpy`, ms | 250 (200 to 300) |" in page


def test_the_pictures_can_be_drawn(tmp_path):
    pytest.importorskip("matplotlib", reason="matplotlib is not installed: nothing to draw with")
    figures = figures_of_every_program()
    train_step.draw(figures["train_step"], tmp_path / "train_step.png")
    scaling.draw(figures["scaling"], tmp_path / "scaling.png")
    assert "![" in results.figure("scaling.png", tmp_path, "a picture")
    assert results.figure("other.png", tmp_path, "a picture") == ""


@pytest.mark.parametrize("program", ["profile", "startup"])
def test_a_program_runs_from_its_command_line(program, tmp_path, monkeypatch, capsys):
    import importlib

    monkeypatch.setattr("sys.argv", [program, "--quick", "--rounds", "1", "--out", str(tmp_path)])
    importlib.import_module(f"benchmarks.{program}").main()
    assert (tmp_path / f"{program}.json").exists()
    assert "RESULTS.md" in capsys.readouterr().out


def test_a_smoke_run_writes_beside_the_results_and_not_into_them(monkeypatch, tmp_path):
    monkeypatch.setattr(results, "QUICK", tmp_path / "quick")
    parser = results.arguments("", rounds=11)
    results.add_peers(parser, ["torch", "compile"])
    options = results.parse(parser, ["--quick"])
    assert (options.rounds, options.out, options.peers) == (2, tmp_path / "quick", ["torch"])
    with pytest.raises(SystemExit):
        results.parse(parser, ["--rounds", "0"])


def test_the_times_in_the_readme_are_those_that_were_measured():
    root = Path(__file__).parents[2]
    page = (root / "README.md").read_text(encoding="utf-8")
    head, _, *rows = page[page.index("| B, T = U") :].partition("\n\n")[0].splitlines()
    sides = ["ours, 1 thread", "ours, 2 ranks", "PyTorch eager", "PyTorch compile", "JAX jit", "HIPS autograd"]
    assert head.count("|") == len(sides) + 2
    sizes = json.loads((root / "benchmarks" / "results" / "train_step.json").read_text(encoding="utf-8"))["sizes"]
    assert len(rows) == 4
    for row, found in zip(rows, sizes.values(), strict=False):
        size, *cells = [cell.strip() for cell in row.strip("|").split("|")]
        assert size == "{B}, {T}, {H}".format(**found["size"])
        for side, cell in zip(sides, cells, strict=True):
            milliseconds = 1e3 * float(np.median(found["seconds"][side]))
            assert math.isclose(float(cell.replace(",", "")), milliseconds, rel_tol=0.03), (size, side, milliseconds)
