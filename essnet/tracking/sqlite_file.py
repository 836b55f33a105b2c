"""An sqlite store: one process opens it at a time, and its file is whole from its first moment on."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from urllib.parse import unquote

from mlflow import MlflowClient  # the package's own settings of mlflow are made by then

from essnet.file_lock import hold

_OPENING_SECONDS = 120.0
_LEFTOVERS = ("", "-journal", "-wal", "-shm")
"""What sqlite keeps beside a database's file, by its ending; the first is the file."""


@contextmanager
def sole_opener(uri: str) -> Iterator[None]:
    """Keep others from opening the sqlite store at `uri` while the block runs; other stores need no such care.

    Two processes that open a new one at once break it, in MLflow's migrations of its tables.

    Raises
    ------
    HeldByOther
        If another process opens it for too long.
    Exception
        Whatever sqlite or MLflow raise if the file cannot be opened.
    """
    name = unquote(uri.removeprefix("sqlite:///").partition("?")[0])
    if not uri.startswith("sqlite:///") or name in ("", ":memory:"):
        yield
        return
    path = Path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    with hold(path.with_name(f"{path.name}.lock"), wait_seconds=_OPENING_SECONDS):
        needs_no_escapes = name == uri.removeprefix("sqlite:///")
        if needs_no_escapes and (not path.exists() or path.stat().st_size == 0):
            _make(path)
        # MLflow would try again for two minutes where the file cannot be opened.
        with closing(sqlite3.connect(path)) as database:
            database.execute("PRAGMA schema_version").fetchone()
        yield


def _make(path: Path) -> None:
    """Make the database elsewhere and rename it: MLflow cannot go on where it was killed between two tables."""
    temporary = path.with_name(f".{path.name}.partial")
    _remove(temporary)  # of a process that was killed
    try:
        MlflowClient(tracking_uri=f"sqlite:///{temporary}").search_experiments(max_results=1)
        temporary.replace(path)
    except BaseException:  # Ctrl-C, say
        _remove(temporary)
        raise


def _remove(database: Path) -> None:
    for ending in _LEFTOVERS:
        database.with_name(database.name + ending).unlink(missing_ok=True)
