"""A lock that is a file, held by one process at a time."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_GLANCE_SECONDS = 0.5
"""`holder` takes a lock for an instant: nobody who wants it gives up before that can be over."""


class HeldByOther(Exception):
    """Another process holds a lock; the text is its process id."""


def holder(path: Path) -> str | None:
    """Return the process id of who holds the lock file `path`, or None where nobody does."""
    try:
        with path.open("r") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except OSError:
                return file.read() or "unknown"
    except FileNotFoundError:
        pass
    return None


@contextmanager
def hold(path: Path, *, wait_seconds: float = 0.0) -> Iterator[None]:
    """Hold the lock file `path` while the block runs; the system lets go of it when the process dies.

    Raises
    ------
    HeldByOther
        If another process still holds it after `wait_seconds`.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    deadline = time.monotonic() + max(wait_seconds, _GLANCE_SECONDS)
    with path.open("a+") as file:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except OSError:
                if time.monotonic() >= deadline:
                    file.seek(0)
                    raise HeldByOther(file.read() or "unknown") from None
                time.sleep(0.1)
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        try:
            yield
        finally:
            file.truncate(0)
            fcntl.flock(file, fcntl.LOCK_UN)  # a process that was forked meanwhile has the file open too
