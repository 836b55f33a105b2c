"""Whether what was measured of one sweep after the other grows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from scipy import stats

from essnet.atomic_files import write_atomically

FIGURES = {
    "driver_mib": "driver's memory (MiB)",
    "worker_mib": "largest trial process's memory (MiB)",
    "driver_descriptors": "driver's open files",
    "worker_descriptors": "trial process's open files",
    "threads": "threads of all processes",
    "processes": "processes at once",
    "shared_memory_mib": "/dev/shm in use afterwards (MiB)",
    "store_mib": "growth of the store (MiB)",
    "artifacts_mib": "growth of the artifacts (MiB)",
    "folder_mib": "size of the sweep's folder (MiB)",
    "ray_logs_mib": "growth of Ray's logs (MiB)",
    "seconds": "duration (s)",
}
"""What is judged, and what it is called in the picture."""

MOST_GROWTH = 0.05
_LEAST_SWEEPS = 4


def growth_of(records: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return of each figure its `median`, its `growth` over all records as a part of that, and whether it is `flat`.

    The first sweep, which finds the store empty and nothing in the system's memory, is left out. `flat` is None for
    fewer than four others.
    """
    later = records[1:]
    return {name: _judged([float(record[name]) for record in later]) for name in FIGURES}


def _judged(values: Sequence[float]) -> dict[str, Any]:
    if not values:
        return {"median": None, "growth": None, "flat": None}
    median = float(np.median(values))
    if len(values) < _LEAST_SWEEPS:
        return {"median": median, "growth": None, "flat": None}
    if min(values) == max(values):
        return {"median": median, "growth": 0.0, "flat": True}
    fit = stats.linregress(range(len(values)), values)
    half_width = fit.stderr * stats.t.ppf(0.975, len(values) - 2)
    growth = fit.slope * (len(values) - 1) / median if median else float("inf")
    return {"median": median, "growth": growth, "flat": bool(growth <= MOST_GROWTH or fit.slope - half_width <= 0)}


def save_plot(records: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Draw each figure over the sweeps that are judged, the first one included."""
    with matplotlib.rc_context({"font.size": 8, "axes.spines.top": False, "axes.spines.right": False}):
        figure = Figure(figsize=(9.5, 7.0), layout="constrained")
        for axes, (name, title) in zip(figure.subplots(4, 3, sharex=True).flat, FIGURES.items(), strict=True):
            values = [record[name] for record in records]
            axes.plot([record["sweep"] for record in records], values, "o", markersize=3, color="#0072B2")
            axes.set_title(title, fontsize=8)
            axes.set_ylim(0, 1.1 * max(values, default=1) or 1)
            axes.grid(alpha=0.3)
        figure.supxlabel("sweep", fontsize=8)
        path.parent.mkdir(parents=True, exist_ok=True)
        form = path.suffix[1:].lower()
        write_atomically(path, lambda temporary: figure.savefig(temporary, dpi=150, format=form))
