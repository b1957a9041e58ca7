"""Where the time of one training step goes, operation by operation: ``python -m benchmarks.profile [--quick]``.

Every function of numpy_attention.ops and numpy_attention.model is found where the model's modules look it up, and
timed there; the library itself is as it is. Writes results/profile.json.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import sys
import time
import types
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.crew import Worker
from benchmarks.measuring import timed
from benchmarks.problems import QUICK, SIZES, Size, make_problem
from benchmarks.results import arguments, parse, save, short, spread, table, wrap
from benchmarks.sides import OURS, keep_memory, ours_step

NAME = "profile"
PACKAGES = ("numpy_attention.ops", "numpy_attention.model")
JOINING = ("concatenate", "stack")  # NumPy's own functions that copy arrays together
REST = "the rest (between the functions, and methods of Seq2Seq)"


class Clock:
    """Self time and calls of named functions: what a function calls that has a name as well is that one's own."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self.calls: dict[str, int] = {}
        self._inside = [0.0]  # time of named functions inside the one that runs, innermost last

    def around(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function, timed under a name."""
        self.seconds.setdefault(name, 0.0)
        self.calls.setdefault(name, 0)

        def wrapper(*args: Any, **keywords: Any) -> Any:
            self._inside.append(0.0)
            start = time.perf_counter()
            try:
                return function(*args, **keywords)
            finally:
                elapsed = time.perf_counter() - start
                self.seconds[name] += elapsed - self._inside.pop()
                self._inside[-1] += elapsed
                self.calls[name] += 1

        return wrapper


def model_modules() -> list[types.ModuleType]:
    """Every module of the model."""
    package = importlib.import_module(PACKAGES[1])
    return [importlib.import_module(f"{PACKAGES[1]}.{found.name}") for found in pkgutil.iter_modules(package.__path__)]


@contextmanager
def clocked(clock: Clock) -> Iterator[None]:
    """Everything that the model's modules call, by ``module: function``, goes through the clock; put back after."""
    before: list[tuple[types.ModuleType, str, Any]] = []
    for module in model_modules():
        place = module.__name__.rpartition(".")[2]
        for name, value in list(vars(module).items()):
            if inspect.isfunction(value) and value.__module__.startswith(PACKAGES):
                before.append((module, name, value))
                setattr(module, name, clock.around(f"{place}: {value.__name__}", value))
        if vars(module).get("np") is np:
            before.append((module, "np", np))
            joining = {name: clock.around(f"{place}: np.{name}", getattr(np, name)) for name in JOINING}
            module.np = types.SimpleNamespace(**(vars(np) | joining))
    try:
        yield
    finally:
        for module, name, value in before:
            setattr(module, name, value)


def profile(desk: dict[str, Any], size: Size, rounds: int, seconds: float) -> dict[str, Any]:
    """Milliseconds and calls of every function in one step, and the step's time with and without the clock."""
    keep_memory(desk, OURS)
    model, params, batch = make_problem(size)

    def step() -> Any:
        return ours_step(model, params, batch)

    step()
    calls = max(1, round(seconds / timed(step, 1)))
    clock, plain, watched = Clock(), [], []
    for number in range(rounds):
        for with_clock in (bool(number % 2), not number % 2):
            if not with_clock:
                plain.append(timed(step, calls))
                continue
            with clocked(clock):
                watched.append(timed(step, calls))
    count = calls * rounds
    lines = [
        {"name": name, "ms": 1e3 * spent / count, "calls": clock.calls[name] / count}
        for name, spent in clock.seconds.items()
        if clock.calls[name]
    ]
    rest = 1e3 * float(np.mean(watched)) - sum(line["ms"] for line in lines)
    return {"lines": [*lines, {"name": REST, "ms": rest, "calls": 1.0}], "plain": plain, "clocked": watched}


def main() -> None:
    parser = arguments(__doc__, rounds=7)
    parser.add_argument("--sizes", nargs="+", choices=list(SIZES), default=list(SIZES))
    options = parse(parser)
    sizes = QUICK if options.quick else {name: SIZES[name] for name in options.sizes}
    seconds = 0.02 if options.quick else 0.7
    figures: dict[str, Any] = {"rounds": options.rounds, "sizes": {}}
    for name, size in sizes.items():
        print(f"{name}: {size.described()}", file=sys.stderr)
        with Worker(OURS) as worker:
            found = worker.call("benchmarks.profile:profile", size, options.rounds, seconds)[0]
        figures["sizes"][name] = {"size": size._asdict(), **found}
    save(NAME, figures, options.out)


def section(figures: dict[str, Any], folder: Path) -> str:
    """The part of the page."""
    parts = [
        "## Where the time of a step goes",
        wrap(
            "One training step, float32, one thread, by `python -m benchmarks.profile`. The name before the colon is "
            "that of the module that calls. Times are a function's own: what it calls that has a line of its own is "
            "not in them, so the product s W of the query is in `decoder_step`. Steps with and without the clock "
            f"alternate, {figures['rounds']} rounds; what the clock costs is in the times, most of it where the calls "
            "are many."
        ),
    ]
    for size, found in figures["sizes"].items():
        parts += [
            f"### {size}",
            wrap(
                f"{Size(**found['size']).described()}. A step takes {spread(found['plain'], 1e3)} ms, with the clock "
                f"{spread(found['clocked'], 1e3)} ms: {100 * overhead(found):+.1f} %."
            ),
            profile_table(found["lines"]),
        ]
    return "\n\n".join(parts)


def overhead(found: dict[str, Any]) -> float:
    """Share that the clock adds."""
    return float(np.median(found["clocked"]) / np.median(found["plain"]) - 1)


def profile_table(lines: list[dict[str, Any]]) -> str:
    """Functions by their share; those below 0.3 % as one."""
    total = sum(line["ms"] for line in lines)
    ordered = sorted(lines, key=lambda line: -line["ms"])
    shown = [line for line in ordered if line["ms"] >= 0.003 * total]
    small = [line for line in ordered if line["ms"] < 0.003 * total]
    if small:
        ms, calls = sum(line["ms"] for line in small), sum(line["calls"] for line in small)
        shown.append({"name": f"{len(small)} others", "ms": ms, "calls": calls})
    rows = [
        [
            line["name"] if " " in line["name"].partition(": ")[2] or ": " not in line["name"] else code(line["name"]),
            direction(line["name"]),
            short(line["ms"]),
            f"{100 * line['ms'] / total:.1f} %",
            f"{line['calls']:g}",
        ]
        for line in shown
    ]
    rows += [
        [f"**{way} in all**", "", short(ms), f"{100 * ms / total:.1f} %", ""]
        for way in ("forward", "backward")
        if (ms := sum(line["ms"] for line in lines if direction(line["name"]) == way))
    ]
    return table(["function", "way", "ms", "share", "calls"], rows)


def code(name: str) -> str:
    """``module: function`` with the function set as code."""
    module, _, function = name.partition(": ")
    return f"{module}: `{function}`"


def direction(name: str) -> str:
    """Forward or backward, as far as the name says."""
    if "backward" in name or "walk_back" in name or "alignment_sums" in name:
        return "backward"
    forward = ("forward", "readout", "make_", "decoder_step")
    return "forward" if any(word in name for word in forward) else ""


if __name__ == "__main__":
    main()
