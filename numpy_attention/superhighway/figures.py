"""Figures of the studies; matplotlib is imported when one is drawn."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from .._typing import Array
from ..views.plots import Map, plot_curves, plot_maps
from .study import PathStudy

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NORM = r"$\Vert dL/dh_t \Vert$"
DISTANCE = "distance to the end of the source"
# What people read of the models and of the two ways into the encoder.
NAMES = {
    "attention": "with attention",
    "vanilla": "without attention",
    "bottleneck": "entered by the bridge",
    "superhighway": "entered by contexts and keys",
}


def named(parts: Mapping[str, Any]) -> dict[str, Any]:
    """The parts under the names that people read."""
    return {NAMES.get(name, name): part for name, part in parts.items()}


def study_figures(found: dict[str, Any]) -> dict[str, Figure]:
    """Figures of the studies of paths, lengths, radii and profiles, by the name of their file.

    Parameters
    ----------
    found : dict
        Results of the jobs in :mod:`.study`, ``found[kind][name]``; ``radius_length``; and the words of the sequence
        that the maps are of, ``source`` and ``output``.

    Returns
    -------
    figures : dict of matplotlib.figure.Figure
    """
    figures: dict[str, Any] = {}
    for when, study in found["paths"].items():
        drawn = draw_paths(study, when, found["source"], found["output"])
        figures |= {f"{name}-{when.split()[-1]}": figure for name, figure in drawn.items()}
    if "lengths" in found:
        figures |= draw_lengths(found["lengths"])
        figures["radii"] = draw_radii(found["radii"], found["radius_length"])
    if "profiles" in found:
        panels = {
            when: named({name: profile["norms"] for name, profile in models.items() if name != "first_ratio"})
            for when, models in found["profiles"].items()
        }
        figures["training"] = plot_curves(panels, DISTANCE, NORM)
    return figures


def draw_paths(study: PathStudy, when: str, source: Sequence[str], output: Sequence[str]) -> dict[str, Figure]:
    """Figures of one study: by position, by number of steps, and the map."""
    length = study.paths["total"].shape[1]
    parts = {
        name: study.paths[name]
        for name in ("context", "key", "bridge", "recurrent", "total")
        if study.paths[name].any()
    }
    origins, reach = (
        named({name: values for name, values in each.items() if values.any()})
        for each in (study.origins, study.reach_first)
    )
    panels = {
        f"{when}: by what reads $h_t$ next": parts,
        "by where it entered the encoder": origins | {"total": parts["total"]},
    }
    steps = {f"{when}: what reaches $h_1$, by encoder steps": reach}
    maps = {
        rf"$\Vert dL_u/dh_t \Vert$, {when}": Map(study.map, "norm, logarithmic", log=True),
        "the same, by row": Map(by_row(study.map), "share of the row's largest"),
    }
    if len(study.attention):
        steps["context path, by decoder steps"] = {"context": study.decoder_steps}
        maps["attention"] = Map(study.attention, "attention weight")
    return {
        "paths": plot_curves(panels, "source position t", NORM, x=np.arange(1, length + 1)),
        "steps": plot_curves(steps, "steps taken", "norm"),
        "map": plot_maps(maps, source, output),
    }


def draw_lengths(rows: dict[int, dict[str, Any]]) -> dict[str, Figure]:
    """Figures over the length: the profiles, their two ends, and the norm of what enters at one position."""
    lengths = np.array(list(rows))
    models = ("attention", "vanilla")
    profiles = {
        f"length {length}": named({name: row[name]["norms"] for name in models}) for length, row in rows.items()
    }

    def over_lengths(values: Iterable[Array]) -> Array:
        return np.stack(list(values), axis=1)

    context, bridge = (over_lengths(row[name] for row in rows.values()) for name in ("context", "bridge"))
    entering = {"context": context, "bridge": bridge, "1 / T": context[1, 0] * lengths[0] / lengths}
    ends = named({name: over_lengths(row[name]["first_to_last"] for row in rows.values()) for name in models})
    label = "source length T"
    return {
        "profiles": plot_curves(profiles, DISTANCE, NORM, sharey=False),
        "ends": plot_curves(
            {"what is left at the first token": ends},
            label,
            r"$\Vert dL/dh_1 \Vert \;/\; \Vert dL/dh_T \Vert$",
            x=lengths,
            log_x=True,
        ),
        "entering": plot_curves(
            {"what enters at one position": entering}, label, "norm", x=lengths, log_x=True, guides=["1 / T"]
        ),
    }


def draw_radii(rows: dict[float, dict[str, Any]], length: int) -> Figure:
    """Both models over the spectral radius of the encoder's recurrent matrix."""
    panels = {
        f"{NAMES[name]}, length {length}": {f"radius {radius:g}": row[name]["norms"] for radius, row in rows.items()}
        for name in ("vanilla", "attention")
    }
    return plot_curves(panels, DISTANCE, NORM)


def gates_figures(found: dict[str, Any]) -> dict[str, Figure]:
    """The figure of ``found["gates"][when][name]``, studies by :func:`.gates.study_gates`: a row for each gated cell.

    The cell without gates is in every panel, for comparison.
    """
    panels: dict[str, dict[str, Any]] = {}
    partners = {}
    for when, rows in found["gates"].items():
        plain = {name: row for name, row in rows.items() if not np.any(row["attention"]["gates"])}
        for cell in dict.fromkeys(name.split(", ")[0] for name in rows if name not in plain):
            for model in ("vanilla", "attention"):
                curves = panels.setdefault(f"{cell} {when},\n{NAMES[model]}", {})
                curves |= {name: row[model]["norms"][1] for name, row in plain.items()}
                for name, row in rows.items():
                    if name.startswith(f"{cell}, "):
                        bias = name.removeprefix(f"{cell}, ")
                        partners[f"{bias}: by gates"] = bias
                        curves |= {bias: row[model]["norms"][1], f"{bias}: by gates": row[model]["gates"][1]}
    xlabel, ylabel = f"{DISTANCE}\n(dashed: carried by the gates alone)", r"$\Vert dL/ds_t \Vert$ (medians)"
    return {"gates": plot_curves(panels, xlabel, ylabel, partners=partners, across=2, sharey="row")}


def by_row(values: Array) -> Array:
    """Every row divided by its largest entry; a row of zeros stays as it is."""
    largest = values.max(axis=1, keepdims=True)
    shares: Array = values / np.where(largest > 0, largest, 1)
    return shares
