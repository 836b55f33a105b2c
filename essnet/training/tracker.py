"""What the loop tells the world: a small interface, so that no tracking library reaches the loop."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Protocol


class Tracker(Protocol):
    """Where metrics and artifacts go."""

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        """Take metrics of an optimizer step. When this returns, they outlive the process."""

    def log_artifact(self, path: Path, folder: str) -> None:
        """Keep a file below `folder` of the run's artifacts."""

    def flush(self) -> None:
        """Have what was logged so far shown soon; waits for nothing."""


class NullTracker:
    """Tracks nothing."""

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        """Do nothing."""

    def log_artifact(self, path: Path, folder: str) -> None:
        """Do nothing."""

    def flush(self) -> None:
        """Do nothing."""
