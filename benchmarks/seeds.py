"""A saved report as a table over seeds: mean and interval, and the difference to the baseline of equal seeds.

    python launch.py report runs/textures-factors --format json > factors.json
    python benchmarks/seeds.py factors.json

Rows are configurations as `launch.py report` has them, named by what tells them apart, in Markdown. Intervals are
Student's, 95 %, over the seeds; of one seed there is none.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from essnet.report import ComparedTrial, Configuration, best_of, gather, rank


def table(report: Mapping[str, Any], *, metric: str) -> str:
    """Return a report's configurations that have a result, best first below the baseline."""
    mode = report.get("mode", "max")
    trials = [ComparedTrial.from_json(trial) for trial in report["trials"]]
    baseline_arm = next((trial.arm for trial in trials if trial.trial_id == report["baseline"]), "")
    found = [one for one in gather(trials, metric=metric, mode=mode, baseline_arm=baseline_arm) if one.value]
    baseline = best_of((one for one in found if one.arm == baseline_arm), mode=mode)
    lines = [
        f"| configuration | seeds | steps | {metric} | to the baseline | ms a step | MiB |",
        "|---|---|---|---|---|---|---|",
    ]
    for one in sorted(found, key=lambda one: (one is not baseline, rank(one, mode=mode))):
        assert one.value is not None
        difference = "-" if one is baseline or one.difference is None else one.difference.text(sign="+")
        lines.append(
            f"| {_name(one, found)} | {len(one.seeds)} | {one.steps:,} | {one.value.text()} | {difference} | "
            f"{one.metrics['perf/step_ms']:,.0f} | {one.metrics['perf/loss_memory_mib']:,.0f} |"
        )
    return "\n".join(lines)


def _name(one: Configuration, found: Sequence[Configuration]) -> str:
    """Return the arm, and those overrides whose value tells its configurations apart."""
    of_arm = [other.overrides for other in found if other.arm == one.arm]
    varied = [path for path, value in one.overrides.items() if any(other.get(path) != value for other in of_arm)]
    return " ".join([one.arm, *(f"{path.split('.')[-1]}={one.overrides[path]}" for path in varied)])


def main() -> None:
    """Print the tables of the reports named on the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("reports", nargs="+", type=Path, help="what `launch.py report SWEEP --format json` printed")
    parser.add_argument("--metric", default="val/miou")
    arguments = parser.parse_args()
    for path in arguments.reports:
        report = json.loads(path.read_text(encoding="utf-8"))
        print(f"{report['sweep']}\n\n{table(report, metric=arguments.metric)}\n")


if __name__ == "__main__":
    main()
