"""`report --watch`: the comparison again and again while sweeps run."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence

from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from essnet.cli.sweep_progress import TrialLines
from essnet.file_lock import holder
from essnet.report import Comparison, TrialReader, answers, comparison_table, legend, load_comparisons
from essnet.sweep.folder import SweepFolder

_LOOK_SECONDS = 1.0
_PAGE_SECONDS = 10.0
"""A page is not written more often: that takes seconds, and who looks at it has to load it anew."""


def watch_table(folders: Sequence[SweepFolder], console: Console) -> None:
    """Keep the table up to date until no sweep runs any more: in place on a terminal, as plain lines elsewhere.

    The last state is left to the caller to print.
    """
    if not console.is_terminal:
        watch_lines(folders, console)
        return
    with Live(console=console, refresh_per_second=2, transient=True) as live:
        for comparisons in _changes(folders):
            texts = [Text(text) for text in (legend(comparisons), *answers(comparisons))]
            live.update(Group(comparison_table(comparisons), *texts))


def watch_lines(folders: Sequence[SweepFolder], console: Console) -> None:
    """Print a line for each evaluation and each change of a trial's state, until no sweep runs any more."""
    lines = [TrialLines(console, sweep=folder.path.name if len(folders) > 1 else None) for folder in folders]
    for comparisons in _changes(folders):
        for of_sweep, comparison in zip(lines, comparisons, strict=True):
            of_sweep.show(comparison)


def watch_page(folders: Sequence[SweepFolder], write: Callable[[Sequence[Comparison]], object]) -> None:
    """Write the page anew whenever something has changed, until no sweep runs any more."""
    for comparisons in _changes(folders, wait_seconds=_PAGE_SECONDS):
        write(comparisons)


def _changes(folders: Sequence[SweepFolder], *, wait_seconds: float = _LOOK_SECONDS) -> Iterator[list[Comparison]]:
    """Yield the comparisons at first and after each change, the last time when nothing runs any more."""
    readers = [TrialReader(folder) for folder in folders]
    shown: list[Comparison] | None = None
    runs = True
    while runs:
        # Before reading: what a sweep has written by its end is then seen.
        runs = any(holder(folder.path / "lock") for folder in folders)
        now = load_comparisons(folders, readers)
        if now != shown:
            yield now
            shown = now
        if runs:
            time.sleep(wait_seconds)
