"""What the trials of a sweep reported, in the order in which the scheduler saw it: what its decisions rest on.

Ray Tune keeps its schedulers' state in memory only (ray issue 30838). A scheduler that is told this file again, line
by line, stands where it stood.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from essnet.config import InputError


@dataclass(frozen=True)
class Reported:
    """A result, and whether the trial was stopped upon it."""

    trial_id: str
    step: int
    value: float
    stopped: bool


_REPORTED = TypeAdapter(Reported)


class ResultsLog:
    """`results.jsonl` in a sweep's folder, one line a result."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self) -> list[Reported]:
        """Return all results; a last line that was cut off by a crash is taken away.

        Raises InputError if another line is damaged.
        """
        if not self._path.exists():
            return []
        content = self._path.read_bytes()
        whole = content[: content.rfind(b"\n") + 1]
        if len(whole) < len(content):
            os.truncate(self._path, len(whole))
        found = []
        for line in whole.splitlines():
            try:
                found.append(_REPORTED.validate_json(line))
            except ValidationError:
                raise InputError(f"{self._path}: damaged; line {len(found) + 1} is no result of a trial") from None
        return found

    def append(self, reported: Reported) -> None:
        """Add a result; it is on disk when this returns."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(asdict(reported)) + "\n")
            file.flush()
            os.fsync(file.fileno())
