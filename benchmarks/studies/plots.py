"""The pictures of docs/studies/, from the stored results: docs/images/studies/NAME.png."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullLocator, ScalarFormatter

from benchmarks.studies.results import configurations, embedding_dim, read
from essnet.atomic_files import write_atomically
from essnet.report import Configuration
from essnet.report.palette import BASELINE_COLOUR, COLOURS

IMAGES = Path(__file__).resolve().parents[2] / "docs" / "images" / "studies"


def draw_dimensions(axes: Axes) -> None:
    """mIoU less that of the full softmax over d, for each similarity."""
    found = configurations(read("dimensions-64"))
    for arm, colour, marker in (("dot", COLOURS[0], "o"), ("l2", COLOURS[1], "s"), ("cosine", COLOURS[2], "D")):
        of_arm = [one for one in found if one.arm == arm and one.difference is not None]
        ordered = sorted(of_arm, key=lambda one: embedding_dim(one) or 0)
        differences = [one.difference for one in ordered if one.difference is not None]
        axes.errorbar(
            [embedding_dim(one) or 0 for one in ordered],
            [difference.mean for difference in differences],
            yerr=[difference.half_width or 0.0 for difference in differences],
            color=colour, marker=marker, markersize=5, capsize=2, linewidth=1.5, label=arm,
        )  # fmt: skip
    axes.axhline(0, color=BASELINE_COLOUR, linewidth=1)
    _log_axis(axes, (4, 8, 12, 16, 32, 64))
    axes.set(xlabel="embedding dimension d", ylabel="mIoU less the full softmax's")
    axes.legend(frameon=False, loc="lower right")


def draw_neighbours(axes: Axes) -> None:
    """mIoU over k at the last step, of the nearest alone and with random ones; all classes as lines."""
    found = configurations(read("neighbours"))
    for arm, colour, marker, name in (
        ("nearest", COLOURS[0], "o", "k nearest"),
        ("nearest_and_random", COLOURS[1], "s", "k nearest and 16 random"),
    ):
        known = sorted((one for one in found if one.arm == arm and _neighbours(one) > 0), key=_neighbours)
        values = [one.value for one in known if one.value is not None]
        axes.errorbar(
            [_neighbours(one) for one in known],
            [value.mean for value in values],
            yerr=[value.half_width or 0.0 for value in values],
            color=colour, marker=marker, markersize=5, capsize=2, linewidth=1.5, label=name,
        )  # fmt: skip
    for arm, colour, name in (("all_classes", COLOURS[2], "all classes"), ("full_softmax", "black", "full softmax")):
        (value,) = (one.value for one in found if one.arm == arm and one.value is not None)
        half_width = value.half_width or 0.0
        axes.axhline(value.mean, color=colour, linewidth=1, label=name)
        axes.axhspan(value.mean - half_width, value.mean + half_width, color=colour, alpha=0.1, linewidth=0)
    _log_axis(axes, (1, 3, 7, 15, 31))
    axes.set(xlabel="neighbours k", ylabel="mIoU after 300 steps")
    axes.legend(frameon=False, ncols=2, loc="lower right")


PLOTS: Mapping[str, Callable[[Axes], None]] = {
    "dimensions": draw_dimensions,
    "neighbours": draw_neighbours,
}
"""Name of a picture -> what draws it."""


def save_all() -> None:
    """Draw all pictures."""
    IMAGES.mkdir(parents=True, exist_ok=True)
    for name, draw in PLOTS.items():
        with matplotlib.rc_context({"font.size": 9, "axes.spines.top": False, "axes.spines.right": False}):
            figure = Figure(figsize=(6.4, 3.8), layout="constrained")
            draw(figure.subplots())
            write_atomically(
                IMAGES / f"{name}.png", lambda path, figure=figure: figure.savefig(path, dpi=150, format="png")
            )


def _neighbours(one: Configuration) -> int:
    return int(one.overrides["objective.num_neighbours"])


def _log_axis(axes: Axes, ticks: Sequence[int]) -> None:
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(FixedLocator(list(ticks)))
    axes.xaxis.set_major_formatter(ScalarFormatter())
    axes.xaxis.set_minor_locator(NullLocator())


if __name__ == "__main__":
    save_all()
