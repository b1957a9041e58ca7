"""Make three notebooks: check your own layer, watch attention form, and the gradient superhighway.

Run it from anywhere: ``python docs/notebooks/make_notebooks.py``. It needs no Jupyter. Text and code stand here, one
cell after the other.
"""

import json
from pathlib import Path

FOLDER = Path(__file__).parent

LAYER = [
    "text",
    """\
# Check your own layer

You have a forward and the backward that you derived. Is it right? `check_vjp` runs both, unchanged, in the exact
arithmetic of a finite field, and compares by equality. There is no tolerance and no step size.""",
    "code",
    """\
import numpy as np

from numpy_attention import check_vjp


def forward(x, g):
    scale = np.sqrt((x * x).mean(axis=1, keepdims=True) + 2**-20)
    y = x / scale
    return y * g, (x, g, scale, y)


def backward(dz, cache):
    x, g, scale, y = cache
    dy = dz * g
    dx = (dy - y * (dy * y).mean(axis=1, keepdims=True)) / scale
    return dx, (dz * y).sum(axis=0)


rng = np.random.default_rng(0)
inputs = {"x": rng.normal(size=(3, 4)), "g": rng.normal(size=4)}
report = check_vjp(forward, backward, inputs)
print(report)""",
    "text",
    """\
This is RMS normalisation. The second term of `dx` is there because the scale depends on `x` as well. Many first
attempts leave it out. Here is what the check says then.""",
    "code",
    """\
def forgetful(dz, cache):
    x, g, scale, y = cache
    return dz * g / scale, (dz * y).sum(axis=0)


wrong = check_vjp(forward, forgetful, inputs)
print(wrong)
assert report.ok and not wrong.ok""",
    "text",
    """\
Change the layer, or write your own. Any NumPy code will do: `docs/check_your_own_layer.md` has recipes for layers
with parameters, for test suites, and for PyTorch, JAX and C.""",
]

FORMS = [
    "text",
    """\
# Watch attention form

A model learns to reverse sequences of six symbols. Every hundred updates it writes the same sequence, and we look
where it looks: the source runs across, the output down. To reverse, it must learn to look from right to left, and
nobody tells it so.""",
    "code",
    """\
import matplotlib.pyplot as plt
import numpy as np

import numpy_attention as na
from numpy_attention.data.tasks import Task

task = Task("reverse", symbols=8, lengths=(6, 6))
V = len(task.source_vocabulary)
model = na.Seq2Seq(V, V, embedding_size=16, hidden_size=32)
state = na.TrainingState(model.init(seed=0), recurrent_rate=0.15)
source = task.held_out.sources[0]

maps = {}
for step in range(401):
    if step % 100 == 0:
        maps[step] = model.translate(state.params, [source], max_length=7)[0]
    na.training_step(model, state, task.batch(step, 32), na.learning_rate(step, 401, 5e-3, 20), clip=1.0)""",
    "code",
    """\
names = task.source_vocabulary.decode(source)
figure, axes = plt.subplots(1, len(maps), figsize=(2.4 * len(maps), 2.8), layout="constrained")
for axis, (step, translation) in zip(axes, maps.items()):
    axis.imshow(translation.attention, cmap="Blues", vmin=0, vmax=1)
    axis.set_title(f"after {step}")
    axis.set_xticks(range(len(source)), names)
    written = [*task.target_vocabulary.decode(translation.tokens), "<eos>"][: len(translation.attention)]
    axis.set_yticks(range(len(written)), written)
plt.show()""",
    "text",
    """\
At first the weights are nearly even: every position gets about a sixth. Then one position after the other stands out.
The last map is a diagonal from the upper right to the lower left. How sharp is it?""",
    "code",
    """\
weights = maps[400].attention[:6]
print("looked at the mirrored position:", weights[np.arange(6), 5 - np.arange(6)].round(2))
right = model.translate(state.params, task.held_out.sources[:200], max_length=7)
share = np.mean([each.tokens == target for each, target in zip(right, task.held_out.targets)])
print(f"{share:.0%} of 200 held-out sequences are right")
assert share > 0.9""",
]

HIGHWAY = [
    "text",
    """\
# The gradient superhighway

Without attention the gradient of the loss reaches the first word through every recurrent step of the encoder. With
attention it also comes directly, through each context vector: dL/dh_t = context + key + bridge + recurrent. The
backward that trains the model keeps the four apart.""",
    "code",
    """\
import matplotlib.pyplot as plt
import numpy as np

import numpy_attention as na

T, V = 30, 12
rng = np.random.default_rng(0)
sources = rng.integers(3, V, (16, T)).tolist()
batch = na.Batch.from_sequences(sources, [source[::-1] for source in sources])

norms = {}
for alignment in ("additive", "none"):
    model = na.Seq2Seq(V, V, embedding_size=16, hidden_size=32, alignment=alignment)
    params = {name: 0.7 * value if name.endswith(".U") else value for name, value in model.init(seed=0).items()}
    paths = na.gradient_paths(model, params, batch)
    norms[alignment] = np.linalg.norm(paths.total, axis=2).mean(axis=0)
    if alignment == "additive":
        split = {"context": paths.context, "key": paths.key, "recurrent": paths.recurrent}
        parts = {name: np.linalg.norm(value, axis=2).mean(axis=0) for name, value in split.items()}""",
    "text",
    """\
The recurrent matrices are orthogonal times 0.7, so a step of the encoder shrinks the gradient by about that. Look at
the norm of the gradient of each encoder state, against its distance to the end of the source.""",
    "code",
    """\
figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.2), layout="constrained", sharey=True)
distance = T - 1 - np.arange(T)
for name, values in norms.items():
    left.semilogy(distance, values, label="with attention" if name == "additive" else "without")
for name, values in parts.items():
    right.semilogy(distance, np.where(values > 0, values, np.nan), label=name)
for axis in (left, right):
    axis.set_xlabel("steps to the end of the source")
    axis.legend()
left.set_ylabel("norm of dL/dh_t")
plt.show()""",
    "code",
    """\
for name, values in norms.items():
    print(f"{name:>9}: the first state's gradient is {values[0] / values[-1]:.1e} of the last one's")
assert norms["none"][0] / norms["none"][-1] < 1e-3 < 1e-2 < norms["additive"][0] / norms["additive"][-1]""",
    "text",
    """\
Without attention it fades exponentially. With attention it levels off at what the context path brings, which does not
depend on the distance. But this is not always so: with orthogonal matrices of scale 1 the recurrent path fades far
more slowly. `docs/superhighway.md` measures where the usual story holds and where it does not.""",
]

NOTEBOOKS = {"check_your_own_layer": LAYER, "watch_attention_form": FORMS, "superhighway": HIGHWAY}


def notebook(cells: list[str]) -> str:
    """The file of a notebook, from kinds and texts in turn."""
    made = []
    for kind, source in zip(cells[::2], cells[1::2], strict=True):
        more = {"execution_count": None, "outputs": []} if kind == "code" else {}
        kind = "code" if kind == "code" else "markdown"
        made.append({"cell_type": kind, "metadata": {}, "source": source.splitlines(keepends=True), **more})
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    metadata = {"kernelspec": kernel, "language_info": {"name": "python"}}
    return json.dumps({"cells": made, "metadata": metadata, "nbformat": 4, "nbformat_minor": 4}, indent=1) + "\n"


if __name__ == "__main__":
    for name, cells in NOTEBOOKS.items():
        (FOLDER / f"{name}.ipynb").write_text(notebook(cells), encoding="utf-8")
