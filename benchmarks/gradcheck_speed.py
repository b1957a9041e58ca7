"""How long it takes to check every gradient of the model: against torch.autograd.gradcheck, in one interleaved run.

    python -m benchmarks.gradcheck_speed [--repeats N] [--large]

Each side checks its own gradients of the same loss, at the same parameters and batch, in float64 and on one core:

    full          every entry: ours by the complex step, PyTorch's fast_mode=False by central differences
    directional   ours along two random directions; PyTorch's fast_mode=True along one per parameter

Before anything is timed, loss and gradients of the two sides must agree to 1e-10. The order within a round alternates.
The table is printed and written to benchmarks/RESULTS-gradcheck.md, the times to benchmarks/gradcheck_speed.json.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

# One thread each, so that neither side waits for the other's. Has to be said before NumPy is imported.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np
import torch

from benchmarks.peers import pytorch_model, require_agreement
from benchmarks.problems import Size
from numpy_attention import Batch, Seq2Seq, check_gradients

FOLDER = Path(__file__).parent
AGREEMENT = 1e-10


SIZES = {
    "small": Size(B=2, T=3, U=4, E=2, H=3, D=5, A=4, V=7),
    "medium": Size(B=3, T=5, U=6, E=4, H=6, D=8, A=7, V=10),
    "large": Size(B=4, T=8, U=9, E=8, H=10, D=14, A=12, V=16),
}
LARGE = {"very large": Size(B=16, T=15, U=15, E=16, H=24, D=24, A=24, V=32)}


class Problem(NamedTuple):
    """The two sides' ways to check the same gradients."""

    entries: int
    checks: dict[str, Callable[[], bool]]  # by mode and side


def prepare(size: Size, seed: int = 0) -> Problem:
    """Model, ragged batch and parameters; raises if the two sides do not compute the same."""
    rng = np.random.default_rng(seed)
    model = Seq2Seq(size.V, size.V, size.E, size.D, encoder_size=size.H, alignment_size=size.A)
    lengths = [(size.T, size.U - 1), *zip(*rng.integers(1, (size.T, size.U), (size.B - 1, 2)).T, strict=True)]
    batch = Batch.from_sequences(
        [rng.integers(3, size.V, source).tolist() for source, _ in lengths],
        [rng.integers(3, size.V, target).tolist() for _, target in lengths],
    )
    params = model.init(seed)
    for name in params:
        if name.endswith(".b"):
            params[name] += 0.5 * rng.standard_normal(params[name].shape)
    _, gradients = model.loss_and_gradients(params, batch)
    names, tensors = list(params), pytorch_model.to_tensors(params)
    torch_batch = pytorch_model.to_torch_batch(batch)
    require_agreement(model, params, batch, lambda: pytorch_model.loss_and_gradients(model, params, batch), AGREEMENT)

    def ours(values: dict[str, Any]) -> Any:
        return model.loss(values, batch)

    def theirs(*values: torch.Tensor) -> torch.Tensor:
        return pytorch_model.loss(model, dict(zip(names, values, strict=True)), torch_batch)

    def check_ours(mode: Any) -> bool:
        return check_gradients(ours, params, gradients, mode=mode, show_progress=False).ok

    def check_theirs(fast: bool) -> bool:
        return torch.autograd.gradcheck(theirs, tuple(tensors.values()), fast_mode=fast)

    return Problem(
        sum(value.size for value in params.values()),
        {
            "full, ours": lambda: check_ours("full"),
            "full, PyTorch": lambda: check_theirs(False),
            "directional, ours": lambda: check_ours("directional"),
            "directional, PyTorch": lambda: check_theirs(True),
        },
    )


def measure(problems: dict[str, Problem], repeats: int) -> dict[str, dict[str, list[float]]]:
    """Seconds of each check in each round; the first, which warms up, is not kept."""
    seconds: dict[str, dict[str, list[float]]] = {
        size: {name: [] for name in problem.checks} for size, problem in problems.items()
    }
    for round_number in range(-1, repeats):
        for size, problem in problems.items():
            order = list(problem.checks)
            for name in order if round_number % 2 else order[::-1]:
                start = time.perf_counter()
                passed = problem.checks[name]()
                elapsed = time.perf_counter() - start
                if not passed:
                    raise SystemExit(f"{size}, {name}: the check failed, so its time means nothing")
                if round_number >= 0:
                    seconds[size][name].append(elapsed)
        print(f"round {round_number + 1} of {repeats}", file=sys.stderr)
    return seconds


def table(sizes: dict[str, Size], problems: dict[str, Problem], seconds: dict[str, Any]) -> str:
    """Medians, with the smallest and largest in brackets, and the quotient of the medians."""
    lines = ["| size | entries | mode | ours, s | PyTorch, s | PyTorch / ours |", "|---|---|---|---|---|---|"]
    for size in sizes:
        for mode in ("full", "directional"):
            ours, theirs = (seconds[size][f"{mode}, {side}"] for side in ("ours", "PyTorch"))
            quotient = np.median(theirs) / np.median(ours)
            lines.append(
                f"| {size} | {problems[size].entries:,} | {mode} | {spread(ours)} | {spread(theirs)} | {quotient:.1f} |"
            )
    return "\n".join(lines)


def spread(values: list[float]) -> str:
    """Median (smallest to largest)."""
    return f"{np.median(values):.3g} ({min(values):.3g} to {max(values):.3g})"


def describe(sizes: dict[str, Size], repeats: int) -> str:
    """What was run, on what."""
    versions = f"Python {platform.python_version()}, NumPy {np.__version__}, PyTorch {torch.__version__}"
    stated = "\n".join(f"* {name}: {size.described()}" for name, size in sizes.items())
    setting = (
        f"{versions}, {platform.machine()}, one thread each, float64. Medians of {repeats} interleaved rounds after "
        f"one that is not counted, smallest to largest in brackets."
    )
    return f"{textwrap.fill(setting, 118)}\n\n{stated}\n"


def write(sizes: dict[str, Size], problems: dict[str, Problem], seconds: dict[str, Any], repeats: int) -> None:
    """The page and the figures behind it."""
    what = textwrap.fill(
        "The additive model's gradients, each side checking its own: ours by the complex step to 1e-12, PyTorch's "
        "`torch.autograd.gradcheck` by central differences to its defaults, 1e-5 absolute and 1e-3 relative. The same "
        f"equations, parameters and batch; loss and gradients agree to {AGREEMENT:.0e}. *Full* is every entry "
        "(`fast_mode=False`), *directional* a few directions (`fast_mode=True`).",
        118,
    )
    why = textwrap.fill(
        "Both spend nearly all of their time in the loss, which full mode evaluates once per entry here and twice "
        "there. In small models an evaluation costs what calling hundreds of array functions costs, on either side. In "
        "larger ones the arrays count, and the complex step's are complex. Directional mode takes one or two dozen "
        "evaluations whatever the size.",
        118,
    )
    page = f"""# Time to check every gradient

Written by `python -m benchmarks.gradcheck_speed`; not edited by hand.

{what}

{describe(sizes, repeats)}
{table(sizes, problems, seconds)}

{why}
"""
    (FOLDER / "RESULTS-gradcheck.md").write_text(page)
    figures = {
        "sizes": {name: {**size._asdict(), "entries": problems[name].entries} for name, size in sizes.items()},
        "repeats": repeats,
        "python": platform.python_version(),
        "numpy": np.__version__,
        "torch": torch.__version__,
        "seconds": seconds,
    }
    (FOLDER / "gradcheck_speed.json").write_text(json.dumps(figures, indent=2) + "\n")


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--large", action="store_true", help="also a size at which a full check takes half a minute")
    arguments = parser.parse_args()
    if arguments.repeats < 1:
        parser.error(f"repeats: expected at least 1, got {arguments.repeats}")
    torch.set_num_threads(1)
    sizes = SIZES | LARGE if arguments.large else SIZES
    problems = {name: prepare(size) for name, size in sizes.items()}
    seconds = measure(problems, arguments.repeats)
    write(sizes, problems, seconds, arguments.repeats)
    print(describe(sizes, arguments.repeats))
    print(table(sizes, problems, seconds))


if __name__ == "__main__":
    main()
