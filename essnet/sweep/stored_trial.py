"""A trial on a node that shares no folder with others: it works on the node's own disk, and a storage keeps it."""

from __future__ import annotations

import logging
import os
import shutil
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from essnet.file_lock import hold
from essnet.sweep.snapshot_writer import CHECKPOINTS, FILES, SnapshotWriter, TakenOver
from essnet.sweep.snapshots import Snapshot, Snapshots
from essnet.sweep.storage import Storage, StorageError, insist

STOP = "stop"
"""Name of the file in a trial's place in the storage that asks it to end."""

_LOOK_SECONDS = 1.0
_KEEP_SECONDS = 30.0
_ASK_SECONDS = 10.0
_OLD_WORKER_SECONDS = 60.0

_logger = logging.getLogger("essnet.trial")


class StoredTrial:
    """Keeps a trial's folder in a storage while it runs: checkpoints in a thread of its own, as they come.

    Parameters
    ----------
    snapshots
        The trial's.
    directory
        The folder.
    after
        The snapshot that it was made from.
    """

    def __init__(self, snapshots: Snapshots, directory: Path, *, after: Snapshot | None) -> None:
        self._snapshots = snapshots
        self._directory = directory
        self._writer = SnapshotWriter(snapshots, after=after, without=("error.json",))
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._keep_up, name="storage", daemon=True)
        self._stop = False

    def start(self) -> None:
        """Begin to keep it."""
        self._thread.start()

    def should_stop(self) -> bool:
        """Whether somebody has asked the trial to end, or another process runs it now."""
        return self._stop

    def keep_files(self) -> None:
        """Keep what there is beside checkpoints; raises TakenOver, and StorageError after a minute."""
        insist(self._keep_files)

    def end(self) -> None:
        """Keep all there is, and no more after it; raises TakenOver, and StorageError after a minute."""
        self._ended.set()
        self._thread.join()
        insist(self._keep_all)
        insist(self._writer.end)

    def _keep_up(self) -> None:
        kept: str | None = None
        troubled = False
        kept_at = asked_at = time.monotonic()
        while not self._ended.wait(_LOOK_SECONDS):
            now, newest = time.monotonic(), self._links().get("checkpoints/last")
            try:
                if newest != kept:
                    self._keep_all()
                    kept, kept_at = newest, now
                elif now - kept_at >= _KEEP_SECONDS:
                    self._keep_files()
                    kept_at = now
                if now - asked_at >= _ASK_SECONDS:
                    asked_at = now
                    self._stop = STOP in self._snapshots.storage.names(self._snapshots.prefix)
                troubled = False
            except TakenOver as error:
                _logger.warning("%s; this one ends", error)
                self._stop = True
                return
            except (StorageError, OSError) as error:
                if not troubled:  # once, not each second
                    _logger.warning("%s; it is tried again", error)
                troubled = True

    def _keep_files(self) -> None:
        found = {}
        for path in self._directory.rglob("*"):
            relative = path.relative_to(self._directory)
            hidden = any(part.startswith(".") for part in relative.parts)
            if path.is_file() and not hidden and relative.parts[0] != "checkpoints" and path.name != "lock":
                found[str(relative)] = path
        self._writer.keep(FILES, found)

    def _keep_all(self) -> None:
        staged = self._directory.with_name(f"{self._directory.name}.staged")
        shutil.rmtree(staged, ignore_errors=True)
        try:
            # Hard links: training goes on, and removes what is no longer kept.
            links = self._links()
            for folder in self._directory.glob("checkpoints/step-*"):
                shutil.copytree(folder, staged / "checkpoints" / folder.name, copy_function=os.link)
            # After the checkpoints are seen and before they count: no checkpoint is ahead of the history.
            self._keep_files()
            files = {str(path.relative_to(staged)): path for path in staged.rglob("*") if path.is_file()}
            self._writer.keep(CHECKPOINTS, files, links)
        finally:
            shutil.rmtree(staged, ignore_errors=True)

    def _links(self) -> dict[str, str]:
        found = {}
        for name in ("last", "best"):
            path = self._directory / "checkpoints" / name
            if path.is_symlink():
                found[f"checkpoints/{name}"] = os.readlink(path)
        return found


@contextmanager
def stored_trial(task: Mapping[str, Any]) -> Iterator[tuple[dict[str, Any], StoredTrial]]:
    """Bring a trial from its storage to this node, and keep it there while the block runs.

    `task` is what `PlannedSearch.suggest` returns; the block gets it with a folder of this node in it.

    Raises
    ------
    StorageError
        If the storage does not answer, for a minute.
    TakenOver
        If another process runs the trial meanwhile.
    """
    kept = task["storage"]
    root = Path(tempfile.gettempdir()) / f"essnet-{os.getuid()}"
    directory = root / kept["sweep_id"] / task["trial_id"]
    with hold(directory.with_name(f"{directory.name}.lock"), wait_seconds=_OLD_WORKER_SECONDS):
        snapshots = Snapshots(Storage(kept["address"]), f"{kept['prefix']}/trials/{task['trial_id']}")
        after = insist(lambda: _fetch(snapshots, directory))
        trial = insist(lambda: StoredTrial(snapshots, directory, after=after))
        trial.start()
        try:
            yield {**task, "directory": str(directory), "cache_dir": str(root / "cache")}, trial
        except BaseException:
            try:
                trial.end()
            except (StorageError, TakenOver) as error:  # the first error says more
                _logger.warning("%s", error)
            raise
        trial.end()
        shutil.rmtree(directory, ignore_errors=True)


def _fetch(snapshots: Snapshots, directory: Path) -> Snapshot | None:
    """Make the trial's folder from its newest snapshot that is whole; empty where there is none."""
    for snapshot in snapshots.newest_first():
        shutil.rmtree(directory, ignore_errors=True)
        directory.mkdir(parents=True)
        try:
            snapshots.fetch(snapshot, directory)
        except FileNotFoundError as error:
            _logger.warning("%s of %s is not whole: %s", snapshot.name, snapshots.prefix, error)
            continue
        return snapshot
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    return None
