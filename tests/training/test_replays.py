"""Training steps from a record: the same bits as from the code, and the code wherever a record does not fit."""

import copy
import cProfile
import dataclasses
import itertools
import math
import pickle
import threading
import warnings
from functools import partial

import hypothesis
import numpy as np
import pytest
import scipy.sparse
from hypothesis import strategies as st
from scipy.sparse import csr_array

import numpy_attention as na
from numpy_attention._shared import EXCHANGE
from numpy_attention.model.seq2seq import Seq2Seq
from numpy_attention.ops import attention
from numpy_attention.ops.attention import ALIGNMENTS
from numpy_attention.ops.cells import CELLS
from numpy_attention.training import replays
from numpy_attention.training.replays import MOST, Replays, record_step
from numpy_attention.training.step import TrainingState, batch_gradient, training_step
from tests.conftest import elsewhere

RNG = np.random.default_rng(0)
PLAIN = {"dropout": None, "label_smoothing": 0.0, "recompute": False}


def batch(B=6, T=5, U=4, words=7):
    """A batch without padding."""
    sources, targets = RNG.integers(3, words, (B, T)), RNG.integers(3, words, (B, U - 1))
    return na.Batch.from_sequences(sources.tolist(), targets.tolist())


def ragged(B=12, T=5, U=4, words=7, longest_first=True):
    """A batch of all lengths, padded to these shapes."""
    sources, targets = RNG.integers(1, T + 1, B), RNG.integers(0, U, B)
    sources[RNG.integers(B)], targets[RNG.integers(B)] = T, U - 1
    if longest_first:
        targets = np.sort(targets)[::-1]
    return na.Batch.from_sequences(*([RNG.integers(3, words, n).tolist() for n in each] for each in (sources, targets)))


def hold_bits(model, params, batch, records, token_count=None, **settings):
    """The record's loss and gradients are those of the code."""
    loss, gradients = records.loss_and_gradients(model, params, batch, token_count, **{**PLAIN, **settings})
    expected = model.loss_and_gradients(params, batch, token_count, **settings)
    assert loss == expected[0]
    assert type(loss) is type(expected[0])
    assert list(gradients) == list(expected[1])
    for name, gradient in gradients.items():
        np.testing.assert_array_equal(gradient, expected[1][name], err_msg=name, strict=True)


def recorded(records, model, params):
    """Make the record of a step: the first one is recorded, the second one is compared with it."""
    for _ in range(2):
        records.loss_and_gradients(model, params, batch(), None, **PLAIN)
    assert len(records.programs) == 1


@pytest.fixture
def live(monkeypatch):
    """The batches with which the code was called."""
    batches, original = [], Seq2Seq.loss_and_gradients
    monkeypatch.setattr(
        Seq2Seq, "loss_and_gradients", lambda *args, **more: batches.append(args[2]) or original(*args, **more)
    )
    return batches


@pytest.fixture
def ticking(monkeypatch):
    """A step of the code takes a second, as long as to record one is said to take, and as a record is said to save."""
    monkeypatch.setattr(replays.time, "perf_counter", itertools.count().__next__)
    monkeypatch.setattr(replays, "PER_POSITION", 0)
    monkeypatch.setattr(replays, "STEPS", 1)
    monkeypatch.setattr(replays, "SAVED", {False: 1, True: 1})


def kinds():
    """Every alignment with every cell, in one direction and two; the quick tests have each of them once or twice."""
    cells = list(CELLS)
    for number, alignment in enumerate(ALIGNMENTS):
        for place, cell in enumerate(CELLS):
            for bidirectional in (False, True):
                quick = cells[number % len(cells)] == cell and bidirectional == (place == 1)
                yield pytest.param(alignment, cell, bidirectional, marks=() if quick else pytest.mark.slow)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("alignment", "cell", "bidirectional"), list(kinds()))
def test_a_record_has_the_bits_of_the_code(alignment, cell, bidirectional, dtype):
    H = 3 if bidirectional else 6
    model = na.Seq2Seq(7, 7, 5, 6, encoder_size=H, alignment=alignment, cell=cell, bidirectional=bidirectional)
    params = model.init(0, dtype)
    for settings in ({}, {"label_smoothing": 0.1, "token_count": 50}):
        records = Replays(after=0)
        for step in range(4):
            hold_bits(model, params, batch(), records, **settings)
            assert len(records.programs) == (step > 0)
            for value in params.values():
                value += (0.1 * RNG.standard_normal(value.shape)).astype(dtype)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("alignment", "cell", "bidirectional"), list(kinds()))
def test_a_record_of_padded_batches_has_the_bits_of_the_code_whatever_their_lengths(
    alignment, cell, bidirectional, dtype, live
):
    H = 3 if bidirectional else 6
    model = na.Seq2Seq(7, 7, 5, 6, encoder_size=H, alignment=alignment, cell=cell, bidirectional=bidirectional)
    params, records = model.init(0, dtype), Replays(after=0)
    for step in range(12):
        each = ragged(longest_first=step % 3 > 0)
        if step % 4 == 3:  # any entry may be left out of the loss
            arrays = [getattr(each, field.name) for field in dataclasses.fields(each)]
            each = na.Batch(*arrays[:-1], arrays[-1] & (RNG.random((12, 4)) < 0.5))
        live.clear()
        hold_bits(model, params, each, records, token_count=[None, 50, 7][step % 3])
        assert len(records.programs) == (step > 0)
        assert len(live) == (2 if step < 2 else 1)  # from the third on, only what is expected
        for value in params.values():
            value += (0.1 * RNG.standard_normal(value.shape)).astype(dtype)


@pytest.mark.slow
@hypothesis.settings(max_examples=300, deadline=None)
@hypothesis.given(st.data())
def test_records_of_any_sizes_have_the_bits_of_the_code(data):
    def draw(least, most):
        return data.draw(st.integers(least, most))

    B, T, U, words, E, H, A = draw(2, 20), draw(1, 6), draw(1, 8), draw(4, 9), draw(1, 6), draw(1, 6), draw(1, 6)
    cell, alignment = data.draw(st.sampled_from(list(CELLS))), data.draw(st.sampled_from(list(ALIGNMENTS)))
    dtype, bidirectional = data.draw(st.sampled_from([np.float32, np.float64])), data.draw(st.booleans())
    width = {"alignment_size": A} if alignment in ("additive", "location", "stacked") else {}
    D = H * (1 + bidirectional)
    model = na.Seq2Seq(
        words, words, E, D, encoder_size=H, alignment=alignment, cell=cell, bidirectional=bidirectional, **width
    )
    params, records = model.init(draw(0, 9), dtype), Replays(after=0)
    for _ in range(6):
        hold_bits(model, params, ragged(B, T, U, words, data.draw(st.booleans())), records)
        for value in params.values():
            value += (0.1 * RNG.standard_normal(value.shape)).astype(dtype)


def test_padded_batches_that_no_record_serves_are_left_to_the_code(monkeypatch):
    model = na.Seq2Seq(7, 7, 5, 6)
    params = model.init(0, np.float32)
    tried, original = [], replays.record_ragged
    monkeypatch.setattr(replays, "record_ragged", lambda *given: tried.append(given) or original(*given))
    for make, settings, attempts in (
        (ragged, {"label_smoothing": 0.1}, 0),
        (ragged, {"token_count": 1 << 24}, 0),  # a number that is not exact in float32
        (partial(ragged, B=6, U=7), {}, 1),  # too many steps for so few sequences
        (partial(ragged, T=4), {}, 0),  # 11 sequences, of keys of 4 x 6 entries, are a block
    ):
        monkeypatch.setattr(attention, "BLOCK", 11 * 4 * 6 if make is not ragged else 1 << 17)
        records = Replays(after=0)
        tried.clear()
        for _ in range(4):
            hold_bits(model, params, make(), records, **settings)
        assert records.programs == records.trials == {}
        assert len(tried) == attempts
    empty = na.Batch.from_sequences([[3, 4]] * 8, [[]] * 8)
    empty = na.Batch(*(getattr(empty, field.name) for field in dataclasses.fields(empty)[:-1]), np.zeros((8, 1), bool))
    hold_bits(model, params, empty, records, token_count=3)
    with pytest.raises(ZeroDivisionError), np.errstate(invalid="ignore"):
        records.loss_and_gradients(model, params, empty, None, **PLAIN)


def test_a_padded_batch_and_a_full_one_of_its_shapes_have_records_of_their_own(live):
    model = na.Seq2Seq(7, 7, 5, 6)
    params, records = model.init(0), Replays(after=0)
    for _ in range(2):
        for each in (batch(B=12), ragged()):
            hold_bits(model, params, each, records)
    assert len(records.programs) == 2
    live.clear()
    for each in (batch(B=12), ragged(), batch(B=12)):
        hold_bits(model, params, each, records)
    assert len(live) == 3  # what is expected


def test_a_step_with_padding_is_recorded_later_as_that_takes_three_recordings_and_saves_less(
    live, ticking, monkeypatch
):
    monkeypatch.setattr(replays, "SAVED", {False: 0.5, True: 0.25})
    model = na.Seq2Seq(7, 7, 5, 6)
    params = model.init(0)
    for make, count in ((batch, 2 / 0.5), (ragged, 3 * 2 / 0.25)):
        records = Replays(after=2)
        for step in range(1, 27):
            records.loss_and_gradients(model, params, make(), None, **PLAIN)
            assert len(records.trials) == (step == count)
            assert len(records.programs) == (step > count)


@pytest.mark.parametrize("make", [batch, ragged])
def test_training_is_the_same_with_records_and_without(make, live, ticking):
    model = na.Seq2Seq(7, 7, 5, 6)
    batches = [make() for _ in range(12)]
    found = []
    for after in (4 if make is batch else 4 / 3, math.inf):
        live.clear()
        state = TrainingState(model.init(0))
        state.replays = Replays(after)
        updates = [training_step(model, state, each, 0.01, clip=1.0) for each in batches]
        found.append((updates, state.flat.tobytes(), len(live)))
    assert found[0][:2] == found[1][:2]
    # four steps, the record (of a step with padding three of them), and the step that it is compared with
    assert (found[0][2], found[1][2]) == (6 if make is batch else 5, 12)


def test_batches_that_a_record_does_not_fit_are_left_to_the_code(live):
    model = na.Seq2Seq(7, 7, 5, 6)
    params = model.init(0)
    records = Replays(after=0)
    padded = na.Batch.from_sequences([[3, 4], [5]], [[3], [4, 5]])
    masks = model.dropout_masks(batch(), 0.5, RNG)
    many = na.Seq2Seq(31, 7, 5, 6)
    for other, each, settings in (
        (model, padded, {}),
        (model, batch(), {"dropout": masks}),
        (model, batch(), {"recompute": True}),
        (many, batch(), {}),
    ):
        live.clear()
        values = other.init(0)
        records.loss_and_gradients(other, values, each, None, **{**PLAIN, **settings})
        assert len(live) == 1
        assert records.programs == {}
    recorded(records, model, params)
    live.clear()
    for values, each, settings in (
        (params, batch(), {}),
        (model.init(1), batch(), {}),  # other arrays than those that the record reads
        (params, batch(B=5), {}),
        (params, batch(), {"label_smoothing": 0.1}),
    ):
        hold_bits(model, values, each, records, **settings)
    assert len(live) == 4 + 3 + 3  # what is expected, the steps, and the record of each


def test_a_record_takes_no_more_than_an_eighth_of_the_free_memory(monkeypatch):
    model = na.Seq2Seq(7, 7, 5, 6)
    params = model.init(0)
    for bytes_free, count in ((100_000, 0), (10_000_000, 1)):
        monkeypatch.setattr(replays, "free_memory", lambda found=bytes_free: found)
        records = Replays(after=0)
        for _ in range(3):
            hold_bits(model, params, batch(), records)
        assert len(records.programs) == count


def test_few_records_are_kept_and_only_what_takes_long_in_all_is_recorded(live, ticking):
    model = na.Seq2Seq(7, 7, 5, 6)
    params = model.init(0)
    records = Replays(after=3)
    for number in range(MOST + 2):
        for _ in range(4):
            assert len(records.programs) == min(number, MOST)
            records.loss_and_gradients(model, params, batch(T=5, U=4, B=2 + number), None, **PLAIN)
        assert len(records.programs) == min(number + 1, MOST)


def test_a_record_that_finds_other_bits_is_not_used(live, monkeypatch):
    original = replays.Program.__init__

    def wrong(self, *given):
        original(self, *given)
        for part in self.parts:
            part.bound = lambda counts, bound=part.bound: [
                (np.subtract if function is np.add else function, given) for function, given in bound(counts)
            ]

    monkeypatch.setattr(replays.Program, "__init__", wrong)
    records = Replays(after=0)
    model = na.Seq2Seq(7, 7, 5, 6)
    params = model.init(0)
    for _ in range(3):
        hold_bits(model, params, batch(), records)
    assert records.programs == {}


def own_step(a, s, U):
    return np.tanh(a + s @ U), None


def refusing_step(a, s, U):
    if type(a) is not np.ndarray:
        raise TypeError("an array of another kind")
    return np.tanh(a + s @ U), None


@pytest.mark.parametrize("step", [own_step, refusing_step])
def test_a_cell_of_a_users_own_is_not_recorded_and_trains_all_the_same(step, monkeypatch, live, ticking):
    monkeypatch.setitem(CELLS, "tanh", CELLS["tanh"]._replace(step=step))
    model = na.Seq2Seq(7, 7, 5, 6)
    state = TrainingState(model.init(0))
    state.replays = Replays(after=2)
    for _ in range(5):
        training_step(model, state, batch(), 0.01)
        assert state.replays.programs == state.replays.trials == {}


class Doubled(na.Batch):
    @property
    def token_count(self):
        return 2 * int(self.target_mask.sum())


def test_a_class_of_batches_of_a_users_own_is_left_to_the_code():
    model = na.Seq2Seq(7, 7, 5, 6)
    params, records = model.init(0), Replays(after=0)
    for _ in range(4):
        plain = ragged()
        hold_bits(model, params, plain, records)
        own = Doubled(*(getattr(plain, field.name) for field in dataclasses.fields(plain)))
        hold_bits(model, params, own, records)


def test_recording_warns_of_nothing_that_the_code_does_not_warn_of():
    model = na.Seq2Seq(7, 7, 5, 6)
    params, records = {name: 1e30 * value for name, value in model.init(0, np.float32).items()}, Replays(after=0)
    for each in (ragged(), ragged(), batch(), batch()):
        heard = []
        for step in (model.loss_and_gradients, partial(records.loss_and_gradients, model)):
            with warnings.catch_warnings(record=True) as found:
                warnings.simplefilter("always")
                step(params, each, None, **PLAIN)
            heard.append([str(warning.message) for warning in found])
        assert heard[0] == heard[1] != []


def test_gradients_from_a_record_are_in_the_order_of_the_parameters():
    model = na.Seq2Seq(7, 7, 5, 6)
    params, records = model.init(0), Replays(after=0)
    for _ in range(3):
        hold_bits(model, params, batch(), records)
    hold_bits(model, dict(reversed(params.items())), batch(), records)


class Clipped(na.Seq2Seq):
    def loss_and_gradients(self, *args, **more):
        loss, gradients = super().loss_and_gradients(*args, **more)
        return loss, {name: np.clip(value, -0.01, 0.01) for name, value in gradients.items()}


@pytest.mark.parametrize("settings", [{}, {"label_smoothing": np.float64(0.1)}, {"token_count": np.int64(24)}])
def test_classes_and_numbers_of_other_kinds_are_left_to_the_code(settings):
    model = na.Seq2Seq(7, 7, 5, 6) if settings else Clipped(7, 7, 5, 6)
    params, records = model.init(0, np.float32), Replays(after=0)
    for _ in range(3):
        hold_bits(model, params, batch(), records, **settings)
    assert records.programs == records.trials == {}


def test_nothing_is_recorded_under_a_profiler_or_while_another_thread_records():
    model = na.Seq2Seq(7, 7, 5, 6)
    params, profile = model.init(0), cProfile.Profile()
    for busy in (profile, elsewhere(EXCHANGE)):
        records = Replays(after=0)
        with busy:
            for _ in range(3):
                hold_bits(model, params, batch(), records)
        assert records.programs == records.trials == {}
        recorded(records, model, params)  # but afterwards


def test_recording_leaves_everything_as_it_was_although_the_code_fails():
    model = na.Seq2Seq(7, 7, 5, 6)
    with cProfile.Profile(), pytest.raises(ValueError, match=r"^token_count: expected"):
        record_step(model, model.init(0), batch(), -1)
    assert all(module.np is np for module in replays.MODULES if hasattr(module, "np"))
    assert scipy.sparse.csr_array is csr_array
    recorded(Replays(after=0), model, model.init(0))


def test_parameters_that_were_replaced_are_recorded_anew_and_shapes_are_not_counted_for_ever(monkeypatch, ticking):
    model = na.Seq2Seq(7, 7, 5, 6)
    records = Replays(after=2)
    for seed in range(2):
        params = model.init(seed)
        for _ in range(4):
            hold_bits(model, params, batch(), records)
        (bound,) = records.programs.values()
        assert bound.fits(params)
    monkeypatch.setattr(replays, "MOST_SEEN", 3)
    for B in range(2, 9):
        hold_bits(model, params, batch(B=B, T=7, U=7), records)
        assert len(records.seconds) <= 3


@pytest.mark.parametrize("size", [1, 2])
def test_a_zero_keeps_its_sign(size):
    model = na.Seq2Seq(size * size, 4, size, size, cell="tanh")
    params, records = {name: 0 * value for name, value in model.init(0).items()}, Replays(after=0)
    whole = na.Batch.from_sequences([[0] * size] * size, [[3] * 3] * size)
    for _ in range(3):
        _, gradients = records.loss_and_gradients(model, params, whole, None, **PLAIN)
        expected = model.loss_and_gradients(params, whole)[1]
        assert all(gradients[name].tobytes() == expected[name].tobytes() for name in params)
    assert len(records.programs) == 1


def test_a_copy_of_a_state_has_no_records_of_the_original():
    model = na.Seq2Seq(7, 7, 5, 6)
    state = TrainingState(model.init(0))
    state.replays = Replays(after=0)
    for _ in range(2):
        batch_gradient(model, state.params, batch(), replays=state.replays)
    for again in (copy.deepcopy(state), pickle.loads(pickle.dumps(state))):
        assert (len(state.replays.programs), len(again.replays.programs)) == (1, 0)
        assert again.replays.after == 0


def test_wrong_parameters_and_tokens_are_found_in_a_step_from_a_record_as_well():
    model = na.Seq2Seq(7, 7, 5, 6)
    params = model.init(0)
    records = Replays(after=0)
    recorded(records, model, params)
    wrong = na.Batch.from_sequences([[8] * 5, *[[3] * 5] * 5], [[3] * 3] * 6)
    with pytest.raises(ValueError, match=r"^source: expected token ids below the vocabulary's size 7, got 8"):
        records.loss_and_gradients(model, params, wrong, None, **PLAIN)
    params["output.b"][2] = np.nan
    with pytest.raises(ValueError, match=r"^params: expected finite values, output\.b\[2\] is nan$"):
        records.loss_and_gradients(model, params, batch(), None, **PLAIN)


def test_a_wrong_number_of_tokens_is_refused_in_a_padded_step_from_a_record_as_well():
    model = na.Seq2Seq(7, 7, 5, 6)
    params, records = model.init(0), Replays(after=0)
    for _ in range(3):
        hold_bits(model, params, ragged(), records, 40)
    for wrong in (2.5, -1, 0):
        with pytest.raises(ValueError, match="^token_count: expected a whole number of at least 1, got"):
            records.loss_and_gradients(model, params, ragged(), wrong, **PLAIN)


@pytest.mark.parametrize(
    "wrong", [{"batch": None}, {"token_count": [1]}, {"label_smoothing": [0.1]}, {"token_count": -1}]
)
def test_wrong_arguments_are_refused_as_by_the_code(wrong):
    model = na.Seq2Seq(7, 7, 5, 6)
    arguments = {"batch": batch(), "token_count": None, **PLAIN, **wrong}
    with pytest.raises(ValueError, match=f"^{next(iter(wrong))}: expected"):
        Replays(after=0).loss_and_gradients(model, model.init(0), **arguments)


def test_other_threads_have_scipy_as_it_is_while_one_records(monkeypatch):
    model = na.Seq2Seq(7, 7, 5, 6)
    found = []
    original = Seq2Seq.loss_and_gradients

    def elsewhere():
        from scipy import sparse

        made = sparse.csr_array((np.ones(1), np.array([0]), np.array([0, 1])), shape=(1, 1))
        assert isinstance(made, sparse.csr_array)
        found.append(made)

    def meanwhile(*args, **more):
        thread = threading.Thread(target=elsewhere)
        thread.start()
        thread.join()
        return original(*args, **more)

    monkeypatch.setattr(Seq2Seq, "loss_and_gradients", meanwhile)
    record_step(model, model.init(0), batch())
    assert [type(each) for each in found] == [csr_array]
