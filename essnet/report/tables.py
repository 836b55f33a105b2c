"""The comparison as a table for the terminal and as CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable

from rich import box
from rich.table import Table

from essnet.report.comparison import ComparedTrial, Comparison
from essnet.sweep.folder import COMPLETED

Column = tuple[str, Callable[[ComparedTrial], str]]


def comparison_table(comparison: Comparison) -> Table:
    """Return the table of all trials, best first, 80 columns wide; the baseline and the best other stand out."""
    metric = comparison.metric
    columns: list[Column] = [
        ("trial", lambda trial: trial.trial_id),
        ("d", lambda trial: _number(trial.embedding_dim, "d")),
        ("k", lambda trial: _number(trial.num_neighbours, "d")),
        *_searched_columns(comparison),
        (metric, lambda trial: _number(trial.metrics.get(metric), ".3f")),
        ("diff", lambda trial: _number(comparison.difference(trial), "+.3f")),
        ("ms/step", lambda trial: _number(trial.metrics.get("perf/step_ms"), ".0f")),
        ("x", lambda trial: _number(comparison.ratio(trial, "perf/step_ms"), ".2f")),
        ("MiB", lambda trial: _number(trial.metrics.get("perf/loss_memory_mib"), ".1f")),
        ("x", lambda trial: _number(comparison.ratio(trial, "perf/loss_memory_mib"), ".2f")),
    ]
    steps = {trial.steps for trial in comparison.trials}
    trained = f" after {steps.pop()} steps" if len(steps) == 1 else ""
    if not trained or any(trial.state != COMPLETED for trial in comparison.trials):
        columns.append(("state", lambda trial: f"{trial.state.lower()}, step {trial.steps}"))
    table = Table(
        title=f"sweep {comparison.sweep}{trained}",
        title_justify="left",
        box=box.SIMPLE_HEAD,
        show_edge=False,
        pad_edge=False,
        padding=(0, 1),
        collapse_padding=True,
    )
    for title, _ in columns:
        table.add_column(title, justify="left" if title in ("trial", "state") else "right", no_wrap=True)
    for trial in comparison.ranked():
        style = "cyan" if trial is comparison.baseline else "bold green" if trial is comparison.best else None
        table.add_row(*(value(trial) for _, value in columns), style=style)
    return table


def legend(comparison: Comparison) -> str:
    """Return what the columns of the table mean."""
    return (
        f"{comparison.metric}: best evaluation; diff: to the baseline; x: as a multiple of the baseline\n"
        "MiB: peak of output layer and loss for one batch, forward and backward\n"
    )


def comparison_csv(comparison: Comparison) -> str:
    """Return one line a trial: what identifies it, its overrides, its metrics."""
    overrides = sorted({path for trial in comparison.trials for path in trial.overrides})
    metrics = sorted({name for trial in comparison.trials for name in trial.metrics})
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(["trial_id", "arm", "seed", "state", "steps", "run_id", *overrides, *metrics, "difference"])
    for trial in comparison.ranked():
        identity = [trial.trial_id, trial.arm, trial.seed, trial.state, trial.steps, trial.run_id]
        values = [trial.overrides.get(path) for path in overrides] + [trial.metrics.get(name) for name in metrics]
        writer.writerow([*identity, *values, comparison.difference(trial)])
    return buffer.getvalue()


def _searched_columns(comparison: Comparison) -> list[Column]:
    """Return a column for everything that was searched besides d and k."""
    names = dict.fromkeys(name for trial in comparison.trials for name in trial.other_point)

    def cell(trial: ComparedTrial, name: str) -> str:
        value = trial.other_point.get(name, "-")
        return f"{value:.4g}" if isinstance(value, float) else str(value)

    # mypy cannot infer a lambda with a default.
    return [(name, lambda trial, name=name: cell(trial, name)) for name in names]  # type: ignore[misc]


def _number(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)
