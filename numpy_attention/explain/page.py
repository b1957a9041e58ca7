"""The page: one sentence through the model, forward and backward, as one HTML file that needs nothing else.

The file holds the recorded run (:mod:`numpy_attention.trace`), the parameters, and an interpreter of the recording in
JavaScript. All numbers that the page shows are made by the recorded calls, so a change of a word or a weight is
followed through every one of them. There is no second implementation of the model.
"""

from __future__ import annotations

import base64
import json
import re
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from html import escape
from pathlib import Path
from typing import Any

import numpy as np

from .._files import written_whole
from .._text import printable
from .._typing import Array
from ..data.batch import Batch
from ..model.seq2seq import Params, Seq2Seq
from ..run import Run
from ..trace.listing import Trace, to_json
from ..verification.mutants import MUTANTS, Mutant, first_operation, in_force, most_telling
from .recording import marks, recorded, sentence
from .sentence import Sentence
from .shipped import shipped, snapshots_of
from .stages import stages

WORDS = 24  # of the longer side: more columns than a screen has room for
WIDTH = 128  # entries of a state
BYTES = 1_000_000  # of the whole file
ROOM = Path(__file__).parent
SCRIPTS = ("provenance", "numbers", "board", "panel", "weights", "page")  # in the order in which they are joined
# Mistakes of a backward that the page can plant, as long as the model has the code that they are made in.
MISTAKES = (
    "softmax's sum over positions dropped",
    "sign of the query's gradient",
    "tanh' forgotten in the keys",
    "sums over the steps assigned, not added",
    "context weighted by the last step's attention",
    "query path dropped",
    "readout's path to the context lost",
    "context's gradient not passed to the encoder",
    "keys' gradient not passed to the encoder",
    "recurrent weights transposed",
    "last target step skipped in output.W",
)


def write_page(
    path: Path,
    moments: Mapping[int, Run],
    source: Sequence[str],
    target: Sequence[str],
    vanilla: Mapping[int, Run] | None = None,
) -> None:
    """Write the page of a sentence.

    Parameters
    ----------
    path : Path
        Of the HTML file.
    moments : dict of Run
        The model by its number of updates; the page begins with the last.
    source, target : sequence of str
        Words of the vocabularies.
    vanilla : dict of Run, optional
        A model without attention at the same moments, for comparison.

    Raises
    ------
    ValueError
        If the sentence is too long or the model too large for a page.
    OSError
        If the file cannot be written.
    """
    text = page(moments, source, target, vanilla)
    with written_whole(path) as file:
        file.write(text.encode())


def of_sentence(sentence: Sentence) -> tuple[Mapping[int, Run], list[str], list[str], Mapping[int, Run] | None]:
    """The arguments of :func:`page` for a sentence: of the model that comes with the package, all of its moments."""
    models, run = shipped(), sentence.run
    own = any(run is each for each in models.attention.values())
    moments = models.attention if own else snapshots_of(run)
    return moments, sentence.source.words, sentence.target.words, models.vanilla if own else None


def framed(sentence: Sentence) -> str:
    """The page of a sentence in a frame, for a notebook."""
    style = "width: 100%; height: 900px; border: 1px solid #8888"
    text = escape(page(*of_sentence(sentence)))
    return f'<iframe title="{escape(repr(sentence))}" style="{style}" srcdoc="{text}"></iframe>'


def page(
    moments: Mapping[int, Run],
    source: Sequence[str],
    target: Sequence[str],
    vanilla: Mapping[int, Run] | None = None,
) -> str:
    """The text of the page; parameters and errors are those of :func:`write_page`.

    Examples
    --------
    >>> from numpy_attention.explain.shipped import shipped
    >>> text = page(shipped().vanilla, "a b c".split(), "c b a".split())
    >>> text.startswith("<!doctype html>"), len(text) < BYTES
    (True, True)
    """
    run = list(moments.values())[-1]
    _check_size(run.model, source, target)
    data = json.dumps(content(moments, source, target, vanilla), separators=(",", ":"))
    packed = base64.b64encode(zlib.compress(data.encode(), 9)).decode()
    title = f"Attention, step by step: {' '.join(map(printable, source))}"
    parts = {
        "TITLE": escape(title),
        "STYLE": (ROOM / "page.css").read_text("utf-8"),
        "REPLAY": (ROOM.parent / "trace" / "replay.js").read_text("utf-8"),
        "SCRIPT": "\n".join((ROOM / f"{name}.js").read_text("utf-8") for name in SCRIPTS),
        "DATA": packed,
    }
    text = re.sub("@([A-Z]+)@", lambda found: parts[found[1]], (ROOM / "page.html").read_text("utf-8"))
    if len(text.encode()) > BYTES:
        raise ValueError(
            f"model: expected one whose page takes at most {BYTES:,} bytes, got {len(text.encode()):,}; "
            "without --out the terminal shows the same steps"
        )
    return text


def content(
    moments: Mapping[int, Run],
    source: Sequence[str],
    target: Sequence[str],
    vanilla: Mapping[int, Run] | None = None,
) -> dict[str, Any]:
    """All that the page shows, for JSON.

    The recorded runs are ``traces``, the parameters ``moments``: a list for the model, and one for the vanilla model. A
    ``variant`` is a run with one of the lists: the model, the same with attention switched off, and the vanilla model.
    A ``mistake`` is a run with a planted error.
    """
    run = list(moments.values())[-1]
    model = run.model
    batch = sentence(run.source_vocabulary.encode(source), run.target_vocabulary.encode(target))
    traces = [_listed(model, run.params, batch)]
    variants = [
        _variant("model", f"{model.alignment} attention" if model.alignment != "none" else "no attention", 0, 0)
    ]
    kept = [_moments(moments)]
    if model.alignment != "none":
        off = replace(model, alignment="none")
        traces.append(_listed(off, {name: run.params[name] for name in off.parameter_shapes}, batch))
        variants.append(_variant("off", "attention switched off", 1, 0))
        if vanilla is not None:
            variants.append(_variant("vanilla", "trained without attention", 1, 1))
            kept.append(_moments(vanilla))
    mistakes = []
    for mutant in (each for each in MUTANTS if each.name in MISTAKES):
        found = _mistake(mutant, model, run.params, batch)
        if found is not None:
            mistakes.append({"name": mutant.name, "trace": len(traces), "said": found[1]})
            traces.append(found[0])
    return {
        "source": batch.source[0].tolist(),
        "target": batch.target_output[0].tolist(),
        "sourceWords": list(map(printable, run.source_vocabulary.words)),
        "targetWords": list(map(printable, run.target_vocabulary.words)),
        "cell": model.cell,
        "bidirectional": model.bidirectional,
        "traces": traces,
        "variants": variants,
        "moments": kept,
        "mistakes": mistakes,
    }


def _listed(model: Seq2Seq, params: Params, batch: Batch) -> dict[str, Any]:
    """A recording, and what the reader is told of its steps."""
    trace = recorded(model, params, batch)
    return {**_forward(trace), "stages": [stage._asdict() for stage in stages(model)]}


def _forward(trace: Trace) -> dict[str, Any]:
    """A recording, with the number of calls that the forward pass takes: the backward follows."""
    return {**to_json(trace, marks(trace)), "forward": trace.called("forward")[0].end}


def _variant(key: str, label: str, trace: int, moments: int) -> dict[str, Any]:
    return {"key": key, "label": label, "trace": trace, "moments": moments}


def _moments(runs: Mapping[int, Run]) -> list[dict[str, Any]]:
    """Parameters at each moment, in the bits of their dtype."""
    return [
        {
            "updates": updates,
            "bits": 8 * next(iter(run.params.values())).itemsize,
            "params": {name: _packed(value) for name, value in run.params.items()},
        }
        for updates, run in runs.items()
    ]


def _packed(value: Array) -> str:
    """The bytes of an array, the lowest of each number first."""
    return base64.b64encode(value.astype(value.dtype.newbyteorder("<")).tobytes()).decode()


def _mistake(mutant: Mutant, model: Seq2Seq, params: Params, batch: Batch) -> tuple[dict[str, Any], str] | None:
    """The recording with a planted mistake, and what the checker says of it; None if it changes nothing here."""
    _, right = model.loss_and_gradients(params, batch)
    with in_force(mutant):
        _, wrong = model.loss_and_gradients(params, batch)
        if all(np.array_equal(right[name], wrong[name]) for name in right):
            return None
        trace = recorded(model, params, batch)
        operation, report = first_operation()
    if report is None:
        return _forward(trace), "Every operation passes its own check: the mistake is in how the model joins them."
    return _forward(trace), f"The check of one operation finds it ({operation}): {most_telling(report)}."


def _check_size(model: Seq2Seq, source: Sequence[str], target: Sequence[str]) -> None:
    for name, words in (("source", source), ("target", target)):
        if not 1 <= len(words) <= WORDS:
            raise ValueError(
                f"{name}: expected 1 to {WORDS} words, as many as a page has columns for, got {len(words)}; "
                "without --out the terminal shows longer ones"
            )
    widest = max(model.hidden_size, model.parameter_shapes["bridge.W"][0])
    if widest > WIDTH:
        raise ValueError(
            f"model: expected states of at most {WIDTH} entries, as many as a page can show, got {widest}; "
            "without --out the terminal shows the same steps"
        )
