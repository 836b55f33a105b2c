"""The comparison as CSV: a line a trial, or a line a configuration where there are several seeds."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from typing import Any

from essnet.report.columns import Row, rows
from essnet.report.comparison import Comparison

_TO_BASELINE = ("difference", "difference_step")


def comparison_csv(comparisons: Sequence[Comparison]) -> str:
    """Return a header and lines of what identifies each, its overrides, its metrics, its difference to the baseline.

    A configuration has the means of its metrics, and half the widths of the 95 % intervals of the one that is compared
    and of the difference; ids, seeds and states of its trials are separated by spaces. `difference_step` is the step up
    to which it was compared where it took other steps than the baseline. Of several sweeps, `sweep` comes first.
    """
    buffer = io.StringIO()
    several_seeds = any(comparison.several_seeds for comparison in comparisons)
    lines = _configurations(comparisons) if several_seeds else _trials(comparisons)
    if len(comparisons) > 1:
        names = ["sweep", *(row.comparison.sweep for row in rows(comparisons) for _ in _shown(row, several_seeds))]
        lines = [[name, *line] for name, line in zip(names, lines, strict=True)]
    csv.writer(buffer, lineterminator="\n").writerows(lines)
    return buffer.getvalue()


def _shown(row: Row, several_seeds: bool) -> Sequence[object]:
    """Return what has a line of its own."""
    return [row.one] if several_seeds else row.one.trials


def _trials(comparisons: Sequence[Comparison]) -> list[list[Any]]:
    trials = [trial for comparison in comparisons for trial in comparison.trials]
    overrides = sorted({path for trial in trials for path in trial.overrides})
    metrics = sorted({name for trial in trials for name in trial.metrics})
    lines: list[list[Any]] = [
        ["trial_id", "arm", "seed", "state", "steps", "run_id", *overrides, *metrics, *_TO_BASELINE]
    ]
    for row in rows(comparisons):
        values = row.one.to_json()
        for trial in row.one.trials:
            lines.append([trial.trial_id, trial.arm, trial.seed, trial.state, trial.steps, trial.run_id])
            lines[-1] += [trial.overrides.get(path) for path in overrides]
            lines[-1] += [trial.metrics.get(name) for name in metrics]
            lines[-1] += [values[key] for key in _TO_BASELINE]
    return lines


def _configurations(comparisons: Sequence[Comparison]) -> list[list[Any]]:
    found = [row.one for row in rows(comparisons)]
    overrides = sorted({path for one in found for path in one.overrides})
    metrics = sorted({name for one in found for trial in one.trials for name in trial.metrics})
    widths = ["half_width", *_TO_BASELINE, "difference_half_width"]
    lines: list[list[Any]] = [["trial_ids", "arm", "seeds", "states", "steps", *overrides, *metrics, *widths]]
    for one in found:
        values = one.to_json()
        states = [trial.state for trial in one.trials]
        lines.append([" ".join(values["trials"]), one.arm, " ".join(map(str, one.seeds)), " ".join(states), one.steps])
        lines[-1] += [one.overrides.get(path) for path in overrides]
        lines[-1] += [one.metrics.get(name) for name in metrics]
        lines[-1] += [values[key] for key in widths]
    return lines
