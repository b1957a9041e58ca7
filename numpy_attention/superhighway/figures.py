"""Figures of the studies; matplotlib is imported when one is drawn."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

from .._typing import Array
from ..views.plots import plot_curves, plot_maps
from .study import PathStudy

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NORM = r"$\Vert dL/dh_t \Vert$"


def study_figures(found: dict[str, Any]) -> dict[str, Figure]:
    """Figures of the studies of paths, lengths, radii and profiles, by the name of their file.

    Parameters
    ----------
    found : dict
        Results of the jobs in :mod:`.study`, ``found[kind][name]``, and ``radius_length``.

    Returns
    -------
    figures : dict of matplotlib.figure.Figure
    """
    figures: dict[str, Any] = {}
    for when, study in found["paths"].items():
        figures |= {f"{name}-{when.split()[-1]}": figure for name, figure in draw_paths(study, when).items()}
    if "lengths" in found:
        figures |= draw_lengths(found["lengths"])
        figures["radii"] = draw_radii(found["radii"], found["radius_length"])
    if "profiles" in found:
        panels = {
            when: {name: profile["norms"] for name, profile in models.items() if name != "first_ratio"}
            for when, models in found["profiles"].items()
        }
        figures["training"] = plot_curves(panels, "distance to the end of the source", NORM)
    return figures


def draw_paths(study: PathStudy, when: str) -> dict[str, Figure]:
    """Figures of one study: by position, by number of steps, and the map."""
    length = study.paths["total"].shape[1]
    parts = {
        name: study.paths[name]
        for name in ("context", "key", "bridge", "recurrent", "total")
        if study.paths[name].any()
    }
    origins = {name: values for name, values in study.origins.items() if values.any()}
    panels = {
        f"{when}: by what reads $h_t$ next": parts,
        "by where it entered the encoder": origins | {"total": parts["total"]},
    }
    reach = {name: values for name, values in study.reach_first.items() if values.any()}
    steps = {"to $h_1$, by encoder steps": reach}
    maps = {rf"$\Vert dL_u/dh_t \Vert$, {when}": study.map, "as shares of the row's largest": by_row(study.map)}
    if len(study.attention):
        steps["context path, by decoder steps"] = {"context": study.decoder_steps}
        maps["attention weights"] = study.attention
    source, output = ([str(place) for place in range(1, size + 1)] for size in study.map.shape[::-1])
    return {
        "paths": plot_curves(panels, "source position t", "norm", x=np.arange(1, length + 1)),
        "steps": plot_curves(steps, "steps taken", "norm"),
        "map": plot_maps(maps, source, output),
    }


def draw_lengths(rows: dict[int, dict[str, Any]]) -> dict[str, Figure]:
    """Figures over the length: some profiles, their two ends, and the norm of what enters at one position."""
    chosen = list(rows)[1::2] or list(rows)
    lengths = np.array(list(rows))
    profiles = {
        f"length {length}": {name: rows[length][name]["norms"] for name in ("attention", "vanilla")}
        for length in chosen
    }

    def over_lengths(values: Iterable[Array]) -> Array:
        return np.stack(list(values), axis=1)

    context, bridge = (over_lengths(row[name] for row in rows.values()) for name in ("context", "bridge"))
    entering = {"context": context, "bridge": bridge, "1 / T": context[1, 0] * lengths[0] / lengths}
    ends = {
        name: over_lengths(row[name]["first_to_last"] for row in rows.values()) for name in ("attention", "vanilla")
    }
    label = "source length T"
    return {
        "profiles": plot_curves(profiles, "distance to the end of the source", NORM),
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
        f"{title}, length {length}": {f"radius {radius:g}": row[name]["norms"] for radius, row in rows.items()}
        for title, name in (("without attention", "vanilla"), ("with attention", "attention"))
    }
    return plot_curves(panels, "distance to the end of the source", NORM)


def gates_figures(found: dict[str, Any]) -> dict[str, Figure]:
    """The figure of ``found["gates"][when][name]``, studies by :func:`.gates.study_gates`."""
    panels: dict[str, dict[str, Any]] = {}
    partners = {}
    for when, cells in found["gates"].items():
        for title, model in (("without attention", "vanilla"), ("with attention", "attention")):
            curves = panels.setdefault(f"{when},\n{title}", {})
            for name, row in cells.items():
                curves[name] = row[model]["norms"][1]
            for name in [name for name in cells if np.any(cells[name][model]["gates"])]:
                partners[f"{name}: by gates"] = name
                curves[f"{name}: by gates"] = cells[name][model]["gates"][1]
    label = "distance to the end of the source\n(dashed: carried by the gates alone)"
    return {"gates": plot_curves(panels, label, r"$\Vert dL/ds_t \Vert$", partners=partners)}


def by_row(values: Array) -> Array:
    """Every row divided by its largest entry; a row of zeros stays as it is."""
    largest = values.max(axis=1, keepdims=True)
    shares: Array = values / np.where(largest > 0, largest, 1)
    return shares
