"""The benchmark as a picture: time and extra memory over the number of classes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullLocator

from benchmarks.records import Record
from essnet.atomic_files import write_atomically

# Okabe and Ito's palette: told apart by colour-blind people too. What is ours is solid, what one would otherwise
# take is dashed.
_STYLES: dict[str, dict[str, Any]] = {
    "full_softmax": {"color": "#000000", "marker": "o", "linestyle": "--"},
    "embedding_softmax": {"color": "#0072B2", "marker": "s", "linestyle": "-"},
    "knn_softmax": {"color": "#D55E00", "marker": "D", "linestyle": "-"},
    "sampled_softmax": {"color": "#009E73", "marker": "^", "linestyle": "-"},
    "knn_gathered": {"color": "#E69F00", "marker": "v", "linestyle": "--"},
    "linear_cross_entropy": {"color": "#56B4E9", "marker": ">", "linestyle": "--"},
    "cut_cross_entropy": {"color": "#CC79A7", "marker": "X", "linestyle": "--"},
    "liger": {"color": "#882255", "marker": "*", "linestyle": "--"},
    "floor": {"color": "#808080", "marker": ".", "linestyle": ":"},
}


def save_plot(records: Sequence[Record], path: Path) -> None:
    """Draw the records into a file in the format that its name ends in; both axes are logarithmic."""
    with matplotlib.rc_context({"font.size": 9, "axes.spines.top": False, "axes.spines.right": False}):
        figure = Figure(figsize=(9.5, 4.4), layout="constrained")
        by_time, by_memory = figure.subplots(1, 2)
        _draw(by_time, records, lambda record: 1000 * record["seconds"]["p50"])
        by_time.set(ylabel="forward and backward (ms)", title="Time of output layer and loss")
        _draw(by_memory, records, lambda record: record["extra_memory_mib"])
        by_memory.set(ylabel="extra memory (MiB)", title="Memory of output layer and loss")
        handles, labels = by_time.get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=4, frameon=False, handlelength=3.5)
        path.parent.mkdir(parents=True, exist_ok=True)
        form = path.suffix[1:].lower()
        write_atomically(path, lambda temporary: figure.savefig(temporary, dpi=150, format=form))


def _draw(axes: Axes, records: Sequence[Record], value: Any) -> None:
    for name, style in _STYLES.items():
        own = sorted((r for r in records if r["implementation"] == name), key=lambda r: int(r["num_classes"]))
        points = [(r["num_classes"], value(r)) for r in own]
        known = [(classes, measured) for classes, measured in points if measured is not None and measured > 0]
        if own:
            axes.plot(
                [classes for classes, _ in known],
                [measured for _, measured in known],
                label=name,
                linewidth=1.5,
                markersize=7,
                markeredgecolor="white",
                markeredgewidth=0.8,
                **style,
            )
    axes.set(xscale="log", yscale="log", xlabel="classes")
    numbers = sorted({record["num_classes"] for record in records})
    axes.set_xticks(numbers, [f"{number:,}" for number in numbers])
    axes.xaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(FuncFormatter(lambda tick, _: f"{tick:,g}"))
    axes.grid(alpha=0.3)
