"""The graph of a recorded run: which function hands which arrays to which, as text for Graphviz."""

from __future__ import annotations

import json
from collections.abc import Collection

import numpy as np

from .listing import Call, Frame, Trace, View

BLUE, ORANGE = "#0072b2", "#d55e00"


def dot(trace: Trace, forward: int | None = None, helpers: Collection[str] = ()) -> str:
    r"""The graph of a trace in DOT, the language of Graphviz.

    A box is a function with the lines that made its calls, a text without a box an input or an output. An arrow names
    the arrays, as their reader does. The forward pass is blue, the backward orange; an arrow from forward to backward
    is dashed. A copy has no box: it hands on what others made.

    Parameters
    ----------
    trace : Trace
    forward : int, optional
        Number of calls that the forward pass takes. By default all of them.
    helpers : collection of str
        Files whose functions have no box: their calls count as their callers'.

    Examples
    --------
    >>> import numpy as np
    >>> from numpy_attention.ops import attention
    >>> from numpy_attention.trace.record import record
    >>> inputs = {"alpha": np.ones((1, 3)), "h": np.ones((1, 3, 2))}
    >>> print(dot(record(lambda alpha, h: {"c": attention.context(alpha, h)}, inputs, [attention])))
    digraph {
      node [shape=plain, fontname=monospace]
      "context" [shape=box, color="#0072b2", label="context\n\nreturn (alpha[:, None] @ h)[:, 0]\l"]
      "alpha" -> "context" [color="#0072b2", label="alpha"]
      "h" -> "context" [color="#0072b2", label="h"]
      "context" -> "c" [color="#0072b2"]
    }
    """
    forward = len(trace.calls) if forward is None else forward
    known = list(trace.inputs)
    makers = [np.full(size, -1) for size in trace.sizes]  # of each number of each buffer: who made it, in ``known``
    for number, view in enumerate(trace.inputs.values()):
        view.of(makers[view.buffer])[...] = number
    lines: dict[str, dict[str, None]] = {}
    colours = dict.fromkeys(known, BLUE)
    arrows: dict[tuple[str, str], dict[str, None]] = {}
    for number, call in enumerate(trace.calls):
        made = call.out.of(makers[call.out.buffer])
        views = [each for each in call.inputs if isinstance(each, View)]
        if call.name == "copy":
            made[...] = views[0].of(makers[views[0].buffer]) if views else -1
            continue
        frame, text = _equation(trace, call, helpers)
        lines.setdefault(frame.function, {})[text] = None
        colours.setdefault(frame.function, BLUE if number < forward else ORANGE)
        for view in views:
            name = _name(frame, view)
            for maker in (known[each] for each in np.unique(view.of(makers[view.buffer])) if each >= 0):
                if maker != frame.function or name in frame.arguments:  # from an earlier step
                    arrows.setdefault((maker, frame.function), {})[name] = None
        known += [frame.function] * (frame.function not in known)
        made[...] = known.index(frame.function)
    for name, view in trace.outputs.items():
        for maker in (known[each] for each in np.unique(view.of(makers[view.buffer])) if each >= 0):
            arrows[maker, name] = {}
            colours[name] = colours[maker]
    return _written(lines, colours, arrows)


def _equation(trace: Trace, call: Call, helpers: Collection[str]) -> tuple[Frame, str]:
    """The function that a call belongs to, and the text of its line."""
    frame, line = trace.frames[call.frame], call.line
    while frame.file in helpers and frame.parent >= 0:
        frame, line = trace.frames[frame.parent], frame.line
    return frame, trace.source[frame.file][line]


def _name(frame: Frame, view: View) -> str:
    """The name that a function has for an array; "" if it has none."""
    named = frame.arguments | frame.variables
    same = [name for name, each in named.items() if each == view]
    return next(iter(same + [name for name, each in named.items() if each.buffer == view.buffer]), "")


def _written(
    lines: dict[str, dict[str, None]], colours: dict[str, str], arrows: dict[tuple[str, str], dict[str, None]]
) -> str:
    r"""The text. Names are quoted as in JSON, which DOT reads. Backslash and l end a line that is set to the left."""
    found = ["node [shape=plain, fontname=monospace]"]
    for name, texts in lines.items():
        label = json.dumps(f"{name}\n\n" + "".join(f"{text}\a" for text in texts)).replace("\\u0007", "\\l")
        found.append(f'{json.dumps(name)} [shape=box, color="{colours[name]}", label={label}]')
    for (one, other), names in arrows.items():
        label = ", ".join(filter(None, names))
        settings = [f'color="{colours[other]}"', *([f"label={json.dumps(label)}"] if label else [])]
        settings += ["style=dashed"] * (colours[one] != colours[other])
        found.append(f"{json.dumps(one)} -> {json.dumps(other)} [{', '.join(settings)}]")
    return "digraph {\n" + "".join(f"  {line}\n" for line in found) + "}"
