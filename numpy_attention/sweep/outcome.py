"""What became of one run of a sweep."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..run import Run
from ..training.config import TrainConfig


@dataclass(frozen=True, eq=False)
class Outcome:
    """What became of one run of a sweep.

    Attributes
    ----------
    name : str
        Its task and the settings that vary; also the name of its folder.
    config : TrainConfig
        As it was asked for.
    folder : Path
    run : Run or None
        The run, if it is over.
    metrics : list of dict
        Its evaluations, as in its file of metrics.
    error : str or None
        Why there is no run that is over.
    """

    name: str
    config: TrainConfig
    folder: Path
    run: Run | None
    metrics: list[dict[str, Any]]
    error: str | None

    @property
    def seconds(self) -> float:
        """Seconds of training so far."""
        return float(self.metrics[-1]["seconds"]) if self.metrics else 0.0

    @property
    def cpu_seconds(self) -> float:
        """Seconds of the processor so far: unlike :attr:`seconds`, other programs hardly change them."""
        return float(self.metrics[-1].get("cpu_seconds", 0.0)) if self.metrics else 0.0

    def first(self, accuracy: float) -> dict[str, Any]:
        """The first evaluation with this share of held-out sequences right; empty if there is none."""
        return next((each for each in self.metrics if each["held_out"]["sequence_accuracy"] >= accuracy), {})
