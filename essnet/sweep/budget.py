"""What a sweep's search may spend, over all the runs of the sweep: hours by the clock, steps of its trials."""

from __future__ import annotations

import time
from collections.abc import Iterable
from pathlib import Path

from pydantic import TypeAdapter

from essnet.atomic_files import read_json_as, write_json
from essnet.sweep.folder import TrialRecord

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
        Of all trials that have begun, replicates aside; None: as many as it takes.
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

    def is_spent(self, begun: Iterable[TrialRecord]) -> bool:
        """Return whether no further trial of the search may begin, after those that have."""
        if self._hours is not None and self.seconds >= self._hours * 3600:
            return True
        steps = sum(record.max_steps for record in begun if record.replicates is None)
        return self._steps is not None and steps >= self._steps
