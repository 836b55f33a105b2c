"""What a run tells its tracking store, on its way there: lines of JSON in files, in order, until the store has them.

Everything passes through here, whether the store answers or not: what is appended is the system's when `append`
returns, a process that is killed loses nothing, and what waits takes no memory. Each process begins files of its own,
and nobody but it appends to them; whoever holds the folder's lock reads from the oldest on and removes what the store
has.
"""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from essnet.atomic_files import naming
from essnet.file_lock import hold
from essnet.tracking.entries import Entry

_FILE_BYTES = 2**19
"""Size from which on a new file is begun. A reader holds one file in memory."""
_logger = logging.getLogger(__name__)


class Outbox:
    """Appends to a folder; from any thread."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = threading.Lock()
        self._file: BinaryIO | None = None
        self._size = 0
        self._number = 0

    def append(self, entry: Entry) -> None:
        """Add an entry.

        Raises
        ------
        OSError
            If the disk is full; nothing, or a line that a reader leaves out, is written then.
        """
        line = json.dumps(entry).encode() + b"\n"
        with self._lock:
            if self._file is None or self._size >= _FILE_BYTES:
                self._begin_file()
            assert self._file is not None
            try:
                with naming(self._folder):
                    written = self._file.write(line)
            except OSError:
                self._let_go()
                raise
            if written < len(line):
                self._let_go()
                raise OSError(f"{self._folder}: only a part of {len(line)} bytes could be written")
            self._size += written

    def close(self) -> None:
        """Let go of the file; a further `append` begins a new one."""
        with self._lock:
            self._let_go()

    def _let_go(self) -> None:
        if self._file is not None:
            self._file.close()
        self._file = None

    def _begin_file(self) -> None:
        self._let_go()
        self._folder.mkdir(parents=True, exist_ok=True)
        # Always a greater number than before: a reader may have removed the last file meanwhile.
        self._number = max([self._number, *(int(path.stem) for path in waiting_files(self._folder))]) + 1
        self._file = (self._folder / f"{self._number:08d}.jsonl").open("xb", buffering=0)
        self._size = 0


class OutboxReader:
    """Reads a folder's entries in order, and removes what was delivered; to be used while `sole_reader` is held."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._path: Path | None = None
        self._begin = 0
        self._end = 0

    def read(self) -> list[Entry]:
        """Return the oldest entries that were not delivered yet; none where there are no more for now.

        What is no JSON, because a disk was full or lost power, is left out.
        """
        while True:
            files = waiting_files(self._folder)
            if not files:
                return []
            if files[0] != self._path:
                self._path, self._begin = files[0], 0
            with self._path.open("rb") as file:
                file.seek(self._begin)
                content = file.read()
            self._end = self._begin + content.rfind(b"\n") + 1
            if self._end > self._begin:
                return list(_parsed(content[: self._end - self._begin], self._path))
            if len(files) == 1:
                return []
            self._path.unlink()  # its writer has gone on to the next file, or is gone

    def delivered(self) -> None:
        """Note that the store has what `read` returned last."""
        self._begin = self._end

    def remove_last(self) -> None:
        """Remove the last file, after `read` found nothing more in it and when nobody will append to it."""
        if self._path is not None:
            self._path.unlink(missing_ok=True)
            self._path = None


def waiting_files(folder: Path) -> list[Path]:
    """Return the files that hold entries, or held some and are appended to; the oldest first."""
    return sorted(path for path in folder.glob("*.jsonl") if path.stem.isdecimal())


@contextmanager
def sole_reader(folder: Path, *, wait_seconds: float) -> Iterator[None]:
    """Keep others from reading and delivering while the block runs.

    Raises
    ------
    HeldByOther
        If another process, or another thread of this one, does so for longer than `wait_seconds`.
    """
    with hold(folder / "lock", wait_seconds=wait_seconds):
        yield


def _parsed(lines: bytes, path: Path) -> Iterator[Entry]:
    for line in lines.splitlines():
        try:
            entry = json.loads(line)
        except ValueError:
            entry = None
        if isinstance(entry, dict):
            yield entry
        else:
            _logger.warning("%s: a damaged line is left out", path)
