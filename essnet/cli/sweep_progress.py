"""What a person sees while a sweep runs: live tables on a terminal, plain lines elsewhere."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.live import Live

from essnet.cli.sweep_snapshot import SnapshotReader
from essnet.cli.sweep_tables import standing
from essnet.sweep.folder import PENDING, SweepFolder

_REFRESH_SECONDS = 1.0


@contextmanager
def show_progress(folder: SweepFolder, *, concurrent: int, console: Console) -> Iterator[None]:
    """Show a sweep's progress while the block runs; it is read from the sweep's folder, like anybody could."""
    ended = threading.Event()
    show = _show_tables if console.is_terminal else _print_lines
    thread = threading.Thread(target=show, args=(folder, concurrent, console, ended), daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _show_tables(folder: SweepFolder, concurrent: int, console: Console, ended: threading.Event) -> None:
    started = time.time()
    reader = SnapshotReader(folder)
    with Live(console=console, refresh_per_second=2, transient=True) as live:
        while not ended.wait(_REFRESH_SECONDS):
            snapshot = reader.read()
            if snapshot is not None:
                live.update(standing(snapshot, concurrent=concurrent, elapsed=time.time() - started))


def _print_lines(folder: SweepFolder, concurrent: int, console: Console, ended: threading.Event) -> None:
    shown: dict[str, tuple[str, int]] = {}
    last = False
    reader = SnapshotReader(folder)
    while not last:
        last = ended.wait(_REFRESH_SECONDS)  # once more after the end: the last lines
        snapshot = reader.read()
        for trial in snapshot.comparison.trials if snapshot else ():
            now = (trial.state, trial.steps)
            if shown.get(trial.trial_id, (PENDING, 0)) != now:
                shown[trial.trial_id] = now
                value = trial.metrics.get(snapshot.comparison.metric) if snapshot else None
                result = f"  {snapshot.comparison.metric} {value:.3f}" if snapshot and value is not None else ""
                console.print(f"{trial.trial_id}  {trial.state.lower()}  step {trial.steps}{result}", markup=False)
