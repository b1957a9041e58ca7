"""The pictures of the results."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks.results import short

COLOURS = {
    "ours": ("#d1495b", "#a3253a", "#f0a0aa"),
    "floor": ("#555555", "#999999", "#cccccc"),
    "other": ("#e0a030", "#3d6fa8", "#4c9a6a", "#8a6bb0"),
}


def pyplot() -> Any:
    """Matplotlib, told to draw into files."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    return plt


def colours_of(names: list[str]) -> dict[str, str]:
    """Shades of one colour for ours, of grey for floors, and a colour for each of the others."""
    used = dict.fromkeys(COLOURS, 0)
    colours = {}
    for name in names:
        family = next((family for family in ("ours", "floor") if name.startswith(family)), "other")
        shades = COLOURS[family]
        colours[name] = shades[used[family] % len(shades)]
        used[family] += 1
    return colours


def grouped_bars(
    groups: dict[str, dict[str, tuple[float, float, float]]], path: Path, title: str, direction: str
) -> None:
    """Horizontal bars on a logarithmic axis about 1: (median, smallest, largest) by group and name."""
    plt = pyplot()
    names = list(dict.fromkeys(name for bars in groups.values() for name in bars))
    colours = colours_of(names)
    places, ticks, place = [], [], 0.0
    for group, bars in groups.items():
        start = place
        for name, (median, low, high) in bars.items():
            places.append((place, name, median, low, high))
            place += 1
        ticks.append(((start + place - 1) / 2, group))
        place += 1.2
    figure, axes = plt.subplots(figsize=(9, 0.26 * place + 1.6), layout="constrained")
    for where, name, median, low, high in places:
        axes.barh(where, median, height=0.86, color=colours[name])
        axes.plot([low, high], [where, where], color="black", linewidth=1)
        axes.text(high * 1.05, where, short(median), va="center", fontsize=8)
    axes.axvline(1, color="black", linewidth=0.8)
    axes.set_xscale("log")
    low, high = min(each[3] for each in places), max(each[4] for each in places)
    axes.set_xlim(low / 1.6, high * 1.7)
    axes.set_yticks([tick for tick, _ in ticks], [group for _, group in ticks], fontsize=11)
    axes.tick_params(axis="y", length=0)
    axes.invert_yaxis()
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.set_xlabel(f"relative time, logarithmic; {direction}; thin lines: smallest to largest of the rounds")
    axes.set_title(title)
    axes.spines[["top", "right"]].set_visible(False)
    handles = [plt.Rectangle((0, 0), 1, 1, color=colours[name]) for name in names]
    figure.legend(handles, names, loc="outside lower center", ncols=3, fontsize=9, frameon=False)
    figure.savefig(path, dpi=150)
    plt.close(figure)


def curves(
    panels: dict[str, dict[str, list[tuple[float, float]]]], path: Path, labels: dict[str, tuple[str, str]], title: str
) -> None:
    """Lines on logarithmic axes, a panel beside the other: points by panel and name, labels of the axes by panel."""
    plt = pyplot()
    figure, all_axes = plt.subplots(1, len(panels), figsize=(4.6 * len(panels), 4), layout="constrained", squeeze=False)
    shades = ("#d1495b", "#3d6fa8", "#4c9a6a")
    for axes, (panel, lines) in zip(all_axes[0], panels.items(), strict=True):
        for colour, (name, points) in zip(shades, lines.items(), strict=False):
            x, y = zip(*points, strict=True)
            axes.loglog(x, y, marker="o", markersize=4, color=colour, label=name)
        ticks = sorted({x for points in lines.values() for x, _ in points})
        axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks], fontsize=8, rotation=45)
        axes.set_xticks([], minor=True)
        low = min(y for points in lines.values() for _, y in points)
        high = max(y for points in lines.values() for _, y in points)
        axes.set_ylim(low / 2, high * 4)
        axes.set(xlabel=labels[panel][0], ylabel=labels[panel][1], title=panel)
        axes.grid(alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(frameon=False, fontsize=9)
    figure.suptitle(title)
    figure.savefig(path, dpi=150)
    plt.close(figure)
