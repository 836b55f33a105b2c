"""What people ask of a sweep from another terminal: a file for each request, which its driver and its trials look at.

    <sweep>/requests/stop-<trial_id>.json      end this trial
    <sweep>/requests/add-<time>-<random>.json  run more trials of the search

A request is never changed or taken back, so that what was asked holds after any crash, and in a sweep that goes on.
"""

from __future__ import annotations

import time
from pathlib import Path
from secrets import token_hex

from pydantic import TypeAdapter
from typing_extensions import TypedDict

from essnet.atomic_files import read_json_as, write_json

_STOP, _ADD = "stop-", "add-"


class _Added(TypedDict):
    num_trials: int


_ADDED = TypeAdapter(_Added)


class Requests:
    """The requests to the sweep in a folder."""

    def __init__(self, sweep: Path) -> None:
        self._folder = sweep / "requests"

    def stop(self, trial_id: str) -> None:
        """Ask that a trial ends, or does not begin."""
        write_json(self._folder / f"{_STOP}{trial_id}.json", {})

    def to_stop(self) -> set[str]:
        """Return the ids of trials that shall end."""
        return {path.stem.removeprefix(_STOP) for path in self._folder.glob(f"{_STOP}*.json")}

    def is_to_stop(self, trial_id: str) -> bool:
        """Whether a trial shall end."""
        return (self._folder / f"{_STOP}{trial_id}.json").exists()

    def add_trials(self, number: int) -> None:
        """Ask for more trials of the search."""
        name = f"{_ADD}{time.time_ns()}-{token_hex(4)}.json"
        write_json(self._folder / name, {"num_trials": number})

    def added_trials(self) -> int:
        """Return how many trials were asked for in all."""
        return sum(
            read_json_as(path, _ADDED, what="how many trials were asked for")["num_trials"]
            for path in self._folder.glob(f"{_ADD}*.json")
        )
