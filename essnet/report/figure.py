"""The comparison as a picture: what d and k buy, and what they cost."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from essnet.atomic_files import write_atomically
from essnet.report.comparison import ComparedTrial, Comparison

_MARKERS = "osD^vP*X"
# Okabe and Ito's palette: told apart by colour-blind people too.
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")


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


def _series(comparison: Comparison) -> dict[str, list[ComparedTrial]]:
    """Group the embedding trials by arm and k."""
    series: dict[str, list[ComparedTrial]] = defaultdict(list)
    for trial in comparison.trials:
        if comparison.metric in trial.metrics and trial.embedding_dim is not None:
            neighbours = "" if trial.num_neighbours is None else f", k = {trial.num_neighbours}"
            series[trial.arm + neighbours].append(trial)
    return dict(sorted(series.items()))


def _draw_over_dim(axes: Axes, comparison: Comparison) -> None:
    for place, (label, trials) in enumerate(_series(comparison).items()):
        trials.sort(key=lambda trial: trial.embedding_dim or 0)
        dims = [trial.embedding_dim or 0 for trial in trials]
        style = _style(place)
        if len(set(dims)) < len(dims):  # something else was searched as well: a line would zigzag
            style["linestyle"] = "none"
        axes.plot(dims, [trial.metrics[comparison.metric] for trial in trials], label=label, **style)
    dims = sorted({trial.embedding_dim or 0 for trials in _series(comparison).values() for trial in trials})
    axes.set_xscale("log", base=2)
    axes.set_xticks(dims, [str(dim) for dim in dims])
    axes.minorticks_off()
    _draw_baseline(axes, comparison)
    axes.set(xlabel="embedding dimension d", ylabel=comparison.metric, title="What d and k buy")


def _draw_over_memory(axes: Axes, comparison: Comparison) -> None:
    figure_name = "perf/loss_memory_mib"
    for place, trials in enumerate(_series(comparison).values()):
        known = [trial for trial in trials if figure_name in trial.metrics]
        memory = [trial.metrics[figure_name] for trial in known]
        values = [trial.metrics[comparison.metric] for trial in known]
        axes.plot(memory, values, **{**_style(place), "linestyle": "none"})
    _draw_baseline(axes, comparison)
    baseline = comparison.baseline
    if baseline is not None and figure_name in baseline.metrics:
        axes.plot(baseline.metrics[figure_name], baseline.metrics[comparison.metric], "k*", markersize=11)
    axes.set_xlim(left=0)
    axes.set(xlabel="memory of output layer and loss (MiB)", title="What they cost")


def _draw_baseline(axes: Axes, comparison: Comparison) -> None:
    if comparison.baseline is not None:
        value = comparison.baseline.metrics[comparison.metric]
        axes.axhline(value, color="black", linestyle="--", linewidth=1, label=f"{comparison.baseline.arm} (baseline)")
    axes.grid(alpha=0.3)


def _style(place: int) -> dict[str, Any]:
    return {
        "marker": _MARKERS[place % len(_MARKERS)],
        "color": _COLOURS[place % len(_COLOURS)],
        "linewidth": 1.5,
        "markersize": 6,
    }
