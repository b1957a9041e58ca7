"""Time to check every gradient of the model: our checker, and torch.autograd.gradcheck.

    python -m benchmarks.gradcheck_speed [--quick] [--sizes small large]

Each side checks its own gradients of the same loss, at the same parameters and batch, in float64 and on one core:

    full          every entry: ours by the complex step, PyTorch's fast_mode=False by central differences
    directional   ours along two random directions; PyTorch's fast_mode=True along one per parameter

Loss and gradients of the two sides agree to 1e-10 before anything is timed. Writes results/gradcheck_speed.json.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from benchmarks import results
from benchmarks.crew import Side
from benchmarks.measuring import time_sides, timed
from benchmarks.peers import require_agreement
from benchmarks.problems import Problem, Size, make_problem
from benchmarks.results import joined, ratios, spread, table, wrap
from benchmarks.sides import AGREEMENT
from numpy_attention import check_gradients

NAME = "gradcheck_speed"
SIZES = {
    "small": Size(B=2, T=3, U=4, E=2, H=3, D=5, A=4, V=7, ragged=True),
    "medium": Size(B=3, T=5, U=6, E=4, H=6, D=8, A=7, V=10, ragged=True),
    "large": Size(B=4, T=8, U=9, E=8, H=10, D=14, A=12, V=16, ragged=True),
    "very large": Size(B=16, T=15, U=15, E=16, H=24, D=24, A=24, V=32, ragged=True),
}
MODES = ("full", "directional")
SIDES = [Side(f"{mode}, {name}", kind) for mode in MODES for name, kind in (("ours", "ours"), ("PyTorch", "torch"))]


def main() -> None:
    parser = results.arguments(__doc__, rounds=5)
    parser.add_argument("--sizes", nargs="+", choices=list(SIZES), default=list(SIZES))
    options = results.parse(parser)

    def measure(size: Size) -> dict[str, Any]:
        found = time_sides(SIDES, "benchmarks.gradcheck_speed:prepare", size, options, turn=0.0)
        entries = sum(value.size for value in problem_of(size).params.values())
        return {"size": size._asdict(), "entries": entries, "seconds": found.seconds, "left_out": found.left_out}

    names = ["small"] if options.quick else options.sizes
    results.measure(NAME, options, {name: SIZES[name] for name in names}, measure, rounds=options.rounds)


def problem_of(size: Size) -> Problem:
    """A ragged batch in float64, and parameters with random biases."""
    problem, rng = make_problem(size, np.float64), np.random.default_rng(0)
    for name, value in problem.params.items():
        if name.endswith(".b"):
            value += 0.5 * rng.standard_normal(value.shape)
    return problem


def prepare(desk: dict[str, Any], side: Side, size: Size) -> None:
    """Make the side's check ready."""
    problem, mode = problem_of(size), side.name.partition(",")[0]
    check = ours(problem, mode) if side.kind == "ours" else theirs(problem, mode)

    def passed() -> None:
        if not check():
            raise ValueError(f"{side.name}: the check failed, so its time means nothing")

    desk["turn"] = partial(timed, passed)


def ours(problem: Problem, mode: Any) -> Any:
    """Our check."""
    model, params, batch = problem
    _, gradients = model.loss_and_gradients(params, batch)
    return lambda: (
        check_gradients(lambda values: model.loss(values, batch), params, gradients, mode=mode, show_progress=False).ok
    )


def theirs(problem: Problem, mode: str) -> Any:
    """PyTorch's check; raises if the two sides do not compute the same."""
    import torch

    from benchmarks.peers import pytorch_model

    _, params, batch = problem
    torch.set_num_threads(1)
    require_agreement(*problem, pytorch_model.make_step(*problem), AGREEMENT)
    tensors, torch_batch = pytorch_model.to_tensors(params), pytorch_model.to_torch_batch(batch)

    def loss(*values: Any) -> Any:
        return pytorch_model.loss(dict(zip(params, values, strict=True)), torch_batch)

    return lambda: torch.autograd.gradcheck(loss, tuple(tensors.values()), fast_mode=mode == "directional")


def section(figures: dict[str, Any]) -> str:
    """The section of the page."""
    sizes, rows = figures["cases"], []
    for size, found in sizes.items():
        for mode in MODES:
            one, other = (found["seconds"].get(f"{mode}, {name}") for name in ("ours", "PyTorch"))
            cells = [spread(each) if each else "" for each in (one, other, one and other and ratios(other, one))]
            rows.append([size, f"{found['entries']:,}", mode, *cells])
    return joined(
        "## Time to check every gradient",
        wrap(
            "The additive model's gradients by `python -m benchmarks.gradcheck_speed`, each side checking its own: "
            "ours by the complex step to 1e-12, PyTorch's `torch.autograd.gradcheck` by central differences to its "
            "defaults, 1e-5 absolute and 1e-3 relative. The same equations, parameters and batch; loss and gradients "
            f"agree to {AGREEMENT:.0e}. *Full* is every entry (`fast_mode=False`), *directional* a few directions "
            f"(`fast_mode=True`). One thread each, float64, {figures['rounds']} interleaved rounds."
        ),
        "\n".join(f"* {name}: {Size(**found['size'])}" for name, found in sizes.items()),
        table(["size", "entries", "mode", "ours, s", "PyTorch, s", "PyTorch / ours"], rows),
        wrap(
            "Both spend nearly all of their time in the loss, which full mode evaluates once per entry here and twice "
            "there. In small models an evaluation costs what calling hundreds of array functions costs, on either "
            "side. In larger ones the arrays count, and the complex step's are complex. Directional mode takes one or "
            "two dozen evaluations whatever the size."
        ),
        results.left_out_text(sizes),
    )


if __name__ == "__main__":
    main()
