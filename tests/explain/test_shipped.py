import numpy as np
import pytest

from numpy_attention.explain import shipped as module
from numpy_attention.explain.shipped import CONFIGS, TEXT, UPDATES, shipped, snapshots_of, trained
from numpy_attention.training.evaluation import evaluate
from numpy_attention.training.step import flatten, views


def test_before_the_first_update_both_models_have_the_initial_parameters_of_their_seed():
    models = shipped()
    for name in CONFIGS:
        run = getattr(models, name)[0]
        for key, value in run.model.init(run.config.seed, np.float32).items():
            np.testing.assert_allclose(run.params[key], value, rtol=1e-4, atol=1e-6)


def test_attention_reverses_a_sentence_that_was_held_out_and_vanilla_does_not():
    models = shipped()
    words = TEXT.split()
    data = models.attention[0].config.data()
    assert data.source_vocabulary.encode(words) in data.held_out.sources
    for step in (200, 500):
        assert models.attention[step].translate(TEXT).words == words[::-1]
        assert models.vanilla[step].translate(TEXT).words != words[::-1]
    weights = models.attention[500].translate(TEXT).attention
    assert weights[:-1].argmax(axis=1).tolist() == [5, 4, 3, 2, 1, 0]


def test_the_file_is_small_and_a_damaged_one_is_one_line_with_its_name(tmp_path, monkeypatch):
    assert module.FILE.stat().st_size < 70_000
    broken = tmp_path / "broken.npz"
    broken.write_bytes(module.FILE.read_bytes()[:1000])
    monkeypatch.setattr(module, "FILE", broken)
    with pytest.raises(ValueError, match=r"broken.npz: it is no archive of arrays, or not whole"):
        shipped.__wrapped__()


def test_a_run_keeps_the_parameters_of_its_end_alone():
    run = shipped().attention[200]
    assert snapshots_of(run) == {200: run}


@pytest.mark.slow
@pytest.mark.parametrize("name", CONFIGS)
def test_the_file_is_what_the_command_makes(name):
    # Products are rounded differently by other processors, and training magnifies it: the same bits at first, then
    # parameters that differ and are as good.
    runs, config = getattr(shipped(), name), CONFIGS[name]
    made = trained(config)
    for step, flat in zip(UPDATES, made, strict=True):
        run = runs[step]
        if step <= 50:
            np.testing.assert_allclose(flat, flatten(run.params), atol=1e-4)
        pairs = config.data().held_out
        again = evaluate(run.model, views(flat, run.params), pairs)
        assert abs(again.sequence_accuracy - evaluate(run.model, run.params, pairs).sequence_accuracy) < 0.05
    assert (again.sequence_accuracy > 0.99) == (name == "attention")
