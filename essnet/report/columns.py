"""The columns of a comparison's table, the same on a terminal, in Markdown, in LaTeX and on the page."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from essnet.report.comparison import Comparison
from essnet.report.configurations import Configuration
from essnet.report.estimates import Estimate
from essnet.report.pareto import MEMORY_MIB, STEP_MS
from essnet.sweep.folder import COMPLETED

UNEQUAL_STEPS_MARK = "*"
"""Behind a difference: both were looked at up to the step where the shorter of them ended."""


@dataclass(frozen=True)
class Row:
    """A configuration, with the sweep that it belongs to."""

    comparison: Comparison
    one: Configuration

    @property
    def role(self) -> str | None:
        """Return what makes it stand out: `baseline`, `best`, or nothing."""
        if self.one is self.comparison.baseline:
            return "baseline"
        return "best" if self.one is self.comparison.best else None


@dataclass(frozen=True)
class Column:
    """What stands in a column."""

    title: str
    text: Callable[[Row], str]
    is_number: bool = True


def rows(comparisons: Sequence[Comparison]) -> list[Row]:
    """Return all configurations, best first; what went to its end comes before what did not.

    Those of one sweep stand by their mean, those of several by the difference to the baseline of their own.
    """
    if len(comparisons) == 1:
        return [Row(comparisons[0], one) for one in comparisons[0].ranked()]
    found = [Row(comparison, one) for comparison in comparisons for one in comparison.configurations]

    def precedence(row: Row) -> tuple[bool, bool, bool, float]:
        difference, sign = row.one.difference, -1 if row.comparison.mode == "max" else 1
        known = difference is not None
        return row.one.value is None, not row.one.is_complete, not known, sign * difference.mean if difference else 0.0

    return sorted(found, key=precedence)


def columns(comparisons: Sequence[Comparison]) -> list[Column]:
    """Return the columns that a terminal has room for: absolute figures where each row is one run."""
    shown = [row.one for row in rows(comparisons)]
    several_seeds = any(comparison.several_seeds for comparison in comparisons)
    found = [_trial_column(comparisons), *_searched_columns(shown)]
    if several_seeds:
        found += [
            _SEEDS,
            *_metric_columns(comparisons),
            _times_column("x ms", STEP_MS),
            _times_column("x MiB", MEMORY_MIB),
        ]
    else:
        found += [*_metric_columns(comparisons), *_cost_columns("x", "x")]
    same_steps = equal_steps(comparisons) is not None
    incomplete = any(trial.state != COMPLETED for one in shown for trial in one.trials)
    if several_seeds:
        return [*found, *([] if same_steps else [_STEPS]), *([_STATES] if incomplete else [])]
    return found if same_steps and not incomplete else [*found, _STATE_AND_STEP]


def all_columns(comparisons: Sequence[Comparison]) -> list[Column]:
    """Return every column, for where there is room."""
    return [
        _trial_column(comparisons),
        *_searched_columns([row.one for row in rows(comparisons)]),
        _SEEDS,
        *_metric_columns(comparisons),
        *_cost_columns("x ms", "x MiB"),
        _STEPS,
        _STATES,
    ]


def equal_steps(comparisons: Sequence[Comparison]) -> int | None:
    """Return the steps that all configurations took, or None where they took unequal ones."""
    steps = {one.steps for comparison in comparisons for one in comparison.configurations}
    return steps.pop() if len(steps) == 1 else None


def has_unequal_steps(comparisons: Sequence[Comparison]) -> bool:
    """Whether any difference has the mark."""
    against = [one.against_baseline for comparison in comparisons for one in comparison.configurations]
    return any(one is not None and one.step is not None for one in against)


def _trial_column(comparisons: Sequence[Comparison]) -> Column:
    if len(comparisons) == 1:
        return Column("trial", lambda row: row.one.trial_id, is_number=False)
    return Column("trial", lambda row: f"{row.comparison.sweep}/{row.one.trial_id}", is_number=False)


def _searched_columns(shown: Sequence[Configuration]) -> list[Column]:
    """Return d, k, and a column for everything else that was searched."""
    names = dict.fromkeys(name for one in shown for name in one.searched)

    def cell(row: Row, name: str) -> str:
        value = row.one.searched.get(name, "-")
        return f"{value:.4g}" if isinstance(value, float) else str(value)

    return [
        Column("d", lambda row: _number(row.one.first.embedding_dim, "d")),
        Column("k", lambda row: _number(row.one.first.num_neighbours, "d")),
        *(Column(name, partial(cell, name=name)) for name in names),
    ]


def _metric_columns(comparisons: Sequence[Comparison]) -> list[Column]:
    return [
        Column(comparisons[0].metric, lambda row: _estimate(row.one.value)),
        Column("diff", lambda row: difference_text(row.one)),
    ]


def difference_text(one: Configuration) -> str:
    """Return the difference to the baseline, marked where it is of unequal steps."""
    mark = UNEQUAL_STEPS_MARK if one.against_baseline and one.against_baseline.step is not None else ""
    return _estimate(one.difference, sign="+") + mark


def _cost_columns(times_ms: str, times_mib: str) -> list[Column]:
    return [
        Column("ms/step", lambda row: _number(row.one.metrics.get(STEP_MS), ".0f")),
        _times_column(times_ms, STEP_MS),
        Column("MiB", lambda row: _number(row.one.metrics.get(MEMORY_MIB), ".1f")),
        _times_column(times_mib, MEMORY_MIB),
    ]


def _times_column(title: str, figure: str) -> Column:
    return Column(title, lambda row: _number(row.comparison.ratio(row.one, figure), ".2f"))


def _state_and_step(row: Row) -> str:
    return f"{row.one.first.state.lower()}, step {row.one.steps}"


def _states(row: Row) -> str:
    """Return how many of a configuration's trials are not complete, by state: `1 failed, 1 running`."""
    counts = Counter(trial.state.lower() for trial in row.one.trials if trial.state != COMPLETED)
    return ", ".join(f"{count} {state}" for state, count in sorted(counts.items()))


_SEEDS = Column("n", lambda row: str(len(row.one.seeds)))
_STEPS = Column("steps", lambda row: str(row.one.steps))
_STATES = Column("state", _states, is_number=False)
_STATE_AND_STEP = Column("state", _state_and_step, is_number=False)


def _estimate(value: Estimate | None, *, sign: str = "") -> str:
    return "-" if value is None else value.text(sign=sign)


def _number(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)
