"""Training steps that come again with the same shapes are recorded once, and then run from the record.

A small step is Python more than arithmetic: it makes some seven hundred calls of NumPy, and what happens between them
takes a third of the time. A large step gains by its memory, which a record lays out for the processor's cache. The code
that is read is the code that is recorded, and a step from the record has its bits. A step with padding is recorded
three times, with different numbers of live sequences, which shows what follows them: the record then serves batches of
any lengths that are padded to the same shapes.
"""

from __future__ import annotations

import copy
import math
import sys
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cache, partial
from typing import Any, NamedTuple

import numpy as np

from .._checks import check_params, check_size, check_tokens
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
from ..trace.traced import CannotRecordError

MODULES = (seq2seq, encoder, decoder, attention, cells, embedding, cross_entropy, elementary)
TOKENS = ("source", "target_input", "target_output")
MASKS = ("source_mask", "target_mask")
# To record a step takes about so many seconds for each position of source and target, and as long as so many steps.
PER_POSITION, STEPS = 0.003, 3
RECORDINGS = 3  # of a step with padding
# Share of the time that a record saves in training, about: of steps without padding, and of others.
SAVED = {False: 0.2, True: 0.07}
EXACT = 1 << 24  # whole numbers below are numbers in float32
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
        traced = _with_arrays(batch, {name: values.pop(name) for name in TOKENS})
        loss, gradients = model.loss_and_gradients(values, traced, *settings, **more)
        return {"loss": loss, **{f"d{name}": value for name, value in gradients.items()}}

    return record(run, {**params, **_arrays(batch, TOKENS)}, MODULES, _vocabularies(model), frames)


def record_ragged(model: Seq2Seq, params: Params, batch: Batch) -> Trace:
    """As :func:`record_step`, for batches of these shapes with sequences of any lengths.

    The masks and ``token_count`` are inputs too, sizes follow :attr:`Batch.live`, and ``loss`` is the sum over all
    tokens.

    Parameters
    ----------
    model : Seq2Seq
    params : dict of arrays
    batch : Batch
        For its shapes.

    Raises
    ------
    CannotRecordError
        If there are too few sequences for so many steps.

    Examples
    --------
    >>> model = Seq2Seq(8, 8, embedding_size=2, hidden_size=3)
    >>> trace = record_ragged(model, model.init(), Batch.from_sequences([[5, 6]] * 6, [[7]] * 6))
    >>> trace.inputs["target_mask"].shape, [call.out.shape for call in trace.calls if call.name == "exp"]
    ((6, 2), [(6, 2), (6, 2), (12, 8)])
    """
    from ..trace.merge import merged
    from ..trace.record import record

    def recorded(live: list[int]) -> Trace:
        def run(token_count: Any, **values: Any) -> Mapping[str, Any]:
            traced = _with_arrays(batch, {name: values.pop(name) for name in TOKENS + MASKS} | {"live": live})
            loss, cache = model.forward(values, traced, token_count=1)
            gradients = model.backward(cache._replace(loss=cache.loss._replace(token_count=token_count)))
            return {"loss": loss, **{f"d{name}": gradients[name] for name in params}}

        inputs = {**params, **_arrays(batch, TOKENS + MASKS), "token_count": np.ones((), params["output.b"].dtype)}
        return record(run, inputs, MODULES, _vocabularies(model), frames=False)

    numbers = _falling(*batch.target_input.shape)
    return merged([recorded(live) for live in numbers], numbers)


def _falling(B: int, U: int) -> list[list[int]]:
    """Live sequences of U steps for each recording: no two steps have the same in all, or multiples of each other."""
    found = [[B, *(B - 1 - number - (u + number) // RECORDINGS for u in range(U - 1))] for number in range(RECORDINGS)]
    if min(map(min, found)) < 2:
        raise CannotRecordError(f"live: expected more than {B} sequences for {U} steps")
    return found


def _arrays(batch: Batch, names: Sequence[str]) -> Params:
    return {name: getattr(batch, name) for name in names}


def _with_arrays(batch: Batch, values: Mapping[str, Any]) -> Batch:
    """A copy with other arrays, and nothing checked."""
    found = copy.copy(batch)
    for name, value in values.items():
        object.__setattr__(found, name, value)
    return found


def _vocabularies(model: Seq2Seq) -> dict[str, int]:
    return {"source": model.source_vocabulary} | dict.fromkeys(TOKENS[1:], model.target_vocabulary)


class Bound(NamedTuple):
    """A record, and the arrays of parameters that it reads."""

    program: Program
    params: Params
    ragged: bool

    def fits(self, params: Params) -> bool:
        """True if these are the arrays."""
        return isinstance(params, dict) and all(params.get(name) is value for name, value in self.params.items())

    def run(self, params: Params, batch: Batch, token_count: int) -> tuple[Any, Params]:
        """Loss and gradients of a batch, in the order of the parameters."""
        for name, array in self.program.inputs.items():
            array[...] = token_count if name == "token_count" else getattr(batch, name)
        found = self.program.run(batch.live if self.ragged else ())
        loss = found["loss"][()]
        return loss / token_count if self.ragged else loss, {name: found[f"d{name}"] for name in params}


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
        if dropout is not None or recompute or not _can_be_recorded(model, batch, token_count, label_smoothing):
            return live()
        ragged = not (batch.source_mask.all() and batch.target_mask.all())
        count = batch.token_count if token_count is None else token_count
        if ragged and (label_smoothing or not 0 < count < EXACT or _takes_blocks(model, batch)):
            return live()
        made_of = CELLS[model.cell], ALIGNMENTS[model.alignment]
        (B, T), U = batch.source.shape, batch.target_input.shape[1]
        key = model, made_of, (B, T, U), label_smoothing, "ragged" if ragged else token_count
        known = self.programs.get(key)
        if known is not None and known.fits(params):
            check_params(model.parameter_shapes, params)
            for name, vocabulary in _vocabularies(model).items():
                check_tokens(name.partition("_")[0], getattr(batch, name), vocabulary)
            check_size("token_count", count)
            return known.run(params, batch, count)
        start = time.perf_counter()
        found = live()
        if known is not None:  # of other arrays
            del self.programs[key]
            self.seconds.pop(key, None)
        if len(self.seconds) == MOST_SEEN:
            self.seconds.clear()
        spent = time.perf_counter() - start
        self.seconds[key] += spent
        to_record = (PER_POSITION * (T + U) + STEPS * spent) * (RECORDINGS if ragged else 1)
        with suppress(Exception), np.errstate(all="ignore"):  # what cannot be recorded is not, and the code has warned
            if key in self.trials:
                self._compare(key, params, batch, count, found)
            elif (
                self.seconds[key] * SAVED[ragged] >= self.after * to_record
                and found[0].dtype.kind == "f"
                and len(self.programs) + len(self.trials) < MOST
                and not _is_profiled()
                and EXCHANGE.acquire(blocking=False)  # if another thread has it: later
            ):
                try:
                    self.seconds[key] = -math.inf  # once
                    if ragged:
                        trace = record_ragged(model, params, batch)
                    else:
                        trace = record_step(model, params, batch, token_count, frames=False, **settings)
                    program = Program(trace, found[0].dtype, params, free_memory() / 8)
                    self.trials[key] = Bound(program, dict(params), ragged)
                finally:
                    EXCHANGE.release()
        return found

    def _compare(self, key: Any, params: Params, batch: Batch, token_count: int, found: tuple[Any, Params]) -> None:
        """Keep the record that is on trial if it finds the bits that the code has found.

        The parameters have moved on, and the tokens are others: a number that was taken for a constant shows.
        """
        trial = self.trials.pop(key)
        give_back()  # what the code has used: the record fills memory of its own
        if trial.fits(params) and _same_bits(trial.run(params, batch, token_count), found):
            self.programs[key] = trial


def _takes_blocks(model: Seq2Seq, batch: Batch) -> bool:
    """True if the alignment may take the sequences of a step in blocks: how many follows the live sequences."""
    entries = batch.source.size * (model.alignment_size or model.hidden_size)
    return model.alignment in ("additive", "location") and entries > attention.BLOCK


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


def _can_be_recorded(model: Seq2Seq, batch: Batch, *numbers: Any) -> bool:
    """True of batches for which the whole vocabulary is projected, and of the package's own code.

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
    return bool(model.source_vocabulary <= B * T and model.target_vocabulary <= B * U)
