"""Loss and every gradient against PyTorch's autograd in float64: every cell, every alignment, one and two directions.

The encoder's recurrence is torch.nn.RNN, torch.nn.LSTM or torch.nn.GRU, all else plain tensor operations. Conventions of
PyTorch's cells that differ from ours:

* Weights are transposed: ``weight_ih`` (gates H, E) is W, ``weight_hh`` (gates H, H) is U.
* There are two biases. Ours is ``bias_ih``; ``bias_hh`` is zero and has no counterpart.
* LSTM: gates in the order i, f, g, o, ours i, f, o, g. The state is a pair (h, c), ours one array [h ; c].
* GRU: gates r, z, n as ours, and the reset gate behind the product as well: n = tanh(a_n + r (h U)_n). With ``bias_hh``
  zero that is the same equation.
* Ragged batches are packed, so that the backward direction starts at the last real token.
"""

import itertools

import numpy as np
import pytest

from numpy_attention import Seq2Seq
from numpy_attention.ops.attention import ALIGNMENTS
from numpy_attention.ops.cells import CELLS
from numpy_attention.verification.cases import LENGTHS, make_batch, make_params

torch = pytest.importorskip("torch", reason="torch is not installed: no autograd to compare with")

GATES = {"tanh": 1, "gru": 3, "lstm": 4}
TORCH_ORDER = {"tanh": [0], "gru": [0, 1, 2], "lstm": [0, 1, 3, 2]}  # our gates in the order of PyTorch's
TORCH_CELL = {"tanh": torch.nn.RNN, "gru": torch.nn.GRU, "lstm": torch.nn.LSTM}
SIZES = {"source_vocabulary": 9, "target_vocabulary": 8, "embedding_size": 4, "encoder_size": 3, "alignment_size": 5}


def make_model(cell, alignment, bidirectional):
    D = (6 if bidirectional else 3) if alignment == "dot" else 7
    return Seq2Seq(**SIZES, hidden_size=D, cell=cell, alignment=alignment, bidirectional=bidirectional)


def by_gate(array, cell):
    """The gates of an array (..., gates H) in PyTorch's order."""
    return torch.cat([array.chunk(GATES[cell], -1)[gate] for gate in TORCH_ORDER[cell]], -1)


def encode(model, cell, params, batch):
    """Annotations (B, T, H') and last states (B, H'), both of h alone."""
    prefixes = ["encoder.forward", "encoder.backward"] if model.bidirectional else ["encoder"]
    rnn = TORCH_CELL[cell](4, 3, batch_first=True, bidirectional=model.bidirectional, dtype=torch.float64)
    weights = {}
    for prefix, suffix in zip(prefixes, ("", "_reverse"), strict=False):
        W, U, b = (by_gate(params[f"{prefix}.{name}"], cell) for name in ("W", "U", "b"))
        weights |= {f"weight_ih_l0{suffix}": W.T, f"weight_hh_l0{suffix}": U.T}
        weights |= {f"bias_ih_l0{suffix}": b, f"bias_hh_l0{suffix}": torch.zeros_like(b)}
    x = params["source_embedding"][torch.tensor(batch.source)]
    lengths = torch.tensor(batch.source_mask.sum(axis=1))
    packed = torch.nn.utils.rnn.pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
    states, last = torch.func.functional_call(rnn, weights, (packed,))
    h, _ = torch.nn.utils.rnn.pad_packed_sequence(states, batch_first=True)
    last = last[0] if cell == "lstm" else last
    return h, torch.cat(list(last), dim=1)


def step(cell, a, state, U):
    """Next state (B, S) by our equations; a (B, gates D) is the input projection, context and bias included."""
    if cell == "tanh":
        return torch.tanh(a + state @ U)
    if cell == "gru":
        product = state @ U
        D = state.shape[1]
        r, z = torch.sigmoid(a + product)[:, : 2 * D].chunk(2, 1)
        n = torch.tanh(a[:, 2 * D :] + r * product[:, 2 * D :])
        return (1 - z) * n + z * state
    h, c = state.chunk(2, 1)
    i, f, o, g = (a + h @ U).chunk(4, 1)
    c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
    return torch.cat([torch.sigmoid(o) * torch.tanh(c), c], dim=1)


def align(alignment, params, s, h, alpha):
    """Scores (B, T) of the query s (B, D) against the annotations h (B, T, H'); alpha (B, T) of the step before."""
    if alignment == "dot":
        return torch.einsum("bd,btd->bt", s, h)
    if alignment == "general":
        return torch.einsum("bd,dh,bth->bt", s, params["alignment.W"], h)
    query, keys, v = (s @ params["alignment.W"])[:, None], h @ params["alignment.U"], params["alignment.v"]
    if alignment == "location":
        keys = keys + torch.nn.functional.pad(alpha, (1, 1)).unfold(1, 3, 1) @ params["alignment.F"]
    if alignment in ("additive", "location"):
        return torch.tanh(query + keys) @ v
    return torch.cat([torch.tanh(query).expand_as(keys), torch.tanh(keys)], dim=2) @ v


def loss(model, cell, params, batch):
    """Mean over the real target tokens of -log softmax(logits)[y]."""
    h, last = encode(model, cell, params, batch)
    mask = torch.tensor(batch.source_mask)
    state = torch.tanh(last @ params["bridge.W"] + params["bridge.b"])
    total, alpha = 0.0, torch.zeros(mask.shape, dtype=torch.float64)
    for u in range(batch.target_input.shape[1]):
        y = params["target_embedding"][torch.tensor(batch.target_input[:, u])]
        a, logits = y @ params["decoder.W"] + params["decoder.b"], params["output.b"]
        s = state[:, : model.hidden_size]
        if model.alignment != "none":
            scores = align(model.alignment, params, s, h, alpha)
            alpha = torch.softmax(scores.masked_fill(~mask, -torch.inf), dim=1)
            context = torch.einsum("bt,bth->bh", alpha, h)
            a, logits = a + context @ params["decoder.C"], logits + context @ params["output.C"]
        state = step(cell, a, state, params["decoder.U"])
        logits = logits + state[:, : model.hidden_size] @ params["output.W"]
        chosen = torch.tensor(batch.target_output[:, u])
        cost = torch.nn.functional.cross_entropy(logits, chosen, reduction="none")
        total = total + (cost * torch.tensor(batch.target_mask[:, u])).sum()
    return total / batch.token_count


RAGGED = list(itertools.product(CELLS, ALIGNMENTS, (False, True), ["ragged"]))
OTHER_SHAPES = list(
    itertools.product(CELLS, ["additive"], (False, True), [name for name in LENGTHS if name != "ragged"])
)


@pytest.mark.parametrize(("cell", "alignment", "bidirectional", "lengths"), RAGGED + OTHER_SHAPES)
def test_loss_and_every_gradient_are_those_of_autograd(cell, alignment, bidirectional, lengths):
    model = make_model(cell, alignment, bidirectional)
    params, batch = make_params(model), make_batch(model, lengths)
    value, gradients = model.loss_and_gradients(params, batch)
    tensors = {name: torch.tensor(array, requires_grad=True) for name, array in params.items()}
    expected = loss(model, cell, tensors, batch)
    expected.backward()
    theirs = {name: tensor.grad.numpy() for name, tensor in tensors.items()}
    whole = max(np.abs(gradient).max() for gradient in theirs.values())
    assert abs(value - expected.item()) <= 1e-10
    assert gradients.keys() == theirs.keys()
    for name, gradient in gradients.items():
        np.testing.assert_allclose(gradient, theirs[name], rtol=0, atol=1e-10 * whole, err_msg=name)


@pytest.mark.parametrize("cell", CELLS)
def test_the_cells_of_pytorch_are_our_equations(cell, monkeypatch):
    model = make_model("tanh", "none", False)
    batch = make_batch(model)
    generator = torch.Generator().manual_seed(0)

    def draw(*shape):
        return torch.randn(shape, generator=generator, dtype=torch.float64)

    gates = GATES[cell]
    weights = {"encoder.W": draw(4, gates * 3), "encoder.U": draw(3, gates * 3), "encoder.b": draw(gates * 3)}
    params = {"source_embedding": draw(9, 4), **weights}
    state = torch.zeros((len(batch.source), 6 if cell == "lstm" else 3), dtype=torch.float64)
    states = []
    for tokens, real in zip(batch.source.T, batch.source_mask.T, strict=True):
        a = params["source_embedding"][torch.tensor(tokens)] @ params["encoder.W"] + params["encoder.b"]
        state = torch.where(torch.tensor(real)[:, None], step(cell, a, state, params["encoder.U"]), state)
        states.append(state[:, :3] * torch.tensor(real)[:, None])
    h, last = encode(model, cell, params, batch)
    torch.testing.assert_close(h, torch.stack(states, dim=1), rtol=0, atol=1e-14)
    torch.testing.assert_close(last, state[:, :3], rtol=0, atol=1e-14)
    if gates > 1:
        monkeypatch.setitem(TORCH_ORDER, cell, [*range(1, gates), 0])
        assert (encode(model, cell, params, batch)[1] - last).abs().max() > 0.1
