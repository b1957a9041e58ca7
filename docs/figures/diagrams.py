"""Diagrams of the model, drawn as SVG with the numbers of one sentence.

    python docs/figures/diagrams.py

writes the files in diagrams/. Every number is measured on the small model that comes with the package, trained to
reverse, and on its twin without attention (numpy_attention/explain/shipped.py). Lengths are in pixels.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from html import escape
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

import numpy_attention as na
from numpy_attention.explain.shipped import UPDATES, shipped
from numpy_attention.superhighway.paths import attention_weights, gradient_origins

FOLDER = Path(__file__).parent / "diagrams"
STEP = 4  # the target step of context.svg and decoder_step.svg
PATHS = ("context", "key", "bridge", "recurrent")
WIDTH = 900  # of every diagram
DRAWN = 0.02  # the smallest weight that bottleneck.svg draws

Point = tuple[float, float]
Floats = NDArray[np.float64]

STYLE = """
text { font-family: system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; font-size: 15px; fill: #16181d; }
.head { font-size: 17px; font-weight: 600; }
.quiet { fill: #5b6270; }
.small { font-size: 13px; }
.box { fill: none; stroke: #5b6270; stroke-width: 1.5px; }
.strong { stroke: #16181d; stroke-width: 3px; }
.plain, .plain .tip { fill: #5b6270; stroke: #5b6270; }
.context { fill: #0072b2; stroke: #0072b2; }
.key { fill: #b87500; stroke: #b87500; }
.bridge { fill: #b0508c; stroke: #b0508c; }
.recurrent { fill: #009e73; stroke: #009e73; }
.negative { fill: #d55e00; }
.positive { fill: #0072b2; }
.wrong { fill: #c4231a; font-weight: 600; text-decoration: underline; }
.shaft { fill: none; }
.tip, .cell { stroke: none; }
@media (prefers-color-scheme: dark) {
  text { fill: #e8eaf0; }
  .quiet { fill: #a2a9b8; }
  .box { stroke: #a2a9b8; }
  .strong { stroke: #e8eaf0; }
  .plain, .plain .tip { fill: #a2a9b8; stroke: #a2a9b8; }
  .context { fill: #3a9bdc; stroke: #3a9bdc; }
  .key { fill: #e6a23c; stroke: #e6a23c; }
  .bridge { fill: #d884b8; stroke: #d884b8; }
  .recurrent { fill: #2fc49b; stroke: #2fc49b; }
  .negative { fill: #ff9a4d; }
  .positive { fill: #3a9bdc; }
  .wrong { fill: #ff7468; }
}
"""


class Measured(NamedTuple):
    """Numbers of both models on one sentence."""

    words: list[str]  # of the source
    read: list[str]  # by each step of the decoder
    written: list[str]  # by each step, with attention: the right answer
    without: list[str]  # what the twin writes
    step: Any  # numpy_attention.explain.step.Step, of step ``STEP``
    s: Floats  # (U + 1, D), s_0 to s_U
    alpha: Floats  # (U, T)
    logits: list[tuple[str, float, float]]  # word, logit and probability at step ``STEP``, the likeliest first
    loss: dict[str, float]  # of each model: L, the mean over the steps
    norms: dict[str, dict[str, Floats]]  # of each model: norm of every path, and of dL/dh_t as "total", (T,)
    bottleneck: dict[str, float]  # of each model, at h_1: norm of what entered by the bridge / norm of dL/dh_1


def measure() -> Measured:
    """The numbers, in double precision."""
    models = shipped()
    told = na.explain(text=models.text, step=STEP)
    sentence, step = told.sentence, told.step
    loss, norms, bottleneck, cache = {}, {}, {}, None
    for name, run in (("without", models.vanilla[UPDATES[-1]]), ("with", models.attention[UPDATES[-1]])):
        params = {key: value.astype(float) for key, value in run.params.items()}
        parts = na.gradient_paths(run.model, params, sentence.batch)
        norms[name] = {path: np.linalg.norm(getattr(parts, path)[0], axis=1) for path in (*PATHS, "total")}
        entered = gradient_origins(run.model, params, sentence.batch).bottleneck[0, 0]
        bottleneck[name] = float(np.linalg.norm(entered) / norms[name]["total"][0])
        loss[name], cache = run.model.forward(params, sentence.batch)
    assert cache is not None
    likeliest = np.argsort(-step.logits)
    words = sentence.run.target_vocabulary.words
    return Measured(
        words=sentence.source.words,
        read=sentence.read,
        written=sentence.written,
        without=str(models.vanilla[UPDATES[-1]].translate(models.text)).split(),
        step=step,
        s=cache.decoder.s[:, 0],
        alpha=attention_weights(cache)[:, 0],
        logits=[(words[v], float(step.logits[v]), float(step.p[v])) for v in likeliest],
        loss=loss,
        norms=norms,
        bottleneck=bottleneck,
    )


def shares(norms: dict[str, Floats]) -> dict[str, Floats]:
    """Norm of each path at h_t, divided by the sum of the norms of all four at h_t."""
    whole = sum(norms[path] for path in PATHS)
    return {path: norms[path] / whole for path in PATHS}


# Helpers: each gives a piece of SVG.


def number(x: float) -> str:
    """A number to be read, with three significant digits."""
    return f"{x:#.3g}".rstrip(".")


def px(x: float) -> str:
    """A length or a coordinate, rounded to three significant digits: no machine's last bit is seen."""
    return f"{x:.3g}"


def label(x: float, y: float, text: str, style: str = "", anchor: str = "middle", name: str = "") -> str:
    """A line of text; ``_t`` or ``_{u-1}`` in it is an index, written lower and smaller."""
    pieces = re.split(r"_(\w|\{[^}]*\})", text)
    drawn = escape(pieces[0])
    for index, after in zip(pieces[1::2], pieces[2::2], strict=True):
        drawn += f'<tspan dy="4" font-size="75%">{escape(index.strip("{}")).replace("-", "−")}</tspan>'
        drawn += f'<tspan dy="-4">{escape(after)}</tspan>' if after else ""
    attributes = (f' class="{style}"' if style else "") + (f' id="{name}"' if name else "")
    return f'<text x="{px(x)}" y="{px(y)}" text-anchor="{anchor}"{attributes}>{drawn}</text>'


def box(x: float, y: float, width: float, height: float, *lines: str, style: str = "box") -> str:
    """A box with lines of text in its middle; x and y are those of its upper left corner."""
    first = y + height / 2 + 5 - 11 * (len(lines) - 1)
    size = f'width="{px(width)}" height="{px(height)}"'
    frame = f'<rect class="{style}" x="{px(x)}" y="{px(y)}" {size} rx="6"/>'
    return frame + "".join(label(x + width / 2, first + 22 * k, line) for k, line in enumerate(lines))


def arrow(*points: Point, width: float = 1.5, style: str = "plain") -> str:
    """An arrow along straight lines from the first point to the last, as wide as said."""
    (x, y), (to_x, to_y) = points[-2:]
    length = math.hypot(to_x - x, to_y - y)
    along = (to_x - x) / length, (to_y - y) / length
    back, half = 7 + width / 4, 4 + width / 2 + width / 8  # size of the tip
    base = to_x - back * along[0], to_y - back * along[1]
    corners = (to_x, to_y), *((base[0] - side * along[1], base[1] + side * along[0]) for side in (half, -half))
    shaft, tip = (" ".join(f"{px(x)},{px(y)}" for x, y in line) for line in ((*points[:-1], base), corners))
    return (
        f'<g class="{style}"><polyline class="shaft" stroke-width="{px(width)}" points="{shaft}"/>'
        f'<polygon class="tip" points="{tip}"/></g>'
    )


def cells(x: float, y: float, width: float, height: float, values: Floats) -> str:
    """A vector as a row of cells: blue is positive, orange negative, and the stronger the larger."""
    each = width / len(values)
    return "".join(
        f'<rect class="cell {"positive" if value > 0 else "negative"}" x="{px(x + each * k)}" y="{px(y)}" '
        f'width="{px(each)}" height="{px(height)}" fill-opacity="{abs(value):.2f}"/>'
        for k, value in enumerate(values)
    ) + (f'<rect class="box" x="{px(x)}" y="{px(y)}" width="{px(width)}" height="{px(height)}"/>')


def picture(height: int, title: str, description: str, pieces: Sequence[str]) -> str:
    """The text of an SVG file."""
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" '
            f'height="{height}" role="img" aria-labelledby="title desc">',
            f'<title id="title">{escape(title)}</title>',
            f'<desc id="desc">{escape(description)}</desc>',
            f"<style>{STYLE}</style>",
            *pieces,
            "</svg>",
            "",
        ]
    )


# The diagrams.


def draw_context(found: Measured) -> str:
    """The context as a weighted sum of the encoder states."""
    alpha, h, u, word = found.step.look.alpha, found.step.h, STEP, found.written[STEP - 1]
    pieces = [
        label(450, 28, f"c_{u} = Σ_t α_{{{u},t}} h_t: what step {u} reads before it writes “{word}”", "head"),
        label(595, 81, f"c_{u}", anchor="start"),
        cells(320, 62, 260, 28, found.step.look.c),
    ]
    for t, weight in enumerate(alpha):
        x, end = 95 + 142 * t, 340 + 44 * t
        side, anchor = (-1, "end") if t < len(alpha) / 2 else (1, "start")
        beside = x + 0.4 * (end - x) + side * (14 + 18 * weight)
        pieces += [
            arrow((x, 330), (end, 96), width=36 * weight, style="context"),
            label(beside, 241, number(weight), anchor=anchor, name=f"alpha-{t + 1}"),
            cells(x - 56, 336, 112, 28, h[t]),
            label(x, 388, f"h_{t + 1}"),
            label(x, 412, f"“{found.words[t]}”", "quiet"),
        ]
    about = (
        f"Width of an arrow: its weight α_{{{u},t}}. A state is {h.shape[1]} numbers: blue positive, orange negative."
    )
    weights = ", ".join(f"{number(weight)} for h_{t + 1}" for t, weight in enumerate(alpha))
    return picture(
        464,
        f"The context c_{u} is a weighted sum of the encoder states",
        f"The {len(alpha)} encoder states of “{' '.join(found.words)}”, with an arrow from each to the context of step "
        f"{u}. The widths of the arrows are the attention weights: {weights}.",
        [*pieces, label(450, 448, about, "quiet small")],
    )


def draw_decoder_step(found: Measured) -> str:
    """What goes into one step of the decoder, and what comes out."""
    step, u = found.step, STEP
    (first, most, p), (second, next_most, _), *_ = found.logits
    pieces = [
        label(20, 28, "One step of the decoder", "head", "start"),
        label(880, 28, f"step u = {u}: reads “{found.read[u - 1]}”, writes “{first}”", "quiet small", "end"),
        box(20, 64, 140, 60, f"y_{{u-1}} = “{found.read[u - 1]}”"),
        box(20, 184, 140, 60),
        label(90, 209, "s_{u-1}"),
        cells(34, 220, 112, 12, found.s[u - 1]),
        box(20, 366, 140, 80, f"h_1 … h_{len(step.h)}", "encoder states"),
        box(240, 64, 377, 180, "s_u = cell(y_{u-1} W + b + c_u C, s_{u-1} U)"),
        box(215, 351, 262, 110, "e_{u,t} = v · tanh(s_{u-1} W + h_t U)", "α_u = softmax of e_{u,t} over t"),
        box(517, 360, 140, 92),
        label(587, 389, "c_u = Σ_t α_{u,t} h_t"),
        cells(531, 412, 112, 12, step.look.c),
        box(715, 120, 150, 68),
        label(790, 147, "s_u"),
        cells(734, 160, 112, 12, step.s),
        box(697, 336, 186, 140),
        label(790, 364, "logits_u ="),
        label(790, 386, "s_u W + c_u C + b"),
        label(790, 418, f"“{first}” {number(most)},  “{second}” {number(next_most)}", "quiet small"),
        label(790, 440, f"softmax of “{first}”: {number(p)}", "quiet small"),
        label(790, 462, f"loss of “{first}”: {number(step.loss)}", "quiet small"),
        arrow((160, 94), (240, 94)),
        arrow((160, 214), (240, 214)),
        arrow((120, 244), (250, 349), style="key"),
        label(196, 286, "query: s_{u-1}, the state before the step", anchor="start"),
        arrow((160, 406), (215, 406), style="key"),
        label(186, 396, "keys", "small"),
        arrow((477, 406), (517, 406), style="context"),
        label(496, 395, "α_u", "small"),
        arrow((90, 446), (90, 496), (587, 496), (587, 452), style="context"),
        label(338, 486, "values: the same states h_t", "small"),
        arrow((587, 360), (587, 244), style="context"),
        arrow((657, 406), (697, 406), style="context"),
        arrow((617, 154), (715, 154)),
        arrow((790, 188), (790, 336)),
    ]
    return picture(
        512,
        "One step of the decoder",
        "The query is s_{u-1}, the state before the step. It is scored against the keys of the encoder states, softmax "
        "makes weights of the scores, and the weighted sum of the states is the context c_u. The cell makes s_u from "
        f"y_{{u-1}}, s_{{u-1}} and c_u. The logits read s_u and c_u: at step {u} the largest is that of “{first}”, "
        f"{number(most)}, and the next that of “{second}”, {number(next_most)}.",
        pieces,
    )


def draw_bottleneck(found: Measured) -> str:
    """Both models side by side: what the decoder gets of the words."""
    count, size = found.step.h.shape
    pieces = []
    for left, name, written in ((0, "without", [*found.without, found.written[-1]]), (460, "with", found.written)):
        encoder = [left + 71 + 60 * t for t in range(count)]
        decoder = [left + 29 + 48 * u for u in range(len(written) + 1)]
        for t, x in enumerate(encoder):
            pieces += [box(x - 21, 340, 42, 34, f"h_{t + 1}"), label(x, 398, f"“{found.words[t]}”", "quiet")]
            pieces += [arrow((encoder[t - 1] + 21, 357), (x - 21, 357))] if t else []
        for u, x in enumerate(decoder):
            pieces.append(box(x - 17, 120, 34, 34, f"s_{u}"))
            if u:
                style = "quiet" if written[u - 1 : u] == found.written[u - 1 : u] else "wrong"
                pieces.append(arrow((decoder[u - 1] + 17, 137), (x - 17, 137)))
                pieces.append(label(x, 106, written[u - 1].strip("<>"), f"{style} small", name=f"{name}-word-{u}"))
        last = encoder[-1]
        if name == "with":
            pieces.append(label(left + 215, 28, "With attention", "head"))
            for u, t in zip(*np.nonzero(found.alpha >= DRAWN), strict=True):
                ends = (encoder[t], 338), (decoder[u + 1], 157)
                pieces.append(arrow(*ends, width=8 * found.alpha[u, t], style="context"))
            bridge = (last + 21, 357), (left + 418, 357), (left + 418, 72), (decoder[0], 72), (decoder[0], 120)
            pieces.append(arrow(*bridge, style="bridge"))
            pieces.append(label(left + 215, 62, f"s_0 = tanh(h_{count} W + b): {size} numbers", "small"))
            below = (
                f"Each step reads all {count} states, {count * size} numbers,",
                "as c_u = Σ_t α_{u,t} h_t. Width of an arrow: α_{u,t}",
                f"({DRAWN:g} or more). This model writes the right answer.",
            )
        else:
            pieces.append(label(left + 215, 28, "Without attention", "head"))
            pieces.append(
                arrow((last, 340), (last, 245), (decoder[0], 245), (decoder[0], 154), width=12, style="bridge")
            )
            pieces.append(label(left + 202, 228, f"s_0 = tanh(h_{count} W + b): {size} numbers", "small"))
            below = (
                f"The words reach the decoder as one vector, {size} numbers,",
                "however many words there are. Underlined: not the right",
                "answer, which is the words backwards.",
            )
        pieces += [label(left + 215, 428 + 20 * k, line, "small") for k, line in enumerate(below)]
    return picture(
        482,
        "Without attention all passes one vector; with attention every step reads every encoder state",
        f"Two models read “{' '.join(found.words)}”, to write it backwards. Without attention the decoder gets the "
        f"last encoder state alone, {size} numbers, and writes “{' '.join(found.without)}”. With attention each step "
        f"reads a weighted sum of all {count} encoder states, and the model writes “{' '.join(found.written[:-1])}”.",
        pieces,
    )


def draw_superhighway(found: Measured) -> str:
    """How the gradient of the loss arrives at the encoder states, in both models."""
    count = len(found.words)
    xs = [80 + 135 * t for t in range(count)]
    pieces = []
    for name, top in (("with", 0), ("without", 286)):
        attends = name == "with"
        norms, share = found.norms[name], shares(found.norms[name])
        states = top + (170 if attends else 104)  # where the row of states begins
        pieces += [
            label(20, top + 28, f"{'With' if attends else 'Without'} attention", "head", "start"),
            label(884, top + 28, f"L = {number(found.loss[name])} nats", "quiet small", "end"),
            box(20, top + 42, 864, 30, "decoder: the losses of all steps"),
            box(834, states, 50, 40, "s_0"),
            arrow((859, top + 72), (859, states)),
            label(884, states + 84, "‖dL/dh_t‖", "small", "end"),
        ]
        for t, x in enumerate(xs):
            pieces += [
                box(x - 32, states, 64, 40, f"h_{t + 1}", style="box strong" if t == 0 else "box"),
                label(x, states + 62, f"“{found.words[t]}”", "quiet"),
                label(x, states + 84, number(norms["total"][t]), "small", name=f"{name}-total-{t + 1}"),
            ]
            for path, side, anchor in (("context", -1, "end"), ("key", 1, "start")) if attends else ():
                value, lane = share[path][t], x + 12 * side
                beside = lane + side * (6 + 8 * value)
                pieces += [
                    arrow((lane, top + 72), (lane, states - 2), width=16 * value, style=path),
                    label(beside, top + 122, number(value), "small", anchor, f"{name}-{path}-{t + 1}"),
                ]
            path, start = ("recurrent", x + 103) if t + 1 < count else ("bridge", 834)
            value, middle = share[path][t], (start + x + 32) / 2
            pieces += [
                arrow((start, states + 20), (x + 34, states + 20), width=16 * value, style=path),
                label(middle, states + 4, number(value), "small", name=f"{name}-{path}-{t + 1}"),
            ]
    legend = (
        (20, "context", "context: Σ_u α_{u,t} dL/dc_u"),
        (262, "key", "key: through the scores e_{u,t}"),
        (510, "recurrent", "recurrent: from h_{t+1}"),
        (700, "bridge", f"bridge: from s_0, to h_{count}"),
    )
    for x, path, text in legend:
        pieces.append(f'<rect class="cell {path}" x="{x}" y="505" width="14" height="14"/>')
        pieces.append(label(x + 20, 517, text, "small", "start"))
    entered = " and ".join(f"{number(found.bottleneck[name])} {name}" for name in ("with", "without"))
    about = (
        "Number and width of an arrow at h_t: norm of the part of dL/dh_t that comes there, divided by the sum of the "
        "norms of its parts.",
        f"Norm of what entered by the bridge and arrives at h_1, divided by the norm of dL/dh_1: {entered} attention.",
        "The last number of a column is the norm of dL/dh_t. The two models have different losses L: compare norms "
        "within a row.",
    )
    pieces += [label(20, 552 + 22 * k, line, "quiet small", "start", f"about-{k + 1}") for k, line in enumerate(about)]
    parts = ", ".join(f"{path} {number(shares(found.norms['with'])[path][0])}" for path in PATHS if path != "bridge")
    return picture(
        612,
        "How the gradient of the loss arrives at the encoder states",
        f"With attention dL/dh_1 comes by these paths, each with its share of the sum of the norms: {parts}. Without "
        f"attention it comes by the recurrence alone, which starts at h_{count}, from the bridge.",
        pieces,
    )


DIAGRAMS: dict[str, Callable[[Measured], str]] = {
    "context": draw_context,
    "decoder_step": draw_decoder_step,
    "bottleneck": draw_bottleneck,
    "superhighway": draw_superhighway,
}


def draw() -> dict[str, str]:
    """The text of every file, by its name."""
    found = measure()
    return {f"{name}.svg": diagram(found) for name, diagram in DIAGRAMS.items()}


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for name, text in draw().items():
        (FOLDER / name).write_text(text, encoding="utf-8", newline="\n")
