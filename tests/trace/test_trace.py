import json
import tracemalloc
from types import ModuleType

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from numpy_attention.data.batch import Batch
from numpy_attention.explain.recording import inputs_of, recorded, sentence
from numpy_attention.model.seq2seq import Seq2Seq
from numpy_attention.ops.attention import ALIGNMENTS
from numpy_attention.ops.cells import CELLS
from numpy_attention.trace.listing import from_json, to_json
from numpy_attention.trace.record import record
from numpy_attention.trace.replay import CALLS, replay, result
from numpy_attention.trace.traced import CannotRecordError
from numpy_attention.training.replays import record_step

V = 9


def changed(rng, params, batch):
    """Other parameters and other words, as many of them."""
    params = {name: value + 0.3 * rng.standard_normal(value.shape) for name, value in params.items()}

    def tokens(array, kept):
        return np.where(kept, array, rng.integers(3, V, array.shape))

    return params, Batch(
        source=tokens(batch.source, ~batch.source_mask),
        source_mask=batch.source_mask,
        target_input=tokens(batch.target_input, batch.target_input == 1),
        target_output=tokens(batch.target_output, batch.target_output == 2),
        target_mask=batch.target_mask,
    )


def assert_replays(model, trace, params, batch):
    """The replayed loss and gradients are the model's."""
    loss, gradients = model.loss_and_gradients(params, batch)
    memory = replay(trace, inputs_of(params, batch))
    scale = max(np.abs(value).max() for value in gradients.values())
    assert abs(result(trace, memory, "loss") - loss) <= 1e-12 * max(1, loss)
    for name, value in gradients.items():
        np.testing.assert_allclose(result(trace, memory, f"d{name}"), value, rtol=0, atol=1e-12 * scale)


@pytest.mark.parametrize("alignment", ALIGNMENTS)
@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("bidirectional", [False, True])
def test_a_trace_replays_the_model_with_other_words_and_weights(alignment, cell, bidirectional):
    rng = np.random.default_rng(0)
    sizes = {"encoder_size": 2} if bidirectional else {}
    model = Seq2Seq(V, V, 3, 4, **sizes, alignment_size=5, alignment=alignment, cell=cell, bidirectional=bidirectional)
    params, batch = model.init(0), sentence([5, 6, 5], [7, 8])
    trace = from_json(json.loads(json.dumps(to_json(recorded(model, params, batch)))))
    assert {call.name for call in trace.calls} <= set(CALLS)
    for _ in range(2):
        assert_replays(model, trace, *changed(rng, params, batch))


def test_a_hundred_changes_of_words_and_weights_give_the_model_s_loss_and_gradients():
    rng = np.random.default_rng(1)
    model = Seq2Seq(V, V, 3, 4)
    params, batch = model.init(0), sentence([5, 6, 7, 3], [7, 6, 5])
    trace = recorded(model, params, batch)
    for _ in range(100):
        assert_replays(model, trace, *changed(rng, params, batch))


def test_batches_with_masks_are_replayed():
    rng = np.random.default_rng(2)
    model = Seq2Seq(V, V, 3, 4)
    batch = Batch.from_sequences([[3, 4, 5], [6], [7, 8]], [[5, 4], [6], [8, 7, 3]])
    params = model.init(0)
    trace = recorded(model, params, batch)
    for _ in range(3):
        assert_replays(model, trace, *changed(rng, params, batch))


def test_a_complex_replay_is_the_model_s_complex_step():
    model, batch = Seq2Seq(V, V, 3, 4), sentence([5, 6, 7], [7, 6])
    params = model.init(3)
    trace = recorded(model, params, batch)
    for name in params:
        moved = {key: value.astype(complex) for key, value in params.items()}
        moved[name].flat[1] += 1e-30j
        tokens = {key: value for key, value in inputs_of(params, batch).items() if key not in params}
        memory = replay(trace, moved | tokens, complex)
        slope = result(trace, memory, "loss").imag / 1e-30
        assert abs(slope - model.loss_and_gradients(params, batch)[1][name].flat[1]) < 1e-15


def test_every_call_says_its_line_and_who_called_it():
    model = Seq2Seq(V, V, 3, 4)
    trace = recorded(model, model.init(0), sentence([5], [6]))
    found = [list(trace.where(call)) for call in trace.calls]
    context = next(where for where in found if where[0][2] == "context")
    assert [place[:1] + place[2:] for place in context[:3]] == [
        ("ops/attention.py", "context", "return (alpha[:, None] @ h)[:, 0]"),
        ("model/decoder.py", "decoder_step", "c = context(alpha, shared.h[:B])"),
        (
            "model/decoder.py",
            "decoder_forward",
            "steps.append(decoder_step(shared, a[u, :n], s_before[:n], not recompute, alpha_before))",
        ),
    ]
    assert repr(trace).startswith(f"Trace({len(trace.calls)} calls of ")


def test_without_frames_the_calls_are_the_same_and_say_their_line_and_function():
    model, batch = Seq2Seq(V, V, 3, 4), Batch.from_sequences([[3, 4, 5], [6, 3, 4]], [[5, 4], [6, 7]])
    params = model.init(0)
    with_frames, without = (record_step(model, params, batch, frames=frames) for frames in (True, False))

    def told(trace):
        return [(*call[:3], *next(trace.where(call))) for call in trace.calls]

    assert told(without) == told(with_frames)
    assert len({(frame.file, frame.function) for frame in without.frames}) == len(without.frames)
    assert not any(frame.arguments or frame.variables for frame in without.frames)


def module(code):
    """A module of this source, which records can watch."""
    found = ModuleType("code_to_record")
    exec("import numpy as np\n" + code, vars(found))
    return found


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("return x if x.sum() > 0 else -x", "np.greater, at .* has no place in a trace"),
        ("return x * float(x.sum())", "decides by a number"),
        ("return np.sort(x)", "np.sort, at .* has no place in a trace"),
        ("return np.cumsum(x)", "np.cumsum, at .* has no place in a trace"),
        ("return np.unique(x)[0]", "np.unique, at .* has no place in a trace"),
        ("return x[np.array([0]), :]", "an index of arrays and slices"),
        ("return x.argmax(axis=0)", "argmax over axis 0"),
    ],
)
def test_code_that_a_list_of_calls_cannot_repeat_is_refused(code, said):
    made = module(f"def f(x):\n    {code}")
    with pytest.raises(CannotRecordError, match=said):
        record(lambda x: {"y": made.f(x)}, {"x": np.ones((2, 3))}, [made])


@settings(max_examples=30, deadline=None)
@given(st.data())
def test_views_copies_and_assignments_are_replayed(data):
    """Strides of every kind: what is noted down is where the numbers lie, not how the code came to them."""
    lines = data.draw(
        st.lists(
            st.sampled_from(
                [
                    "x = x.T",
                    "x = x[::-1]",
                    "x = x[:, 1:] if x.shape[1] > 1 else x",
                    "x = x.reshape(-1, x.shape[0])",
                    "x = np.concatenate([x, 2 * x], axis=1)",
                    "x = np.array([x.sum(axis=1), x.max(axis=1)])",
                    "x = x @ x.T",
                    "x = np.asarray(x, order='F')",
                    "x = x.copy(); x[0] += x[-1]",
                    "y = np.zeros(x.shape); y[:, 0] = x[:, -1]; x = x + y",
                    "x = x[np.array([0, 0, -1])]",
                    "x = x.copy(); x[np.array([0]), np.array([0])] = 7.0",
                    "x = np.exp(-np.square(x)) + x.mean(axis=0)",
                    "x = np.where(np.arange(x.shape[1]) % 2 == 0, x, np.tanh(x)) / 3",
                ]
            ),
            max_size=6,
        )
    )
    made = module("def f(x):\n" + "".join(f"    {line}\n" for line in lines) + "    return x + 0\n")
    rng = np.random.default_rng(0)
    x, other = rng.standard_normal((2, 3, 2))
    trace = record(lambda x: {"y": made.f(x)}, {"x": x}, [made])
    np.testing.assert_allclose(result(trace, replay(trace, {"x": other}), "y"), made.f(other), rtol=1e-12)


def test_recording_keeps_no_array_that_the_code_has_given_back():
    made = ModuleType("made")
    exec("import numpy as np\ndef f(x):\n    for _ in range(100):\n        x = x * 2 - 1\n    return x", vars(made))
    x = np.zeros(100_000)
    tracemalloc.start()
    try:
        trace = record(lambda x: {"y": made.f(x)}, {"x": x}, [made])
        assert tracemalloc.get_traced_memory()[1] < 6 * x.nbytes
    finally:
        tracemalloc.stop()
    assert len(trace.sizes) == 201  # each has a number of its own


def test_recording_leaves_numpy_and_the_modules_as_they_were():
    from numpy_attention.ops import attention

    before = dict(vars(attention))
    made = module("def f(x):\n    raise KeyError(1)")
    with pytest.raises(KeyError):
        record(made.f, {"x": np.ones(1)}, [made, attention])
    assert vars(attention) == before
    assert made.np is np


def test_wrong_inputs_and_another_format_are_one_line():
    made = module("def f(x):\n    return x + 1")
    trace = record(lambda x: {"y": made.f(x)}, {"x": np.ones(2)}, [made])
    with pytest.raises(ValueError, match="inputs: expected x, got y"):
        replay(trace, {"y": np.ones(2)})
    with pytest.raises(ValueError, match=r"inputs: expected x of shape \(2,\), got \(3,\)"):
        replay(trace, {"x": np.ones(3)})
    with pytest.raises(ValueError, match="trace: expected format 1, got 2"):
        from_json({**to_json(trace), "format": 2})
