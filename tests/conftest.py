"""Order of the tests, and their threads."""

from __future__ import annotations

import os
import signal

import pytest

# One core a test: tests run beside each other's server and worker processes.
os.environ.setdefault("OMP_NUM_THREADS", "1")


if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    # A shell's background job ignores Ctrl-C, and so would each process that a test starts and interrupts.
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def _nothing_stays_in_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no command that a test calls here change the process for the tests after it."""
    monkeypatch.setattr("essnet.config.extensions._allowed", {})  # code that may be imported
    monkeypatch.setattr("essnet.training.free_memory.keep_heap", lambda: None)  # for good, and peaks then never fall


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Fast tests first: they tell most, soonest."""
    items.sort(key=lambda item: item.get_closest_marker("slow") is not None)
