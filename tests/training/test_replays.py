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

import numpy as np
import pytest
import scipy.sparse
from scipy.sparse import csr_array

import numpy_attention as na
from numpy_attention._shared import EXCHANGE
from numpy_attention.model.seq2seq import Seq2Seq
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
    monkeypatch.setattr(replays, "SAVED", 1)


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


def test_training_is_the_same_with_records_and_without(live, ticking):
    model = na.Seq2Seq(7, 7, 5, 6)
    batches = [batch() for _ in range(12)]
    found = []
    for after in (4, math.inf):
        live.clear()
        state = TrainingState(model.init(0))
        state.replays = Replays(after)
        updates = [training_step(model, state, each, 0.01, clip=1.0) for each in batches]
        found.append((updates, state.flat.tobytes(), len(live)))
    assert found[0][:2] == found[1][:2]
    assert (found[0][2], found[1][2]) == (6, 12)  # four steps, the record, and the step that it is compared with


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


def test_a_step_is_recorded_once_a_record_would_have_saved_what_it_costs(live, ticking, monkeypatch):
    monkeypatch.setattr(replays, "PER_POSITION", 1 / 3)  # three seconds, as there are nine positions
    monkeypatch.setattr(replays, "STEPS", 2)  # and those of two steps
    monkeypatch.setattr(replays, "SAVED", 0.5)
    model = na.Seq2Seq(7, 7, 5, 6)
    params, records = model.init(0), Replays()
    for step in range(1, 13):
        records.loss_and_gradients(model, params, batch(), None, **PLAIN)
        assert len(records.trials) == (step == (3 + 2) / 0.5)
        assert len(records.programs) == (step > (3 + 2) / 0.5)


def test_a_record_that_finds_other_bits_is_not_used(live, monkeypatch):
    original = replays.Program.__init__

    def wrong(self, *given):
        original(self, *given)
        self.calls = [(np.subtract if function is np.add else function, given) for function, given in self.calls]

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


class Shorter(na.Batch):
    @property
    def live(self):
        return [6, 3, 3, 3]


def test_a_class_of_batches_of_a_users_own_is_left_to_the_code():
    model = na.Seq2Seq(7, 7, 5, 6)
    params, records = model.init(0), Replays(after=0)
    recorded(records, model, params)
    plain = batch()
    own = Shorter(*(getattr(plain, field.name) for field in dataclasses.fields(plain)))
    hold_bits(model, params, plain, records)
    hold_bits(model, params, own, records)


def test_complex_parameters_are_not_recorded(monkeypatch):
    tried, original = [], replays.record_step
    monkeypatch.setattr(replays, "record_step", lambda *given, **more: tried.append(given) or original(*given, **more))
    model = na.Seq2Seq(7, 7, 5, 6)
    for dtype, count in ((complex, 0), (float, 1)):
        params, records = {name: value.astype(dtype) for name, value in model.init(0).items()}, Replays(after=0)
        for _ in range(3):
            hold_bits(model, params, batch(), records)
        assert len(tried) == count


def test_parameters_may_be_replaced_after_many_shapes(monkeypatch):
    monkeypatch.setattr(replays, "MOST_SEEN", 3)
    model = na.Seq2Seq(7, 7, 5, 6)
    records = Replays(after=0)
    recorded(records, model, model.init(0))
    records.after = math.inf
    params = model.init(0)
    for B in range(2, 9):
        hold_bits(model, params, batch(B=B, T=7, U=7), records)
    hold_bits(model, params, batch(), records)


def test_recording_warns_of_nothing_that_the_code_does_not_warn_of():
    model = na.Seq2Seq(7, 7, 5, 6)
    params, records = {name: 1e30 * value for name, value in model.init(0, np.float32).items()}, Replays(after=0)
    for each in (batch(), batch()):
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
