"""Kill a training run at random instants, go on with it each time, and compare with a run that was left alone.

    python -m benchmarks.kill_and_resume [--kills 200] [--seed 0]

SIGKILL gives the process no chance to tidy up. After every kill the folder must hold a checkpoint that can be read, at
a step that is no earlier than before; in the end the parameters must be the same bits. Exit status 1 if not.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from numpy_attention.training.checkpoint import FILE, load_checkpoint

# A save after every step or so, for as many instants within a save as possible.
PROGRAM = """
import sys
import numpy_attention as na
from numpy_attention.training import trainer
trainer.SAVE_EVERY = 0.003
config = na.TrainConfig("reverse", length=5, hidden_size=32, steps=int(sys.argv[2]), dropout=0.1, out=sys.argv[1])
try:
    na.resume(sys.argv[1], None)
except ValueError as error:
    if "there is no" not in str(error):
        raise
    na.train(config, None)
"""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    rng = np.random.default_rng(options.seed)
    steps = 40 * options.kills
    with tempfile.TemporaryDirectory() as name:
        killed, alone = Path(name, "killed"), Path(name, "alone")
        reached = kills = 0
        while kills < options.kills:
            process = start(killed, steps)
            try:
                process.wait(timeout=0.15 + rng.uniform(0, 0.5))
                break  # it came to its end
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            kills += 1
            if not (killed / FILE).exists():
                continue
            step = load_checkpoint(killed).step
            if step < reached:
                print(f"kill {kills}: went back from step {reached} to {step}")
                return 1
            reached = step
            print(f"\rkill {kills} of {options.kills}, step {reached} of {steps}", end="", flush=True)
        print()
        finish(killed, steps)
        finish(alone, steps)
        one, other = load_checkpoint(killed), load_checkpoint(alone)
        same = one.step == other.step and all((one.params[k] == other.params[k]).all() for k in one.params)
        left = [path.name for path in killed.iterdir() if path.name.endswith(".part")]
    print(f"{kills} kills up to step {reached}; the same bits as a run that was left alone: {same}; left over: {left}")
    return 0 if same and not left else 1


def start(folder: Path, steps: int) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", PROGRAM, str(folder), str(steps)])


def finish(folder: Path, steps: int) -> None:
    start_time = time.perf_counter()
    if start(folder, steps).wait():
        raise SystemExit(f"{folder.name} did not come to its end after {time.perf_counter() - start_time:.1f} s")


if __name__ == "__main__":
    sys.exit(main())
