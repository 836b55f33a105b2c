"""Order of the tests, and where real data is looked for."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

# One core a test: tests run beside each other's server and worker processes.
os.environ.setdefault("OMP_NUM_THREADS", "1")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Fast tests first: they tell most, soonest."""
    items.sort(key=lambda item: item.get_closest_marker("slow") is not None)


def shared_data() -> Path:
    """Return the folder of real data beside the project, or that of ESSNET_SHARED_DATA; it may be missing."""
    default = Path(__file__).resolve().parents[2] / "shared" / "data"
    return Path(os.environ.get("ESSNET_SHARED_DATA", default))
