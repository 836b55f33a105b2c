"""Keeping a folder in a storage while it changes."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from essnet.checksums import sha256_of
from essnet.sweep.snapshots import LISTS, Snapshot, Snapshots

FILES, CHECKPOINTS = PARTS = ("files", "checkpoints")

_READ_WHOLE = 16 << 20
"""Bytes up to which a file is read at once: it may be appended to meanwhile."""


class TakenOver(Exception):
    """Another process keeps this folder now."""


class SnapshotWriter:
    """Writes snapshots of a folder, as one attempt; from when it is made, those of earlier ones count no more.

    A snapshot has two parts, `FILES` and `CHECKPOINTS`, each of which is kept by itself: one thread may upload a
    checkpoint, while another keeps small files.

    Parameters
    ----------
    snapshots
        Those of the folder.
    after
        The snapshot that the folder was made from; None: there was none.
    without
        Paths that are not in the folder any more.
    """

    def __init__(self, snapshots: Snapshots, *, after: Snapshot | None, without: tuple[str, ...] = ()) -> None:
        self._snapshots = snapshots
        self._lock = threading.Lock()
        self._uploads = {part: threading.Lock() for part in PARTS}
        self._seen: dict[str, tuple[tuple[int, ...], str]] = {}
        names = snapshots.names()
        self.attempt = 1 + max((_attempt_of(name) for name in names), default=0)
        files = {} if after is None else {path: c for path, c in after.files.items() if path not in without}
        self._newest = Snapshot(self.attempt, 0, files, {} if after is None else after.links)
        self._stored = set(files.values())
        self._write(self._newest)
        self._remove_leftovers()

    def keep(self, part: str, files: Mapping[str, Path], links: Mapping[str, str] | None = None) -> None:
        """Have the next snapshot hold these files, path -> where it is read, as one of its parts, and these links.

        A file that goes away meanwhile is left out. Without `links` they stay as they were. Where nothing has changed
        nothing is written.

        Raises
        ------
        TakenOver
            If a newer attempt keeps the folder.
        StorageError
            If the storage does not take it; what it held is held on.
        """
        with self._uploads[part]:
            found = {path: content for path, file in files.items() if (content := self._upload(part, path, file))}
            with self._lock:
                before = self._newest
                others = {path: content for path, content in before.files.items() if not content.startswith(f"{part}/")}
                snapshot = Snapshot(
                    self.attempt, before.number + 1, {**others, **found}, before.links if links is None else links
                )
                if (snapshot.files, snapshot.links) != (before.files, before.links):
                    self._write(snapshot)

    def end(self) -> None:
        """Say in the snapshot that nothing more comes; raises what `keep` does."""
        with self._lock:
            if not self._newest.ended:
                self._write(replace(self._newest, number=self._newest.number + 1, ended=True))

    def _upload(self, part: str, path: str, file: Path) -> str | None:
        """Store a file's content, unless it is; return its name there."""
        try:
            status = file.stat()
            mark = (status.st_mtime_ns, status.st_size, status.st_ino)
            if self._seen.get(path, (None, ""))[0] == mark and self._seen[path][1] in self._stored:
                return self._seen[path][1]
            storage, prefix = self._snapshots.storage, self._snapshots.prefix
            if status.st_size <= _READ_WHOLE:
                whole = file.read_bytes()
                content = f"{part}/{hashlib.sha256(whole).hexdigest()}"
                if content not in self._stored:
                    storage.write(f"{prefix}/{content}", whole)
            else:
                content = f"{part}/{sha256_of(file)}"
                if content not in self._stored:
                    storage.upload(file, f"{prefix}/{content}")
        except FileNotFoundError:
            return None
        self._stored.add(content)
        self._seen[path] = mark, content
        return content

    def _write(self, snapshot: Snapshot) -> None:
        """Make a snapshot the newest, and remove what only earlier ones have."""
        storage, prefix = self._snapshots.storage, self._snapshots.prefix
        names = self._snapshots.names()
        if any(_attempt_of(name) > self.attempt for name in names):
            raise TakenOver(f"storage: {storage.address}: another process keeps {prefix} now")
        storage.write(f"{prefix}/{LISTS}/{snapshot.name}", snapshot.to_bytes())
        storage.remove(f"{prefix}/{LISTS}/{name}" for name in names if name < snapshot.name)
        gone = set(self._newest.files.values()) - set(snapshot.files.values())
        storage.remove(f"{prefix}/{content}" for content in gone)
        self._stored -= gone
        self._newest = snapshot

    def _remove_leftovers(self) -> None:
        """Remove what attempts that died have uploaded in vain."""
        storage, prefix = self._snapshots.storage, self._snapshots.prefix
        for part in PARTS:
            contents = {f"{part}/{name}" for name in storage.names(f"{prefix}/{part}")}
            storage.remove(f"{prefix}/{content}" for content in contents - self._stored)


def _attempt_of(name: str) -> int:
    return int(name.partition("-")[0])
