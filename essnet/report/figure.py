"""The comparison as a picture: what d and k buy, and what they cost."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from essnet.atomic_files import write_atomically
from essnet.report.comparison import Comparison
from essnet.report.configurations import Configuration
from essnet.report.palette import COLOURS
from essnet.report.pareto import MEMORY_MIB

_SHIFT = 0.06
"""Between neighbouring series, in powers of two of d."""
_MARKERS = "osD^vP*X"


def save_figure(comparison: Comparison, path: Path) -> None:
    """Draw the metric over d, and over the memory of output layer and loss, into a PNG file."""
    with matplotlib.rc_context({"font.size": 9, "axes.spines.top": False, "axes.spines.right": False}):
        figure = Figure(figsize=(9.5, 3.8), layout="constrained")
        by_dim, by_memory = figure.subplots(1, 2, sharey=True)
        _draw_over_dim(by_dim, comparison)
        _draw_over_memory(by_memory, comparison)
        handles, labels = by_dim.get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=4, frameon=False)
        write_atomically(path, lambda temporary: figure.savefig(temporary, dpi=150, format="png"))


def _series(comparison: Comparison) -> dict[str, list[Configuration]]:
    """Group the embedding configurations by arm and k."""
    series: dict[str, list[Configuration]] = defaultdict(list)
    for one in comparison.configurations:
        if one.value is not None and one.first.embedding_dim is not None:
            neighbours = "" if one.first.num_neighbours is None else f", k = {one.first.num_neighbours}"
            series[one.arm + neighbours].append(one)
    return dict(sorted(series.items()))


def _draw_over_dim(axes: Axes, comparison: Comparison) -> None:
    series = _series(comparison)
    for place, (label, configurations) in enumerate(series.items()):
        configurations.sort(key=lambda one: one.first.embedding_dim or 0)
        dims = [one.first.embedding_dim or 0 for one in configurations]
        style = _style(place)
        if len(set(dims)) < len(dims):  # something else was searched as well: a line would zigzag
            style["linestyle"] = "none"
        # Bars of one d stand side by side.
        shift = 2 ** (_SHIFT * (place - (len(series) - 1) / 2)) if comparison.several_seeds else 1
        _draw_points(axes, [shift * dim for dim in dims], configurations, label=label, **style)
    dims = sorted({one.first.embedding_dim or 0 for configurations in series.values() for one in configurations})
    axes.set_xscale("log", base=2)
    axes.set_xticks(dims, [str(dim) for dim in dims])
    axes.minorticks_off()
    _draw_baseline(axes, comparison)
    value = f"{comparison.metric}, mean and 95 % interval" if comparison.several_seeds else comparison.metric
    axes.set(xlabel="embedding dimension d", ylabel=value, title="What d and k buy")


def _draw_over_memory(axes: Axes, comparison: Comparison) -> None:
    for place, configurations in enumerate(_series(comparison).values()):
        known = [one for one in configurations if MEMORY_MIB in one.metrics]
        memory = [one.metrics[MEMORY_MIB] for one in known]
        _draw_points(axes, memory, known, **{**_style(place), "linestyle": "none"})
    _draw_baseline(axes, comparison)
    baseline = comparison.baseline
    if baseline is not None and MEMORY_MIB in baseline.metrics:
        _draw_points(axes, [baseline.metrics[MEMORY_MIB]], [baseline], marker="*", color="black", markersize=11)
    axes.set_xlim(left=0)
    axes.set(xlabel="memory of output layer and loss (MiB)", title="What they cost")


def _draw_points(axes: Axes, x: Sequence[float], configurations: Sequence[Configuration], **style: Any) -> None:
    """Draw means, and a bar for the interval of each that has one."""
    values = [one.value for one in configurations if one.value is not None]
    axes.plot(x, [value.mean for value in values], **style)
    for place, value in zip(x, values, strict=True):
        if value.half_width is not None:
            axes.errorbar(place, value.mean, value.half_width, color=style["color"], capsize=3, elinewidth=1)


def _draw_baseline(axes: Axes, comparison: Comparison) -> None:
    baseline = comparison.baseline
    if baseline is not None and baseline.value is not None:
        mean, half_width = baseline.value.mean, baseline.value.half_width
        axes.axhline(mean, color="black", linestyle="--", linewidth=1, label=f"{baseline.arm} (baseline)")
        if half_width is not None:
            axes.axhspan(mean - half_width, mean + half_width, color="black", alpha=0.07, linewidth=0)
    axes.grid(alpha=0.3)
    if axes.get_ylim()[0] < 0:  # of an interval over few seeds: no metric is below 0
        axes.set_ylim(bottom=0)


def _style(place: int) -> dict[str, Any]:
    return {
        "marker": _MARKERS[place % len(_MARKERS)],
        "color": COLOURS[place % len(COLOURS)],
        "linewidth": 1.5,
        "markersize": 6,
    }
