"""Error against step size: forward and central difference, Richardson's extrapolation, and the complex step.

    python docs/figures/step_size.py

prints the best step of each and draws step_size.png. The derivative is that of a recurrence of ten steps,
h_t = tanh(w h_{t-1} + 1/2), with respect to w at w = 0.9; the true value is computed with 60 decimal digits.
"""

from __future__ import annotations

from decimal import Decimal, getcontext
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

STEPS = 10
WEIGHT, BIAS = 0.9, 0.5
FIGURE = Path(__file__).with_suffix(".png")


def loss(w: complex) -> complex:
    """h_10 of h_t = tanh(w h_{t-1} + 1/2), h_0 = 0."""
    h: complex = 0.0
    for _ in range(STEPS):
        h = np.tanh(w * h + BIAS)
    return h


def true_derivative() -> Decimal:
    """dh_t/dw = (1 - h_t^2) (h_{t-1} + w dh_{t-1}/dw), in 60 digits, at exactly the float64 that ``loss`` sees."""
    getcontext().prec = 60
    w, b = Decimal(WEIGHT), Decimal(BIAS)
    h = dh = Decimal(0)
    for _ in range(STEPS):
        power = (2 * (w * h + b)).exp()
        tanh = (power - 1) / (power + 1)
        h, dh = tanh, (1 - tanh**2) * (h + w * dh)
    return dh


def forward(h: float) -> float:
    """(f(w + h) - f(w)) / h, error of order h."""
    return float((loss(WEIGHT + h) - loss(WEIGHT)).real / h)


def central(h: float) -> float:
    """(f(w + h) - f(w - h)) / 2h, error of order h^2."""
    return float((loss(WEIGHT + h) - loss(WEIGHT - h)).real / (2 * h))


def richardson(h: float) -> float:
    """(4 D(h/2) - D(h)) / 3 of the central difference, error of order h^4."""
    return (4 * central(h / 2) - central(h)) / 3


def complex_step(h: float) -> float:
    """Im f(w + ih) / h, error of order h^2; nothing is subtracted."""
    return float(loss(WEIGHT + 1j * h).imag / h)


METHODS = {
    "forward difference": forward,
    "central difference": central,
    "Richardson": richardson,
    "complex step": complex_step,
}


def relative_errors(steps: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
    """|estimate - true| / |true| for each method and step, subtracted in 60 digits."""
    true = true_derivative()
    return {
        name: np.array([float(abs(Decimal(method(float(h))) - true) / abs(true)) for h in steps])
        for name, method in METHODS.items()
    }


def draw(steps: NDArray[np.float64], errors: dict[str, NDArray[np.float64]]) -> None:
    """Draw the figure, with smaller steps to the right."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    styles = {
        "complex step": ("#d1495b", 3.0, "-"),
        "forward difference": ("#8c8c8c", 1.6, "-"),
        "Richardson": ("#3d6fa8", 1.6, "-"),
        "central difference": ("#e0a030", 1.6, "--"),
    }
    # For each curve the position of its label, and the point that the label's line leads to.
    labels = {
        "forward difference": ((1e-6, 2e-2), (1e-4, 1e-4)),
        "central difference": ((1e-9, 3e-11), (5e-6, 6e-12)),
        "Richardson": ((5e-1, 1e-15), (2e-3, 1e-12)),
        "complex step": ((1e-18, 1e-13), (1e-18, 2e-16)),
    }
    figure, axes = plt.subplots(figsize=(8, 4.6), layout="constrained")
    # The central difference comes last: at large steps it covers the complex step, whose truncation error is the same.
    for name, (colour, width, style) in styles.items():
        axes.loglog(steps, errors[name], color=colour, linewidth=width, linestyle=style)
        text, point = labels[name]
        axes.annotate(
            name,
            point,
            text,
            color=colour,
            fontsize=11,
            fontweight="bold",
            va="center",
            arrowprops={"arrowstyle": "-", "color": colour, "linewidth": 0.8},
        )
    axes.axhline(np.finfo(float).eps, color="black", linewidth=0.8, linestyle=":")
    axes.text(1.5e-30, np.finfo(float).eps * 2, "float64 epsilon", fontsize=9, ha="right")
    axes.set(
        xlim=(2, 1e-30),
        ylim=(2e-17, 20),
        xlabel="step size h",
        ylabel="relative error of the derivative",
        title="A difference has a best step; for the complex step any small one will do",
    )
    axes.set_xticks([1, 1e-5, 1e-10, 1e-15, 1e-20, 1e-25, 1e-30])
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.25)
    figure.savefig(FIGURE, dpi=150)
    plt.close(figure)


def main() -> None:
    """Print the table of best steps and write the figure."""
    steps = np.logspace(0, -30, 181)
    errors = relative_errors(steps)
    print(f"{'method':<20} {'best error':>10} {'at h':>8} {'at 1e-5':>9} {'at 1e-12':>9} {'at 1e-30':>9}")
    for name, error in errors.items():
        at = {h: error[np.argmin(np.abs(np.log10(steps) - np.log10(h)))] for h in (1e-5, 1e-12, 1e-30)}
        best = int(np.argmin(error))
        print(f"{name:<20} {error[best]:>10.1e} {steps[best]:>8.1e} " + " ".join(f"{at[h]:>9.1e}" for h in at))
    draw(steps, errors)
    print(f"wrote {FIGURE}")


if __name__ == "__main__":
    main()
