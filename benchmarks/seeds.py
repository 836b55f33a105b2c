"""A sweep whose arms search `seed`, as a table: mean and interval over seeds, and the difference to the baseline.

    python launch.py report runs/textures-factors --format json > factors.json
    python benchmarks/seeds.py factors.json

Rows are the configurations, seeds put aside. A difference is paired: a trial's figure minus the baseline's of the same
seed. Intervals are Student's, 95 %, over the seeds; of one seed there is none.
"""

from __future__ import annotations

import argparse
import json
import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from scipy.stats import t as student

_CONFIDENCE = 0.95


@dataclass(frozen=True)
class Estimate:
    """A mean over seeds, and half the width of its interval: NaN where there is one seed only."""

    mean: float
    half_width: float

    def text(self, *, sign: str = "") -> str:
        """Return it as it stands in a table."""
        return f"{self.mean:{sign}.3f}" + ("" if math.isnan(self.half_width) else f" ± {self.half_width:.3f}")


@dataclass(frozen=True)
class Row:
    """A configuration."""

    name: str
    seeds: int
    steps: int
    value: Estimate
    difference: Estimate | None
    """To the baseline, over the seeds that both have; None for the baseline, or where they share none."""
    step_ms: float
    """Mean over the trials; comparable where they ran side by side."""
    loss_memory_mib: float


def estimate(values: Sequence[float]) -> Estimate:
    """Mean and interval of independent values."""
    if len(values) == 1:
        return Estimate(values[0], math.nan)
    quantile = float(student.ppf((1 + _CONFIDENCE) / 2, len(values) - 1))
    return Estimate(fmean(values), quantile * stdev(values) / math.sqrt(len(values)))


def rows(report: Mapping[str, Any], *, metric: str) -> list[Row]:
    """Group a report's trials that ran to their end by what they are besides their seed, in the report's order."""
    completed = [trial for trial in report["trials"] if trial["state"] == "COMPLETED"]
    baseline_arm = next(trial["arm"] for trial in report["trials"] if trial["trial_id"] == report["baseline"])
    of_baseline = {trial["seed"]: trial["metrics"][metric] for trial in completed if trial["arm"] == baseline_arm}
    groups: dict[tuple[str, str], list[dict[str, Any]]] = defaultdict(list)
    for trial in completed:
        groups[trial["arm"], json.dumps(_without_seed(trial))].append(trial)
    varied = {arm: _varied([trials[0] for (other, _), trials in groups.items() if other == arm]) for arm, _ in groups}
    return [
        Row(
            name=" ".join([arm, *(f"{key.split('.')[-1]}={trials[0]['overrides'][key]}" for key in varied[arm])]),
            seeds=len(trials),
            steps=trials[0]["steps"],
            value=estimate([trial["metrics"][metric] for trial in trials]),
            difference=None if arm == baseline_arm else _difference(trials, of_baseline, metric),
            step_ms=fmean(trial["metrics"]["perf/step_ms"] for trial in trials),
            loss_memory_mib=fmean(trial["metrics"]["perf/loss_memory_mib"] for trial in trials),
        )
        for (arm, _), trials in groups.items()
    ]


def _without_seed(trial: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in trial["overrides"].items() if key != "seed"}


def _varied(trials: Sequence[Mapping[str, Any]]) -> list[str]:
    """Keys whose value tells the configurations of an arm apart."""
    return [
        key for key in _without_seed(trials[0]) if len({json.dumps(trial["overrides"][key]) for trial in trials}) > 1
    ]


def _difference(trials: Sequence[Mapping[str, Any]], of_baseline: Mapping[int, float], metric: str) -> Estimate | None:
    paired = [trial["metrics"][metric] - of_baseline[trial["seed"]] for trial in trials if trial["seed"] in of_baseline]
    return estimate(paired) if paired else None


def table(found: Sequence[Row], *, metric: str) -> str:
    """Return the rows as a Markdown table, best first below the baseline."""
    ordered = sorted(found, key=lambda row: (row.difference is not None, -row.value.mean))
    lines = [
        f"| configuration | seeds | steps | {metric} | to the baseline | ms a step | MiB |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in ordered:
        difference = "-" if row.difference is None else row.difference.text(sign="+")
        lines.append(
            f"| {row.name} | {row.seeds} | {row.steps:,} | {row.value.text()} | {difference} | {row.step_ms:,.0f} | "
            f"{row.loss_memory_mib:,.0f} |"
        )
    return "\n".join(lines)


def main() -> None:
    """Print the tables of the reports named on the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("reports", nargs="+", type=Path, help="what `launch.py report SWEEP --format json` printed")
    parser.add_argument("--metric", default="val/miou")
    arguments = parser.parse_args()
    for path in arguments.reports:
        report = json.loads(path.read_text())
        print(f"{report['sweep']}\n\n{table(rows(report, metric=arguments.metric), metric=arguments.metric)}\n")


if __name__ == "__main__":
    main()
