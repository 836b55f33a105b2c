"""The comparison as CSV: a line a trial, or a line a configuration where there are several seeds."""

from __future__ import annotations

import csv
import io
from typing import Any

from essnet.report.comparison import Comparison


def comparison_csv(comparison: Comparison) -> str:
    """Return a header and lines of what identifies each, its overrides, its metrics, its difference to the baseline.

    A configuration has the means of its metrics, and half the widths of the 95 % intervals of the one that is compared
    and of the difference; ids, seeds and states of its trials are separated by spaces.
    """
    buffer = io.StringIO()
    lines = _configurations(comparison) if comparison.several_seeds else _trials(comparison)
    csv.writer(buffer, lineterminator="\n").writerows(lines)
    return buffer.getvalue()


def _trials(comparison: Comparison) -> list[list[Any]]:
    overrides = sorted({path for trial in comparison.trials for path in trial.overrides})
    metrics = _metrics(comparison)
    lines: list[list[Any]] = [
        ["trial_id", "arm", "seed", "state", "steps", "run_id", *overrides, *metrics, "difference"]
    ]
    for one in comparison.ranked():
        for trial in one.trials:
            lines.append([trial.trial_id, trial.arm, trial.seed, trial.state, trial.steps, trial.run_id])
            lines[-1] += [trial.overrides.get(path) for path in overrides]
            lines[-1] += [trial.metrics.get(name) for name in metrics]
            lines[-1].append(one.difference.mean if one.difference else None)
    return lines


def _configurations(comparison: Comparison) -> list[list[Any]]:
    overrides = sorted({path for one in comparison.configurations for path in one.overrides})
    metrics = _metrics(comparison)
    widths = ["half_width", "difference", "difference_half_width"]
    lines: list[list[Any]] = [["trial_ids", "arm", "seeds", "states", "steps", *overrides, *metrics, *widths]]
    for one in comparison.ranked():
        values = one.to_json()
        states = [trial.state for trial in one.trials]
        lines.append([" ".join(values["trials"]), one.arm, " ".join(map(str, one.seeds)), " ".join(states), one.steps])
        lines[-1] += [one.overrides.get(path) for path in overrides]
        lines[-1] += [one.metrics.get(name) for name in metrics]
        lines[-1] += [values[key] for key in widths]
    return lines


def _metrics(comparison: Comparison) -> list[str]:
    return sorted({name for trial in comparison.trials for name in trial.metrics})
