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

import numpy as np

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
# To record a step takes about so many seconds for each position of source and target, and as long as so many steps.
PER_POSITION, STEPS = 0.003, 3
SAVED = 0.2  # share of the time that a record saves in training, about
MOST = 4  # records that are kept
MOST_SEEN = 1000  # shapes whose seconds are added up


def record_step(
    model: Seq2Seq, params: Params, batch: Batch, *settings: Any, frames: bool = True, **more: Any
) -> Trace:
    """``model.loss_and_gradients`` as a trace: outputs ``loss``, and ``d`` before the name of every parameter.

    Parameters
    ----------
    model : Seq2Seq
    params : dict of arrays
    batch : Batch
    settings, more
        Further arguments of ``loss_and_gradients``.
    frames : bool
        As for :func:`record`.

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

    inputs = {**params, **{name: getattr(batch, name) for name in TOKENS}}
    return record(run, inputs, MODULES, _vocabularies(model), frames)


def _vocabularies(model: Seq2Seq) -> dict[str, int]:
    return {"source": model.source_vocabulary} | dict.fromkeys(TOKENS[1:], model.target_vocabulary)


class Bound(NamedTuple):
    """A record, and the arrays of parameters that it reads."""

    program: Program
    params: Params

    def fits(self, params: Params) -> bool:
        """True if these are the arrays."""
        return isinstance(params, dict) and all(params.get(name) is value for name, value in self.params.items())

    def run(self, params: Params, batch: Batch) -> tuple[Any, Params]:
        """Loss and gradients of a batch, in the order of the parameters."""
        for name, tokens in self.program.inputs.items():
            tokens[...] = getattr(batch, name)
        found = self.program.run()
        return found["loss"][()], {name: found[f"d{name}"] for name in params}


class Replays:
    """Loss and gradients of training steps, from a record where the same shapes come often. For one thread.

    Parameters
    ----------
    after : float
        A step is recorded once a record would have saved so many times as long as it takes to make one.
    """

    def __init__(self, after: float = 1.0) -> None:
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
        (B, T), U = batch.source.shape, batch.target_input.shape[1]
        key = model, made_of, (B, T, U), token_count, label_smoothing
        known = self.programs.get(key)
        if known is not None and known.fits(params):
            check_params(model.parameter_shapes, params)
            for name, vocabulary in _vocabularies(model).items():
                check_tokens(name.partition("_")[0], getattr(batch, name), vocabulary)
            return known.run(params, batch)
        start = time.perf_counter()
        found = live()
        if known is not None:  # of other arrays
            del self.programs[key]
            self.seconds.pop(key, None)
        if len(self.seconds) == MOST_SEEN:
            self.seconds.clear()
        spent = time.perf_counter() - start
        self.seconds[key] += spent
        to_record = PER_POSITION * (T + U) + STEPS * spent
        with suppress(Exception), np.errstate(all="ignore"):  # what cannot be recorded is not, and the code has warned
            if key in self.trials:
                self._compare(key, params, batch, found)
            elif (
                self.seconds[key] * SAVED >= self.after * to_record
                and found[0].dtype.kind == "f"
                and len(self.programs) + len(self.trials) < MOST
                and not _is_profiled()
                and EXCHANGE.acquire(blocking=False)  # if another thread has it: later
            ):
                try:
                    self.seconds[key] = -math.inf  # once
                    trace = record_step(model, params, batch, token_count, frames=False, **settings)
                    self.trials[key] = Bound(Program(trace, found[0].dtype, params, free_memory() / 8), dict(params))
                finally:
                    EXCHANGE.release()
        return found

    def _compare(self, key: Any, params: Params, batch: Batch, found: tuple[Any, Params]) -> None:
        """Keep the record that is on trial if it finds the bits that the code has found.

        The parameters have moved on, and the tokens are others: a number that was taken for a constant shows.
        """
        trial = self.trials.pop(key)
        give_back()  # what the code has used: the record fills memory of its own
        if trial.fits(params) and _same_bits(trial.run(params, batch), found):
            self.programs[key] = trial


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
    if type(model) is not Seq2Seq or type(batch) is not Batch:
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
