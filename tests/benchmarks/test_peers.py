"""The peers that speed is compared with compute the same loss and gradients as we do, and find the same outputs."""

import dataclasses
import subprocess
import sys

import numpy as np
import pytest

from benchmarks.peers import PEERS, installed, load_peer, require_additive, require_agreement
from numpy_attention import Seq2Seq
from numpy_attention.verification.cases import LENGTHS, make_batch, make_model, make_params


def each_peer(*keys):
    """Parametrise by peers: skipped if the framework is missing, slow if it compiles."""
    marks = {key: [_unless_installed(key), *([pytest.mark.slow] if key == "jax" else [])] for key in keys}
    return pytest.mark.parametrize("peer", [pytest.param(key, marks=marks[key]) for key in keys])


def _unless_installed(key):
    name, package, _ = PEERS[key]
    return pytest.mark.skipif(not installed(key), reason=f"{package} is not installed: no {name} to compare with")


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """Arrays this small gain nothing from more, and on a busy machine threads wait for each other."""
    if installed("torch"):
        load_peer("torch").set_threads(1)


def in_float32(params):
    return {name: value.astype(np.float32) for name, value in params.items()}


@each_peer("torch", "jax", "autograd")
@pytest.mark.parametrize("lengths", LENGTHS)
def test_a_step_has_our_loss_and_gradients(peer, lengths):
    model = make_model("additive", False)
    params, batch = make_params(model), make_batch(model, lengths)
    step = load_peer(peer).make_step(model, params, batch)
    require_agreement(model, params, batch, step)
    require_agreement(model, params, batch, step)  # a step leaves nothing behind


@each_peer("torch", "jax", "autograd")
@pytest.mark.parametrize("lengths", ["ragged", "U != T"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_step_keeps_the_dtype(peer, lengths, dtype):
    model = make_model("additive", False)
    params, batch = make_params(model), make_batch(model, lengths)
    params = {name: value.astype(dtype) for name, value in params.items()}
    step = load_peer(peer).make_step(model, params, batch)
    loss, gradients = step()
    assert np.asarray(loss).dtype == dtype
    assert {name: np.asarray(value).dtype for name, value in gradients.items()} == dict.fromkeys(params, dtype)
    require_agreement(model, params, batch, step, tolerance=1e-5)


@each_peer("torch", "jax", "autograd")
def test_a_step_in_which_tokens_are_fewer_than_words(peer):
    model = dataclasses.replace(make_model("additive", False), source_vocabulary=50, target_vocabulary=40)
    params, batch = make_params(model), make_batch(model)
    require_agreement(model, params, batch, load_peer(peer).make_step(model, params, batch))


@pytest.mark.parametrize(
    ("alignment", "bidirectional", "message"),
    [("dot", False, 'alignment: the peers have "additive" only, got "dot"'), ("additive", True, "bidirectional: ")],
)
def test_models_that_the_peers_lack_are_refused(alignment, bidirectional, message):
    with pytest.raises(NotImplementedError, match=message):
        require_additive(make_model(alignment, bidirectional))


@pytest.mark.slow
@_unless_installed("compile")
@pytest.mark.parametrize("whole", [True, False])
def test_the_compiled_step_has_our_loss_and_gradients(whole, monkeypatch):
    import torch

    from benchmarks.peers import compiled_model

    # Compile in this process: nobody waits for compilers in other processes at the end.
    monkeypatch.setenv("TORCHINDUCTOR_COMPILE_THREADS", "1")
    monkeypatch.setattr(compiled_model, "LONGEST", 100 if whole else 0)
    model = make_model("additive", False)
    params, batch = make_params(model), make_batch(model, "U = 1" if whole else "U != T")
    step = load_peer("compile").make_step(model, params, batch)
    require_agreement(model, params, batch, step)
    with torch.compiler.set_stance("fail_on_recompile"):
        assert np.asarray(step()[0]).dtype == np.float64


@pytest.fixture(scope="module")
def search_problem():
    """Parameters so large that outputs are certain, sources of many lengths and outputs too."""
    model = Seq2Seq(12, 9, 5, 8)
    params = make_params(model, scale=2.5)
    params["output.b"][2] += 3.0
    rng = np.random.default_rng(3)
    return model, params, [rng.integers(3, 12, length).tolist() for length in rng.integers(1, 10, 40)]


@each_peer("torch", "jax")
@pytest.mark.parametrize("beam_size", [1, 5, 8])
def test_search_finds_our_outputs(peer, beam_size, search_problem):
    model, params, sources = search_problem
    ours = model.translate(params, sources, beam_size, max_length=12)
    outputs = [each.tokens for each in ours]
    assert len({tuple(output) for output in outputs}) > 10
    assert len({len(output) for output in outputs}) > 4
    assert {each.finished for each in ours} == {False, True}
    search = load_peer(peer).make_search(model, params, sources, beam_size, 12)
    assert search() == outputs
    assert search() == outputs


@each_peer("torch", "jax")
def test_search_in_float32(peer, search_problem):
    model, params, sources = search_problem
    params = in_float32(params)
    outputs = [each.tokens for each in model.translate(params, sources, 5, max_length=12)]
    assert load_peer(peer).make_search(model, params, sources, 5, 12)() == outputs


def test_the_array_that_disagrees_is_named():
    model = make_model("additive", False)
    params, batch = make_params(model), make_batch(model)
    loss, gradients = model.loss_and_gradients(params, batch)
    require_agreement(model, params, batch, lambda: (loss, gradients))
    with pytest.raises(ValueError, match=r"^the loss: the two sides differ by 1\.0e-01"):
        require_agreement(model, params, batch, lambda: (loss + 0.1, gradients))
    wrong = gradients | {"decoder.U": gradients["decoder.U"] + np.nan}
    with pytest.raises(ValueError, match=r"^decoder\.U: the two sides differ by nan"):
        require_agreement(model, params, batch, lambda: (loss, wrong))
    wrong = gradients | {"decoder.b": gradients["decoder.b"][:1]}
    with pytest.raises(ValueError, match=r"^decoder\.b: shapes \(5,\) and \(1,\)"):
        require_agreement(model, params, batch, lambda: (loss, wrong))
    wrong = {name: value for name, value in gradients.items() if name != "bridge.b"}
    small = {name: value + 1e-11 for name, value in gradients.items()}
    require_agreement(model, params, batch, lambda: (loss, small))
    with pytest.raises(ValueError, match="the two sides differ by"):
        require_agreement(model, params, batch, lambda: (loss, small), 1e-11, relative=True)
    with pytest.raises(ValueError, match=r"^bridge\.b: only one of the two sides has a gradient"):
        require_agreement(model, params, batch, lambda: (loss, wrong))


def test_the_registry_imports_no_framework():
    code = (
        "import sys, benchmarks.peers as peers; "
        "assert not {'torch', 'jax', 'autograd'} & set(sys.modules); "
        "assert all(peers.installed(key) in (False, True) for key in peers.PEERS); "
        "assert not {'torch', 'jax', 'autograd'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_batches_of_sources_hold_each_source_once():
    from benchmarks.peers.sources import source_batches

    sources = [[3, 4, 5], [6], [7, 8], [9], [3, 3, 3, 3]]
    found = {}
    for rows, tokens, mask in source_batches(sources, 2):
        assert len(rows) <= 2
        assert mask.any(axis=0).all()
        found |= {int(row): tokens[k, mask[k]].tolist() for k, row in enumerate(rows)}
    assert [found[row] for row in range(len(sources))] == sources
