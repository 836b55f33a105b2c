"""How a sweep stands, as tables that stay readable with hundreds of trials: one row an arm, one a running trial."""

from __future__ import annotations

from collections.abc import Sequence

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from essnet.cli.sweep_snapshot import Snapshot
from essnet.cli.terminal import clock
from essnet.report import ComparedTrial
from essnet.sweep.folder import ENDED, FAILED, RUNNING

_MOST_RUNNING = 12
_MOST_FAILURES = 5


def standing(snapshot: Snapshot, *, concurrent: int, elapsed: float | None = None) -> RenderableType:
    """Return title, arms, running trials and failures.

    `elapsed` are seconds since the sweep began or went on, where somebody waits for it.
    """
    trials = snapshot.comparison.trials
    running = [trial for trial in trials if trial.state == RUNNING]
    parts: list[RenderableType] = [Text(_title(snapshot, concurrent, elapsed)), arms_table(snapshot)]
    if running:
        parts += [Text(), running_table(snapshot, running[:_MOST_RUNNING])]
        if len(running) > _MOST_RUNNING:
            parts.append(Text(f"... and {len(running) - _MOST_RUNNING} more running", style="dim"))
    failed = [trial for trial in trials if trial.state == FAILED]
    parts += [Text(trial.failure_line, style="red") for trial in failed[-_MOST_FAILURES:]]
    if len(failed) > _MOST_FAILURES:
        parts.append(Text(f"... and {len(failed) - _MOST_FAILURES} failed before them", style="red"))
    return Group(*parts)


def arms_table(snapshot: Snapshot) -> Table:
    """Return one row an arm: its trials by state, and its best so far."""
    comparison = snapshot.comparison
    table = _table(
        "arm", "done", "running", "failed", "best so far", "d", "k", comparison.metric, text=("arm", "best so far")
    )
    for arm in dict.fromkeys(trial.arm for trial in comparison.trials):
        of_arm = [trial for trial in comparison.trials if trial.arm == arm]
        best = comparison.best_of_arm(arm)
        found = ("", "", "", "")
        if best is not None and best.value is not None:
            found = (best.trial_id, *_size(best.first), f"{best.value.mean:.3f}")
        is_baseline = comparison.baseline is not None and arm == comparison.baseline.arm
        counts = [sum(trial.state in states for trial in of_arm) for states in (ENDED, (RUNNING,), (FAILED,))]
        table.add_row(
            arm, *(str(count) if count else "" for count in counts), *found, style="cyan" if is_baseline else None
        )
    return table


def running_table(snapshot: Snapshot, running: Sequence[ComparedTrial]) -> Table:
    """Return one row for each of the trials: its step, its metric so far, the time it will take."""
    metric = snapshot.comparison.metric
    table = _table("running", "d", "k", "step", metric, "left", text=("running",))
    for trial in running:
        value = trial.metrics.get(metric)
        left = snapshot.trial_seconds_left(trial)
        table.add_row(
            trial.trial_id,
            *_size(trial),
            f"{snapshot.steps[trial.trial_id]}/{snapshot.max_steps[trial.trial_id]}",
            "" if value is None else f"{value:.3f}",
            "" if left is None else clock(left),
        )
    return table


def _title(snapshot: Snapshot, concurrent: int, elapsed: float | None) -> str:
    comparison = snapshot.comparison
    title = f"sweep {comparison.sweep}: {snapshot.ended} of {comparison.num_trials} trials"
    replicates = sum(trial.replicates is not None for trial in comparison.trials)
    if replicates:
        title += f", {replicates} replicates begun"
    if elapsed is not None:
        title += f", {clock(elapsed)} so far"
    left = snapshot.seconds_left(concurrent=concurrent) if concurrent else None
    return title if left is None or snapshot.ended == comparison.num_trials else f"{title}, about {clock(left)} left"


def _size(trial: ComparedTrial) -> tuple[str, str]:
    return str(trial.embedding_dim or "-"), str(trial.num_neighbours or "-")


def _table(*columns: str, text: tuple[str, ...]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1), collapse_padding=True)
    for name in columns:
        table.add_column(
            name, justify="left" if name in text else "right", no_wrap=name not in text, overflow="ellipsis"
        )
    return table
