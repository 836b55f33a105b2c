"""Order of the tests, and their threads."""

from __future__ import annotations

import os

import pytest

# One core a test: tests run beside each other's server and worker processes.
os.environ.setdefault("OMP_NUM_THREADS", "1")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Fast tests first: they tell most, soonest."""
    items.sort(key=lambda item: item.get_closest_marker("slow") is not None)
