"""Configurations that come with essnet: a checkout's `experiments/`, which an installed package has inside it."""

from __future__ import annotations

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parents[1]
_FOLDER = "experiments"


def own_or_shipped(path: Path) -> Path:
    """Return the path; if nothing is there and it begins with `experiments/`, the file that essnet ships under it."""
    if path.parts[:1] != (_FOLDER,) or path.exists():
        return path
    shipped = _PACKAGE / path
    return shipped if shipped.is_file() else path
