"""What a person sees while a sweep runs: a live table on a terminal, plain lines elsewhere."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from rich import box
from rich.console import Console
from rich.live import Live
from rich.table import Table

from essnet.atomic_files import read_json
from essnet.cli.terminal import clock
from essnet.report import ComparedTrial, Comparison, load_comparison
from essnet.sweep.folder import ENDED, FAILED, PENDING, RUNNING, SweepFolder

_REFRESH_SECONDS = 1.0
_STATE_STYLE = {RUNNING: "yellow", FAILED: "red", PENDING: "dim"}


@contextmanager
def show_progress(folder: SweepFolder, *, concurrent: int, console: Console) -> Iterator[None]:
    """Show a sweep's progress while the block runs; it is read from the sweep's folder, like anybody could."""
    ended = threading.Event()
    show = _show_table if console.is_terminal else _print_lines
    thread = threading.Thread(target=show, args=(folder, concurrent, console, ended), daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _show_table(folder: SweepFolder, concurrent: int, console: Console, ended: threading.Event) -> None:
    started = time.time()
    with Live(console=console, refresh_per_second=2, transient=True) as live:
        while not ended.wait(_REFRESH_SECONDS):
            snapshot = _snapshot(folder)
            if snapshot is not None:
                live.update(progress_table(snapshot, concurrent=concurrent, elapsed=time.time() - started))


def _print_lines(folder: SweepFolder, concurrent: int, console: Console, ended: threading.Event) -> None:
    shown: dict[str, tuple[str, int]] = {}
    last = False
    while not last:
        last = ended.wait(_REFRESH_SECONDS)  # once more after the end: the last lines
        snapshot = _snapshot(folder)
        for trial in snapshot.comparison.trials if snapshot else ():
            now = (trial.state, trial.steps)
            if shown.get(trial.trial_id, (PENDING, 0)) != now:
                shown[trial.trial_id] = now
                value = trial.metrics.get(snapshot.comparison.metric) if snapshot else None
                result = f"  {snapshot.comparison.metric} {value:.3f}" if snapshot and value is not None else ""
                console.print(f"{trial.trial_id}  {trial.state.lower()}  step {trial.steps}{result}", markup=False)


@dataclass(frozen=True)
class Snapshot:
    """A sweep at a moment: its comparison, and how far each trial is in steps."""

    comparison: Comparison
    steps: dict[str, int]
    max_steps: dict[str, int]
    seconds_per_step: dict[str, float]


def _snapshot(folder: SweepFolder) -> Snapshot | None:
    if not (folder.path / "sweep.json").exists():
        return None
    comparison = load_comparison(folder)
    steps, max_steps, pace = {}, {}, {}
    for record in folder.records():
        progress = read_json(folder.trial(record.trial_id) / "progress.json")
        steps[record.trial_id] = progress.get("step", 0)
        max_steps[record.trial_id] = record.max_steps
        if progress.get("seconds_per_step"):
            pace[record.trial_id] = progress["seconds_per_step"]
    return Snapshot(comparison, steps, max_steps, pace)


def progress_table(snapshot: Snapshot, *, concurrent: int, elapsed: float) -> Table:
    """Return the live table: trial, arm, d, k, step, metric so far, time left."""
    comparison = snapshot.comparison
    done = sum(trial.state in (*ENDED, FAILED) for trial in comparison.trials)
    left = _seconds_left(snapshot, comparison.trials, comparison.num_trials, concurrent)
    title = f"sweep {comparison.sweep}: {done} of {comparison.num_trials} trials, {clock(elapsed)} so far"
    if left is not None:
        title += f", about {clock(left)} left"
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for name in ("trial", "d", "k", "step", comparison.metric, "left", "state"):
        table.add_column(name, justify="left" if name in ("trial", "state") else "right", no_wrap=True)
    for trial in comparison.trials:
        value = trial.metrics.get(comparison.metric)
        trial_left = _trial_seconds_left(snapshot, trial)
        table.add_row(
            trial.trial_id,
            str(trial.embedding_dim or "-"),
            str(trial.num_neighbours or "-"),
            f"{snapshot.steps[trial.trial_id]}/{snapshot.max_steps[trial.trial_id]}",
            "" if value is None else f"{value:.3f}",
            clock(trial_left) if trial.state == RUNNING and trial_left is not None else "",
            trial.state.lower(),
            style=_STATE_STYLE.get(trial.state),
        )
    return table


def _trial_seconds_left(snapshot: Snapshot, trial: ComparedTrial) -> float | None:
    pace = snapshot.seconds_per_step.get(trial.trial_id)
    if pace is None:
        return None
    return pace * (snapshot.max_steps[trial.trial_id] - snapshot.steps[trial.trial_id])


def _seconds_left(
    snapshot: Snapshot, trials: tuple[ComparedTrial, ...], num_trials: int, concurrent: int
) -> float | None:
    """Estimate the time left from the mean pace of the trials that have one."""
    if not snapshot.seconds_per_step:
        return None
    totals = [pace * snapshot.max_steps[name] for name, pace in snapshot.seconds_per_step.items()]
    mean_total = sum(totals) / len(totals)
    running = sum(_trial_seconds_left(snapshot, trial) or 0 for trial in trials if trial.state == RUNNING)
    not_begun = num_trials - sum(trial.state in (*ENDED, FAILED, RUNNING) for trial in trials)
    return (running + not_begun * mean_total) / concurrent
