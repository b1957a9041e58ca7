"""Training steps that come again with the same shapes are recorded once, and then run from the record.

A small step is Python more than arithmetic: it makes some seven hundred calls of NumPy, and what happens between them
takes a third of the time. A large step gains by its memory, which a record lays out for the processor's cache. The code
that is read is the code that is recorded, and a step from the record has its bits.
"""

from __future__ import annotations

import copy
import math
import sys
import time
from collections import defaultdict
from collections.abc import Mapping
from contextlib import suppress
from functools import cache, partial
from typing import Any, NamedTuple

from .._checks import check_params, check_tokens
from .._shared import EXCHANGE
from ..data.batch import Batch
from ..memory import free_memory, give_back
from ..model import decoder, encoder, seq2seq
from ..model.dropout import DropoutMasks
from ..model.seq2seq import Params, Seq2Seq
from ..ops import attention, cells, cross_entropy, elementary, embedding
from ..ops.attention import ALIGNMENTS
from ..ops.cells import CELLS
from ..trace.listing import Trace
from ..trace.program import Program

MODULES = (seq2seq, encoder, decoder, attention, cells, embedding, cross_entropy, elementary)
TOKENS = ("source", "target_input", "target_output")
# Seconds, for each position of source and target, that steps of the same shapes have taken before one is recorded. To
# record takes about as long, so that a run which ends soon afterwards has taken twice the time at most.
AFTER = 0.02
MOST = 4  # records that are kept
MOST_SEEN = 1000  # shapes whose seconds are added up


def record_step(model: Seq2Seq, params: Params, batch: Batch, *settings: Any, **more: Any) -> Trace:
    """``model.loss_and_gradients`` as a trace: outputs ``loss``, and ``d`` before the name of every parameter.

    Parameters
    ----------
    model : Seq2Seq
    params : dict of arrays
    batch : Batch
    settings, more
        Further arguments of ``loss_and_gradients``.

    Examples
    --------
    >>> model = Seq2Seq(8, 8, embedding_size=2, hidden_size=3)
    >>> trace = record_step(model, model.init(), Batch.from_sequences([[5, 6]], [[7]]))
    >>> sorted(trace.outputs)[:2], trace.called("decoder_step")[0].variables["alpha"].shape
    (['dalignment.U', 'dalignment.W'], (1, 2))
    """
    from ..trace.record import record  # takes a while, and most programs do without

    def run(**values: Any) -> Mapping[str, Any]:
        traced = copy.copy(batch)
        for name in TOKENS:  # as a Batch copies what it is given
            object.__setattr__(traced, name, values.pop(name))
        loss, gradients = model.loss_and_gradients(values, traced, *settings, **more)
        return {"loss": loss, **{f"d{name}": value for name, value in gradients.items()}}

    sizes = {"source": model.source_vocabulary} | dict.fromkeys(TOKENS[1:], model.target_vocabulary)
    return record(run, {**params, **{name: getattr(batch, name) for name in TOKENS}}, MODULES, sizes)


class Bound(NamedTuple):
    """A record, and the arrays of parameters that it reads."""

    program: Program
    params: Params

    def fits(self, params: Params) -> bool:
        """True if these are the arrays."""
        return isinstance(params, dict) and all(params.get(name) is value for name, value in self.params.items())

    def run(self, batch: Batch) -> tuple[Any, Params]:
        """Loss and gradients of a batch."""
        for name, tokens in self.program.inputs.items():
            tokens[...] = getattr(batch, name)
        found = self.program.run()
        return found["loss"][()], {name: found[f"d{name}"] for name in self.params}


class Replays:
    """Loss and gradients of training steps, from a record where the same shapes come often. For one thread.

    Parameters
    ----------
    after : float
        Seconds, for each position, that steps of the same shapes have taken before one is recorded.
    """

    def __init__(self, after: float = AFTER) -> None:
        self.after = after
        self.seconds = defaultdict[Any, float](float)  # of steps by the code
        self.trials: dict[Any, Bound] = {}  # recorded, to be compared with the code at the next step
        self.programs: dict[Any, Bound] = {}

    def __reduce__(self) -> Any:
        return Replays, (self.after,)  # a copy begins anew: its records would read the arrays of the original

    def loss_and_gradients(
        self,
        model: Seq2Seq,
        params: Params,
        batch: Batch,
        token_count: int | None,
        *,
        dropout: DropoutMasks | None,
        label_smoothing: float,
        recompute: bool,
    ) -> tuple[Any, Params]:
        """As :meth:`Seq2Seq.loss_and_gradients`, with the same bits; the next call may overwrite the gradients."""
        settings: dict[str, Any] = {"dropout": dropout, "label_smoothing": label_smoothing, "recompute": recompute}
        live = partial(model.loss_and_gradients, params, batch, token_count, **settings)
        if dropout is not None or recompute or not _is_regular(model, batch, token_count, label_smoothing):
            return live()
        made_of = CELLS[model.cell], ALIGNMENTS[model.alignment]
        key = model, made_of, batch.source.shape, batch.target_input.shape, token_count, label_smoothing
        known = self.programs.get(key)
        if known is not None and known.fits(params):
            check_params(model.parameter_shapes, params)
            for name in TOKENS:
                vocabulary = model.source_vocabulary if name == "source" else model.target_vocabulary
                check_tokens(name.partition("_")[0], getattr(batch, name), vocabulary)
            return known.run(batch)
        start = time.perf_counter()
        found = live()
        if known is not None:  # of other arrays
            del self.programs[key], self.seconds[key]
        if len(self.seconds) == MOST_SEEN:
            self.seconds.clear()
        self.seconds[key] += time.perf_counter() - start
        trial = self.trials.pop(key, None)
        with suppress(Exception):  # what cannot be recorded is not
            if trial is not None:
                give_back()  # what the code has used: the record fills memory of its own
                # The parameters have moved on, and the tokens are others: a number that was taken for a constant shows.
                if trial.fits(params) and _same_bits(trial.run(batch), found):
                    self.programs[key] = trial
            elif (
                self.seconds[key] >= self.after * (batch.source.shape[1] + batch.target_input.shape[1])
                and len(self.programs) + len(self.trials) < MOST
                and not _is_profiled()
                and EXCHANGE.acquire(blocking=False)  # if another thread has it: later
            ):
                try:
                    self.seconds[key] = -math.inf  # once
                    trace = record_step(model, params, batch, token_count, **settings)
                    self.trials[key] = Bound(Program(trace, found[0].dtype, params, free_memory() / 8), dict(params))
                finally:
                    EXCHANGE.release()
        return found


def _is_profiled() -> bool:
    """True under a profiler: it is to see the code, and to record would set some profilers aside."""
    monitoring = getattr(sys, "monitoring", None)  # cProfile uses it from Python 3.12 on
    return sys.getprofile() is not None or bool(monitoring and monitoring.get_tool(monitoring.PROFILER_ID))


@cache
def _is_ours(*records: Any) -> bool:
    """True of a cell and an alignment, or None, that are made of functions of this package."""
    functions = [each for record in records for each in record or () if callable(each)]
    return {each.__module__ for each in functions} <= {module.__name__ for module in MODULES}


def _same_bits(found: tuple[Any, Params], expected: tuple[Any, Params]) -> bool:
    return bool(found[0] == expected[0]) and all(
        value.dtype == expected[1][name].dtype and value.tobytes() == expected[1][name].tobytes()
        for name, value in found[1].items()
    )


def _is_regular(model: Seq2Seq, batch: Batch, *numbers: Any) -> bool:
    """True of batches without padding, in which the whole vocabulary is projected, and of the package's own code.

    A class, a cell or an alignment of a user's own may decide by numbers; it is not recorded. What is no batch, or no
    plain number, is for the code to refuse.
    """
    if type(model) is not Seq2Seq or not isinstance(batch, Batch):
        return False
    if not all(number is None or type(number) in (int, float) for number in numbers):
        return False
    if not _is_ours(CELLS[model.cell], ALIGNMENTS[model.alignment]):
        return False
    (B, T), U = batch.source.shape, batch.target_input.shape[1]
    return (
        model.source_vocabulary <= B * T
        and model.target_vocabulary <= B * U
        and bool(batch.source_mask.all() and batch.target_mask.all())
    )
