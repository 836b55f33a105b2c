"""The comparison as a table for the terminal."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from functools import partial

from rich import box
from rich.table import Table

from essnet.report.comparison import Comparison
from essnet.report.configurations import Configuration
from essnet.report.estimates import Estimate
from essnet.sweep.folder import COMPLETED

Column = tuple[str, Callable[[Configuration], str]]

_TEXT_COLUMNS = ("trial", "state")
_STEP_MS, _MEMORY_MIB = "perf/step_ms", "perf/loss_memory_mib"


def comparison_table(comparison: Comparison) -> Table:
    """Return the table of all configurations, best first; the baseline and the best other stand out.

    It is 80 columns wide unless more than d and k was searched; where a terminal is narrower, names are cut.
    """
    steps = {one.steps for one in comparison.configurations}
    trained = f" after {steps.pop()} steps" if len(steps) == 1 else ""
    incomplete = any(trial.state != COMPLETED for trial in comparison.trials)
    table = Table(
        title=f"sweep {comparison.sweep}{trained}",
        title_justify="left",
        box=box.SIMPLE_HEAD,
        show_edge=False,
        pad_edge=False,
        padding=(0, 1),
        collapse_padding=True,
    )
    find_columns = _columns_over_seeds if comparison.several_seeds else _columns_of_runs
    columns = find_columns(comparison, show_steps=not trained, show_state=incomplete)
    for place, (title, _) in enumerate(columns):
        justify = "left" if title in _TEXT_COLUMNS else "right"
        table.add_column(title, justify=justify, no_wrap=place > 0, overflow="ellipsis")  # type: ignore[arg-type]
    for one in comparison.ranked():
        style = "cyan" if one is comparison.baseline else "bold green" if one is comparison.best else None
        table.add_row(*(value(one) for _, value in columns), style=style)
    return table


def legend(comparison: Comparison) -> str:
    """Return what the columns of the table mean."""
    metric, memory = comparison.metric, "MiB: peak of output layer and loss for one batch, forward and backward\n"
    if not comparison.several_seeds:
        return f"{metric}: best evaluation; diff: to the baseline; x: as a multiple of the baseline\n{memory}"
    return (
        f"trial: the first of n seeds; {metric}: best evaluation; ±: 95 % interval\n"
        "diff: to the baseline, of equal seeds; x: as a multiple of it; ms: of a step\n"
        f"{memory}"
    )


def _columns_of_runs(comparison: Comparison, *, show_steps: bool, show_state: bool) -> list[Column]:
    """One run each: absolute figures have room."""
    metric = comparison.metric
    columns: list[Column] = [
        ("trial", lambda one: one.trial_id),
        *_searched_columns(comparison),
        (metric, lambda one: _estimate(one.value)),
        ("diff", lambda one: _estimate(one.difference, sign="+")),
        ("ms/step", lambda one: _number(one.metrics.get(_STEP_MS), ".0f")),
        ("x", lambda one: _number(comparison.ratio(one, _STEP_MS), ".2f")),
        ("MiB", lambda one: _number(one.metrics.get(_MEMORY_MIB), ".1f")),
        ("x", lambda one: _number(comparison.ratio(one, _MEMORY_MIB), ".2f")),
    ]
    if show_steps or show_state:
        columns.append(("state", lambda one: f"{one.first.state.lower()}, step {one.steps}"))
    return columns


def _columns_over_seeds(comparison: Comparison, *, show_steps: bool, show_state: bool) -> list[Column]:
    columns: list[Column] = [
        ("trial", lambda one: one.trial_id),
        *_searched_columns(comparison),
        ("n", lambda one: str(len(one.seeds))),
        (comparison.metric, lambda one: _estimate(one.value)),
        ("diff", lambda one: _estimate(one.difference, sign="+")),
        ("x ms", lambda one: _number(comparison.ratio(one, _STEP_MS), ".2f")),
        ("x MiB", lambda one: _number(comparison.ratio(one, _MEMORY_MIB), ".2f")),
    ]
    if show_steps:
        columns.append(("steps", lambda one: str(one.steps)))
    if show_state:
        columns.append(("state", _states))
    return columns


def _searched_columns(comparison: Comparison) -> list[Column]:
    """Return d, k, and a column for everything else that was searched."""
    names = dict.fromkeys(name for one in comparison.configurations for name in one.searched)

    def cell(one: Configuration, name: str) -> str:
        value = one.searched.get(name, "-")
        return f"{value:.4g}" if isinstance(value, float) else str(value)

    return [
        ("d", lambda one: _number(one.first.embedding_dim, "d")),
        ("k", lambda one: _number(one.first.num_neighbours, "d")),
        *((name, partial(cell, name=name)) for name in names),
    ]


def _states(one: Configuration) -> str:
    """Return how many of a configuration's trials are not complete, by state: `1 failed, 1 running`."""
    counts = Counter(trial.state.lower() for trial in one.trials if trial.state != COMPLETED)
    return ", ".join(f"{count} {state}" for state, count in sorted(counts.items()))


def _estimate(value: Estimate | None, *, sign: str = "") -> str:
    return "-" if value is None else value.text(sign=sign)


def _number(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)
