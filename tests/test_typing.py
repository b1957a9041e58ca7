"""What a type checker says to code that uses the package."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SCRIPT = '''
"""A script that trains, translates and checks gradients."""

from pathlib import Path

import numpy as np
import numpy.typing as npt

import numpy_attention as na

Array = npt.NDArray[np.float64]


def square(x: Array) -> tuple[Array, Array]:
    return x**2, x


def square_backward(dy: Array, x: Array) -> Array:
    return 2 * x * dy


def loss(params: dict[str, Array]) -> float:
    return float(np.sum(params["a"] ** 2))


def learn(folder: Path, dev: str) -> list[float]:
    config = na.TrainConfig("pairs.tsv", dev=dev, test=folder / "test.tsv", out="runs/pairs", clip=1.0)
    print(config.out)
    run = na.train(na.TrainConfig("reverse", length=(3, 5), out=folder / "reverse"), progress=None)
    best = run.translate("a b c", beam_size=3, n_best=2)
    found = na.evaluate(run.model, run.params, na.Task("reverse", lengths=(3, 5)).held_out)
    return [found.sequence_accuracy, *(each.score for each in best)]


report = na.check_vjp(square, square_backward, {"x": np.ones((2, 3))})
same = na.check_gradients(loss, {"a": np.ones(2)}, {"a": 2 * np.ones(2)}, method="finite-difference")
print(report.ok, same.verdict, learn(Path("runs"), "dev.tsv"))
model = na.Seq2Seq(8, 8)
batch = na.Batch.from_sequences([[3, 4]], [[4, 3]])
print(na.gradient_paths(model, model.init(), batch).total.shape)
'''


@pytest.mark.slow
def test_mypy_accepts_the_example_of_the_first_steps_and_a_users_script(tmp_path):
    pytest.importorskip("mypy")
    page = (ROOT / "docs/first_steps.md").read_text(encoding="utf-8")
    programs = {"example.py": re.findall(r"```python\n(.*?)```", page, re.DOTALL)[0], "script.py": SCRIPT}
    for name, program in programs.items():
        (tmp_path / name).write_text(program, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--follow-imports=silent", "--config-file=", *programs],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={"MYPYPATH": str(ROOT)},
    )
    assert done.returncode == 0, done.stdout + done.stderr
