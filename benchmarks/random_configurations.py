"""The gradient written by hand against the complex step, over random configurations of the model.

    python -m benchmarks.random_configurations [COUNT] [--seed SEED]

Sizes, alignment, direction, lengths, scale of the weights, biases and tokens are all drawn. Every entry of every
parameter must agree to 1e-12 of the whole gradient's largest entry, and at ordinary weights also to 1e-12 of its own
parameter's. Exit status 1 if one does not.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from typing import NamedTuple

import numpy as np

from numpy_attention import Batch, GradientReport, Seq2Seq, check_gradients
from numpy_attention.gradcheck.progress import progress
from numpy_attention.verification.cases import ALIGNMENTS, SCALES, make_params


class Configuration(NamedTuple):
    """One model, its parameters and a batch."""

    model: Seq2Seq
    params: dict[str, np.ndarray]
    batch: Batch
    scale: str


def draw(seed: int) -> Configuration:
    """Everything about one configuration, from its seed."""
    rng = np.random.default_rng([seed, 3])
    alignment, bidirectional = str(rng.choice(ALIGNMENTS)), bool(rng.integers(2))
    E, H, A, D = (int(size) for size in rng.integers(1, 6, 4))
    if alignment == "dot":
        D = 2 * H if bidirectional else H
    V_x, V_y = (int(size) for size in rng.integers(4, 12, 2))
    model = Seq2Seq(V_x, V_y, E, D, encoder_size=H, alignment_size=A, alignment=alignment, bidirectional=bidirectional)
    scale = str(rng.choice(list(SCALES)))
    sequences = int(rng.integers(1, 5))
    longest = int(rng.integers(1, 7))
    sources = [rng.integers(0, V_x, rng.integers(1, longest + 1)).tolist() for _ in range(sequences)]
    targets = [rng.integers(0, V_y, rng.integers(0, longest + 1)).tolist() for _ in range(sequences)]
    return Configuration(model, make_params(model, SCALES[scale], seed), Batch.from_sequences(sources, targets), scale)


def check(configuration: Configuration) -> GradientReport:
    """Every entry of every gradient."""
    model, params, batch, scale = configuration
    return check_gradients(
        lambda values: model.loss(values, batch),
        params,
        model.loss_and_gradients(params, batch)[1],
        own_scale=scale == "ordinary",
        show_progress=False,
    )


def main() -> int:
    """Check them all and print a summary."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("count", nargs="?", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    if arguments.count < 1:
        parser.error(f"count: expected at least 1, got {arguments.count}")
    step = progress(arguments.count, unit="configurations")
    start = time.perf_counter()
    kinds: Counter[str] = Counter()
    errors: dict[str, float] = dict.fromkeys(SCALES, 0.0)
    entries = failed = 0
    for seed in range(arguments.seed, arguments.seed + arguments.count):
        configuration = draw(seed)
        report = check(configuration)
        kinds[configuration.model.alignment] += 1
        entries += sum(value.size for value in configuration.params.values())
        error = max(row.relative_error or 0.0 for row in report.parameters)
        errors[configuration.scale] = max(errors[configuration.scale], error)
        if not report.ok:
            failed += 1
            print(f"\nseed {seed}, {configuration.scale} weights: {configuration.model}\n{report}")
        step()
    print(f"{arguments.count:,} configurations ({', '.join(f'{kinds[kind]} {kind}' for kind in ALIGNMENTS)})")
    print(f"{entries:,} entries, in {time.perf_counter() - start:.0f} s")
    for scale, error in errors.items():
        print(f"worst relative error, {scale} weights: {error:.1e} (allowed 1.0e-12)")
    print(f"{failed:,} failed" if failed else "all agree with the complex step")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
