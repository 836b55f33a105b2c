"""What a sweep's search may spend, over all the runs of the sweep: hours by the clock, steps of its trials."""

from __future__ import annotations

import time
from pathlib import Path

from pydantic import TypeAdapter

from essnet.atomic_files import read_json_as, write_json

_NOTE_SECONDS = 5.0
_SPENT = TypeAdapter(dict[str, float])


class Budget:
    """Knows whether further trials may begin; those that run are never cut.

    Parameters
    ----------
    folder
        The sweep's; `budget.json` in it keeps the time spent.
    hours
        While the sweep runs; None: as many as it takes.
    steps
        Of all trials; None: as many as it takes.
    """

    def __init__(self, folder: Path, *, hours: float | None, steps: int | None) -> None:
        self._path = folder / "budget.json"
        self._hours = hours
        self._steps = steps
        self._before = read_json_as(self._path, _SPENT, what="the seconds that were spent").get("seconds", 0.0)
        self._started = time.monotonic()
        self._noted = self._started

    @property
    def seconds(self) -> float:
        """Seconds for which the sweep has run, in this process and those before it."""
        return self._before + time.monotonic() - self._started

    def note_time(self, *, at_once: bool) -> None:
        """Keep the time spent on disk, at most every few seconds: a run that is killed has spent it too.

        Without a limit as well: one may be set when the sweep goes on.
        """
        now = time.monotonic()
        if at_once or now - self._noted >= _NOTE_SECONDS:
            self._noted = now
            write_json(self._path, {"seconds": self.seconds})

    @property
    def counts_steps(self) -> bool:
        """Whether steps are limited."""
        return self._steps is not None

    def time_is_spent(self) -> bool:
        """Return whether the sweep has run for its hours."""
        return self._hours is not None and self.seconds >= self._hours * 3600

    def steps_are_spent(self, steps: int) -> bool:
        """Return whether trials may take no more than these steps."""
        return self._steps is not None and steps >= self._steps
