"""What the benchmark says: one record for each implementation and number of classes, and the same as a table."""

from __future__ import annotations

import importlib.metadata
import platform
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch

from benchmarks.measurement import percentiles
from benchmarks.problem import Problem
from essnet import __version__

Record = dict[str, Any]
"""As it stands in the JSON file: see `record`."""

# Either package brings the module faiss.
_PACKAGES = {"torch": ["torch"], "numpy": ["numpy"], "faiss": ["faiss-gpu", "faiss-cpu"], "numba": ["numba"]}

_UNKNOWN = "-"


def environment(device: torch.device, *, threads: int) -> dict[str, Any]:
    """Return the processor, the device, torch's threads and the versions that a figure depends on."""
    versions = {name: _version(packages) for name, packages in _PACKAGES.items()}
    return {
        "processor": _processor(),
        "device": device.type,
        "accelerator": torch.cuda.get_device_name(device) if device.type == "cuda" else None,
        "threads": threads,
        "versions": {"python": platform.python_version(), "essnet": __version__, **versions},
    }


def records(
    problem: Problem,
    *,
    seconds: Mapping[str, Sequence[float]],
    extra_memory_mib: Mapping[str, float | None],
    environment: Mapping[str, Any],
) -> list[Record]:
    """Return the records of one number of classes.

    `ratio_to_full` says how many times as fast as the full softmax (higher is better), `ratio_to_floor` how many
    times the floor's time (lower is better), both of medians; None where that one was not run. The similarity,
    embedding_dim, num_neighbours and num_random are the run's: not all mean something to every implementation.
    """
    spread = {name: percentiles(rounds) for name, rounds in seconds.items()}
    full, floor = (spread[name]["p50"] if name in spread else None for name in ("full_softmax", "floor"))
    return [
        {
            "implementation": name,
            "num_classes": problem.num_classes,
            "embedding_dim": problem.embedding_dim,
            "num_neighbours": problem.num_neighbours,
            "num_random": problem.num_random,
            "similarity": problem.similarity,
            "pixels": problem.pixels,
            "rounds": len(seconds[name]),
            "seconds": own,
            "ratio_to_full": None if full is None else full / own["p50"],
            "ratio_to_floor": None if floor is None else own["p50"] / floor,
            "extra_memory_mib": extra_memory_mib[name],
            "environment": dict(environment),
        }
        for name, own in spread.items()
    ]


def table(problem: Problem, rows: Sequence[Record], *, left_out: Mapping[str, str]) -> str:
    """Return the records of one number of classes for people, with a line for each that was left out."""
    lines = [
        f"C = {problem.num_classes:,}: {problem.pixels:,} pixels, d = {problem.embedding_dim}, "
        f"k = {problem.num_neighbours}, {problem.num_random} random, {problem.similarity}",
        f"  {'':<21}{'ms (20 % - 80 %)':>27}{'x as fast as full':>20}{'x the floor':>13}{'extra MiB':>11}",
    ]
    for row in rows:
        low, middle, high = (_milliseconds(row["seconds"][percent]) for percent in ("p20", "p50", "p80"))
        lines.append(
            f"  {row['implementation']:<21}{f'{middle} ({low} - {high})':>27}"
            f"{_number(row['ratio_to_full'], '.2f'):>20}{_number(row['ratio_to_floor'], '.1f'):>13}"
            f"{_number(row['extra_memory_mib'], ',.0f'):>11}"
        )
    lines += [f"  {name:<21}left out: {reason}" for name, reason in left_out.items()]
    return "\n".join(lines) + "\n"


def _milliseconds(seconds: float) -> str:
    milliseconds = 1000 * seconds
    return f"{milliseconds:.1f}" if milliseconds < 99.95 else f"{milliseconds:,.0f}"


def _number(value: float | None, form: str) -> str:
    return _UNKNOWN if value is None else format(value, form)


def _version(packages: Sequence[str]) -> str | None:
    for package in packages:
        with suppress(importlib.metadata.PackageNotFoundError):
            return importlib.metadata.version(package)
    return None


def _processor() -> str:
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
