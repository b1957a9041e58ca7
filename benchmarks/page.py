"""Time that the page of ``numpy-attention explain`` takes to open, and to follow a change, in chromium.

    python -m benchmarks.page [--quick]

The models are not trained: their numbers take the same time. Writes results/page.json. Without chromium, chromedriver
or selenium it says so, and measures nothing.
"""

from __future__ import annotations

import sys
import tempfile
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks import results
from benchmarks.results import joined, spread, table, wrap
from numpy_attention.explain.page import write_page
from numpy_attention.explain.shipped import shipped
from tests.browser import Browser, missing

NAME = "page"
SIZES = {"small": (6, 16), "medium": (10, 16), "large": (20, 32)}  # words of source and target, entries of a state
# What is changed in round k; the page then shows the last stage, and where a number comes from.
CHANGES = {
    "a source word": "state.source[k % words] = 3 + (state.source[k % words] - 2) % 8",
    "a target word": "state.target[k % words] = 3 + (state.target[k % words] - 2) % 8",
    "a weight": 'state.edits = { "encoder.U": { [k]: 0.1 * k } }',
    "the number of updates": "state.moment = (state.moment + 1) % 2",
}
FOLLOWED = """
    const [change, k, words, done] = arguments, start = performance.now();
    eval(change);
    update();
    requestAnimationFrame(() => setTimeout(() => done(performance.now() - start)));
"""


def main() -> None:
    parser = results.arguments(__doc__, rounds=10, quick_rounds=2)
    options = results.parse(parser)
    if reason := missing():
        return print(f"nothing is measured: {reason}", file=sys.stderr)
    browser = Browser()
    try:
        cases = {name: size for name, size in SIZES.items() if name == "small" or not options.quick}
        results.measure(NAME, options, cases, partial(measure, browser, options.rounds), rounds=options.rounds)
    finally:
        browser.quit()


def measure(browser: Browser, rounds: int, size: tuple[int, int]) -> dict[str, Any]:
    """Seconds of every round."""
    words, width = size
    with tempfile.TemporaryDirectory() as folder:
        path = write(Path(folder), words, width)
        opened = [opening(browser, path) for _ in range(rounds)]
        browser.run("setStage(99); choose(blocks.find((each) => each.name === 'c'), 'gradient', 0)")
        followed = {
            name: [browser.driver.execute_async_script(FOLLOWED, change, k, words) / 1000 for k in range(rounds)]
            for name, change in CHANGES.items()
        }
        if messages := browser.console():
            raise ValueError(f"the page complains: {messages}")
        return {"words": words, "width": width, "bytes": path.stat().st_size, "opened": opened, "followed": followed}


def write(folder: Path, words: int, width: int) -> Path:
    """A page of the size, with two models, as if they were moments of a training."""
    run = shipped().attention[0]
    model = replace(run.model, hidden_size=width, alignment_size=width)
    runs = {k: replace(run, model=model, params=model.init(k, "float32")) for k in (0, 1)}
    source = (run.source_vocabulary.words[3:] * words)[:words]
    write_page(folder / "page.html", runs, source, source[::-1])
    return folder / "page.html"


def opening(browser: Browser, path: Path) -> float:
    """Seconds from the navigation until the page has drawn its first frame."""
    browser.open(path)
    ready = """
        const done = arguments[0], ask = () => {
            const { ready } = document.documentElement.dataset;
            if (ready) done(Number(ready) / 1000);
            else setTimeout(ask, 10);
        };
        ask();
    """
    seconds: float = browser.driver.execute_async_script(ready)
    return seconds


def section(figures: dict[str, Any]) -> str:
    """The section of the page."""
    rows = [
        [
            f"T = U = {found['words']}, H = {found['width']}",
            f"{found['bytes'] / 1000:.0f}",
            *(spread(each, 1000) for each in [found["opened"], *found["followed"].values()]),
        ]
        for found in figures["cases"].values()
    ]
    return joined(
        "## The page of `numpy-attention explain`",
        wrap(
            "By `python -m benchmarks.page`, in chromium without a window. Opening is the time from the navigation to "
            "the first frame that is drawn. A change replays the model, forward and backward, and everything that the "
            "page shows: all gradients, and a number with its equation and its complex step. It is timed until the "
            "next frame is drawn; frames come every 17 ms. The page has two sets of parameters and the planted "
            f"mistakes. {figures['rounds']} rounds."
        ),
        table(["size", "KB", "opening, ms", *(f"{name}, ms" for name in CHANGES)], rows),
    )


if __name__ == "__main__":
    main()
