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
from essnet.report import Comparison
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
    started = time.monotonic()
    reader = SnapshotReader(folder)
    with Live(console=console, refresh_per_second=2, transient=True) as live:
        while not ended.wait(_REFRESH_SECONDS):
            snapshot = reader.read()
            if snapshot is not None:
                live.update(standing(snapshot, concurrent=concurrent, elapsed=time.monotonic() - started))


def _print_lines(folder: SweepFolder, concurrent: int, console: Console, ended: threading.Event) -> None:
    lines = TrialLines(console)
    last = False
    reader = SnapshotReader(folder)
    while not last:
        last = ended.wait(_REFRESH_SECONDS)  # once more after the end: the last lines
        snapshot = reader.read()
        if snapshot is not None:
            lines.show(snapshot.comparison)


class TrialLines:
    """Prints a line for each trial whose state or step is another one than when it was last shown."""

    def __init__(self, console: Console, *, sweep: str | None = None) -> None:
        self._console = console
        self._prefix = f"{sweep}/" if sweep is not None else ""
        self._shown: dict[str, tuple[str, int]] = {}

    def show(self, comparison: Comparison) -> None:
        """Print what has changed."""
        for trial in comparison.trials:
            now = (trial.state, trial.steps)
            if self._shown.get(trial.trial_id, (PENDING, 0)) == now:
                continue
            self._shown[trial.trial_id] = now
            value = trial.metrics.get(comparison.metric)
            result = "" if value is None else f"  {comparison.metric} {value:.3f}"
            line = f"{self._prefix}{trial.trial_id}  {trial.state.lower()}  step {trial.steps}{result}"
            self._console.print(line, markup=False)
