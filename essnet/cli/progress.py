"""How far long work is, shown as the place asks for it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console

from essnet.cli.terminal import clock
from essnet.progress import Progress

_LINE_SECONDS = 5.0


@contextmanager
def show_progress(console: Console, unit: str) -> Iterator[Progress]:
    """Show how far long work is, with the time left: a bar on a terminal, a line every few seconds elsewhere.

    `unit` is what is counted, such as "masks".
    """
    if not console.is_terminal:
        yield _Lines(console, unit).tell
        return
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
    from rich.progress import Progress as Bars

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Bars(*columns, console=console) as bars:
        tasks: dict[str, Any] = {}

        def tell(what: str, done: int, total: int) -> None:
            if what not in tasks:
                for task in [task for task in bars.tasks if task.total is None]:  # what came before has ended
                    bars.remove_task(task.id)
                tasks[what] = bars.add_task(what, total=total or None)
            bars.update(tasks[what], completed=done)

        yield tell


class _Lines:
    def __init__(self, console: Console, unit: str) -> None:
        self._console = console
        self._unit = unit
        self._what = ""

    def tell(self, what: str, done: int, total: int) -> None:
        now = time.monotonic()
        if what != self._what:
            self._what, self._begin, self._first, self._told = what, now, done, now
            if not total:
                self._console.print(what, markup=False)
        if total and (now - self._told >= _LINE_SECONDS or done == total):
            self._told = now
            pace = (done - self._first) / max(now - self._begin, 1e-9)
            left = f", {pace:.0f} a second, {clock((total - done) / pace)} left" if pace and done < total else ""
            self._console.print(f"{what}: {done} of {total} {self._unit}{left}", markup=False)
