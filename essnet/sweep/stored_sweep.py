"""A sweep's folder on its driver's machine, and the storage: what the driver writes goes there, what trials leave
comes from there."""

from __future__ import annotations

import json
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from essnet.atomic_files import read_json, write_json
from essnet.config import InputError
from essnet.sweep.folder import ENDED, FAILED, RUNNING, SweepFolder
from essnet.sweep.requests import Requests
from essnet.sweep.snapshot_writer import FILES, SnapshotWriter, TakenOver
from essnet.sweep.snapshots import Snapshot, Snapshots
from essnet.sweep.storage import Storage, StorageError, insist
from essnet.sweep.stored_trial import STOP

_DRIVERS_FILES = (
    "sweep.json",
    "warm_start.json",
    "measured.json",
    "budget.json",
    "results.jsonl",
    "requests/*.json",
    "trials/*/trial.json",
)
_LOOK_SECONDS = 15.0
_FETCHING: dict[str, threading.Lock] = {}
"""A trial's files are brought by one thread at a time."""


class StoredSweep:
    """Keeps a sweep in a storage, as its driver.

    Parameters
    ----------
    address
        The sweep's `storage`; below it, a folder of the sweep's name is used.
    folder
        The sweep's, on this machine.
    """

    def __init__(self, address: str, folder: SweepFolder) -> None:
        self._address = address
        self._folder = folder
        self._prefix = folder.path.name
        self._snapshots = Snapshots(Storage(address), f"{self._prefix}/sweep")
        self._writer: SnapshotWriter | None = None
        self._complete: set[str] = set()
        """Trials of which all is here."""
        self._taken_over = False

    def task(self) -> dict[str, str]:
        """Return what `stored_trial` has to know."""
        return {"address": self._address, "prefix": self._prefix, "sweep_id": self._folder.state()["sweep_id"]}

    def is_there(self) -> bool:
        """Whether the storage has a sweep of this name.

        Raises
        ------
        InputError
            If the storage does not answer, or does not keep what is written there.
        """
        try:
            self._snapshots.storage.check()
            return self._newest() is not None
        except (StorageError, FileNotFoundError) as error:
            raise InputError(f"{error}; mend it, or give another storage=...") from error

    def bring_back(self) -> None:
        """Make the folder what the storage has, unless the folder is newer.

        Raises
        ------
        InputError
            If they are of different sweeps.
        """
        snapshot = self._newest()
        if snapshot is None or read_json(self._folder.path / "storage.json").get("attempt", 0) >= snapshot.attempt:
            return
        content = f"{self._snapshots.prefix}/{snapshot.files['sweep.json']}"
        there = json.loads(self._snapshots.storage.read(content))["sweep_id"]
        here = read_json(self._folder.path / "sweep.json").get("sweep_id", there)
        if here != there:
            raise InputError(
                f"{self._folder.path}: is another sweep than the one in {self._address}/{self._prefix}; "
                "choose another name=... or --output"
            )
        self._folder.path.mkdir(parents=True, exist_ok=True)
        self._snapshots.fetch(snapshot, self._folder.path)
        for record in self._folder.records():
            fetch_trial(self._address, self._folder, record.trial_id)  # checkpoints follow while the sweep runs

    def keep(self) -> None:
        """Have the storage hold what the driver has written so far.

        Raises
        ------
        StorageError
            If it cannot be reached for a minute.
        TakenOver
            If the sweep goes on elsewhere.
        """
        assert self._writer is not None  # between the lines of `kept`
        root = self._folder.path
        files = {str(path.relative_to(root)): path for pattern in _DRIVERS_FILES for path in root.glob(pattern)}
        writer = self._writer
        insist(lambda: writer.keep(FILES, files))

    @contextmanager
    def kept(self, say: Callable[[str], None]) -> Iterator[None]:
        """Keep the sweep while the block runs, and bring from there what trials leave; `say` tells of trouble."""
        self._writer = SnapshotWriter(self._snapshots, after=self._snapshots.newest())
        write_json(self._folder.path / "storage.json", {"attempt": self._writer.attempt})
        ended = threading.Event()
        thread = threading.Thread(target=self._follow, args=(ended, say), name="storage", daemon=True)
        thread.start()
        hurried = False
        try:
            yield
        except KeyboardInterrupt:  # the second one, which ends a sweep at once
            hurried = True
            raise
        finally:
            ended.set()
            if not hurried:
                thread.join()
                self._look_once_more(say)

    def _follow(self, ended: threading.Event, say: Callable[[str], None]) -> None:
        troubled = False
        while not ended.wait(_LOOK_SECONDS):
            try:
                self._look()
                troubled = False
            except StorageError as error:
                if not troubled:
                    say(f"{error}; it is tried again")
                troubled = True
            except TakenOver as error:
                say(f"{error}; this one ends")
                self._taken_over = True
                os.kill(os.getpid(), signal.SIGINT)  # as Ctrl-C does
                return

    def _look_once_more(self, say: Callable[[str], None]) -> None:
        if self._taken_over:
            return
        try:
            self._look()
        except (StorageError, TakenOver) as error:
            say(f"{error}; --resume brings what is missing here")

    def _newest(self) -> Snapshot | None:
        """Return the newest snapshot of a sweep that has begun: one that was refused at its start has left none."""
        snapshot = self._snapshots.newest()
        return snapshot if snapshot is not None and "sweep.json" in snapshot.files else None

    def _look(self) -> None:
        self.keep()
        to_stop = Requests(self._folder.path).to_stop()
        for record in self._folder.records():
            if record.state == RUNNING and record.trial_id in to_stop:
                self._snapshots.storage.write(f"{self._prefix}/trials/{record.trial_id}/{STOP}", b"")
            if record.state in (FAILED, *ENDED) and record.trial_id not in self._complete:
                if fetch_trial(self._address, self._folder, record.trial_id, with_best=True):
                    self._complete.add(record.trial_id)
            elif record.state == RUNNING:
                self._complete.discard(record.trial_id)
                fetch_trial(self._address, self._folder, record.trial_id)


def fetch_trial(address: str, folder: SweepFolder, trial_id: str, *, with_best: bool = False) -> bool:
    """Bring what a trial has left in the storage into its folder: all but checkpoints, and the best of these if wanted.

    Returns whether nothing more comes.

    Raises
    ------
    StorageError
        If the storage does not answer.
    """
    snapshots = Snapshots(Storage(address), f"{folder.path.name}/trials/{trial_id}")
    path = folder.trial(trial_id)
    with _FETCHING.setdefault(str(path), threading.Lock()):
        before: dict[str, Any] = read_json(path / "storage.json")
        for _ in range(3):  # while a trial goes on, a snapshot may be replaced as it is read
            snapshot = snapshots.newest()
            if snapshot is None or before.get("snapshot") == [snapshot.name, with_best]:
                return snapshot is not None and snapshot.ended
            best = f"checkpoints/{snapshot.links.get('checkpoints/best')}" if with_best else None
            try:
                files = snapshots.fetch(snapshot, path, wanted=_wanted(best), known=before.get("files", {}))
            except FileNotFoundError:
                continue
            now = {"snapshot": [snapshot.name, with_best], "ended": snapshot.ended, "files": files}
            write_json(path / "storage.json", now)
            return snapshot.ended
        return False


def _wanted(best: str | None) -> Callable[[str], bool]:
    def wanted(path: str) -> bool:
        if not path.startswith("checkpoints/"):
            return True
        return best is not None and (path == "checkpoints/best" or str(Path(path).parent) == best)

    return wanted
