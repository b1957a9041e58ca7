"""The paths of the gradient are proved, each by itself, and a wrong one is refuted by its name."""

import pytest

from numpy_attention.superhighway import paths
from numpy_attention.superhighway.proof import prove_paths
from numpy_attention.verification.cases import make_batch, make_model, make_params


def of(alignment, bidirectional, cell="tanh"):
    model = make_model(alignment, bidirectional, cell)
    return prove_paths(model, make_params(model), make_batch(model), 8)


@pytest.mark.parametrize("cell", ["tanh", "gru", "lstm"])
@pytest.mark.parametrize("alignment", ["additive", "dot", "none"])
@pytest.mark.parametrize("bidirectional", [False, True])
def test_every_path_is_proved(alignment, bidirectional, cell):
    proof = of(alignment, bidirectional, cell)
    assert proof.verdict == "PROVED"
    assert 0 < proof.bound < 1e-20


@pytest.mark.parametrize("name", ["context", "key"])
def test_a_wrong_path_is_refuted_by_its_name(name, monkeypatch):
    unchanged = paths.sent_back

    def wrong(cache):
        found, dlast = unchanged(cache)
        return found._replace(**{name: 2 * getattr(found, name)}), dlast

    monkeypatch.setattr(paths, "sent_back", wrong)
    proof = of("additive", False)
    assert proof.verdict == "REFUTED"
    assert name in proof.wrong
    assert ({"context", "key"} - {name}).isdisjoint(proof.wrong)
