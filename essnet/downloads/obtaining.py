"""A whole data set: its archives one after the other, those that are not there yet."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from essnet.config.errors import InputError
from essnet.downloads.archive import Archive, readable
from essnet.downloads.catalogue import DataSet
from essnet.downloads.disk import check_room
from essnet.downloads.fetching import Patience, Say, fetch
from essnet.downloads.members import DamagedArchive
from essnet.downloads.records import FOLDER, Unpacked, missing_files, read_record, write_record
from essnet.downloads.unpacking import unpack
from essnet.file_lock import HeldByOther, hold
from essnet.progress import Progress

_STAGING = ".unpacking"
"""Ends the name of the folder in `downloads/` that an archive is unpacked into; one that is left behind is no use."""


@dataclass(frozen=True)
class Obtained:
    """An archive whose files are all in their places."""

    archive: Archive
    unpacked: Unpacked
    skipped: bool
    """It was there before."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What there is to do for a data set."""

    there: tuple[Obtained, ...]
    to_do: tuple[Archive, ...]
    needed_bytes: int
    """Room that it takes at least, at the moment when most is on disk."""


def plan(data_set: DataSet, root: Path, *, keep_archives: bool) -> Plan:
    """Look at what is there below `root`; nothing is changed."""
    there, to_do = [], []
    for archive in data_set.archives:
        record = read_record(root / FOLDER, archive)
        if record is not None and not missing_files(record, root):
            there.append(Obtained(archive, record, skipped=True))
        else:
            to_do.append(archive)
    return Plan(there=tuple(there), to_do=tuple(to_do), needed_bytes=_needed(to_do, root, keep_archives))


def obtain(
    data_set: DataSet,
    root: Path,
    *,
    keep_archives: bool = False,
    progress: Progress,
    say: Say,
    patience: Patience | None = None,
) -> list[Obtained]:
    """Download and unpack what is not there yet, so that `root` is the folder that the data set's loader reads.

    Called again after any end it goes on where it was. `progress` is told bytes.

    Raises
    ------
    DownloadFailed
        If a file cannot be had, is not what was published, or the disk is full.
    InputError
        If the disk has too little room from the beginning, or another process is at work below `root`.
    """
    with _alone(root):
        work = plan(data_set, root, keep_archives=keep_archives)
        # First what is of no use any more goes: its room may be what is missing.
        for staging in (root / FOLDER).glob(f"*{_STAGING}"):
            shutil.rmtree(staging, ignore_errors=True)
        if not keep_archives:
            _delete_left(work.there, root, say)
        check_room(root, work.needed_bytes, what="the data set")
        done = {obtained.archive: obtained for obtained in work.there}
        for archive in work.to_do:
            done[archive] = _obtain_one(archive, root, keep_archives, progress, say, patience or Patience())
    return [done[archive] for archive in data_set.archives]


def _delete_left(there: tuple[Obtained, ...], root: Path, say: Say) -> None:
    """Archives that a crash behind their unpacking has left, or a former call that kept them."""
    for obtained in there:
        path = root / FOLDER / obtained.archive.name
        if path.exists():
            path.unlink()
            say(f"{path.name}: is unpacked already; the archive is deleted")


def _obtain_one(
    archive: Archive, root: Path, keep_archives: bool, progress: Progress, say: Say, patience: Patience
) -> Obtained:
    folder = root / FOLDER
    path = folder / archive.name
    record = read_record(folder, archive)
    if record is not None:
        missing = missing_files(record, root)
        say(f"{archive.name}: {len(missing)} of its {len(record.files)} files are gone, such as {missing[0]}")
    verified = fetch(archive, path, progress=progress, say=say, patience=patience)
    try:
        files = unpack(archive, path, root=root, staging=path.with_name(path.name + _STAGING), progress=progress)
    except DamagedArchive as error:
        aside = path.replace(path.with_name(f"{archive.name}.wrong"))
        raise type(error)(f"{error}; it is set aside as {aside}, and the same command downloads it anew") from error
    unpacked = Unpacked(address=archive.address, bytes=path.stat().st_size, verified=verified, files=files)
    write_record(folder, archive, unpacked)
    if not keep_archives:
        path.unlink()
    say(f"{archive.name}: {len(files)} files, {readable(sum(files.values()))}")
    return Obtained(archive, unpacked, skipped=False)


@contextmanager
def _alone(root: Path) -> Iterator[None]:
    try:
        (root / FOLDER).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"--root: {error.filename}: {error.strerror}; choose a folder that can be written") from None
    try:
        with hold(root / FOLDER / ".lock"):
            yield
    except HeldByOther as error:
        raise InputError(
            f"{root}: process {error} is downloading there; wait for it or choose another --root"
        ) from None


def _needed(archives: list[Archive], root: Path, keep_archives: bool) -> int:
    """Files take what their archive takes, at least; an archive goes when it is unpacked, unless it is kept."""
    now = most = 0
    for archive in archives:
        path = root / FOLDER / archive.name
        here = sum(file.stat().st_size for file in (path, path.with_name(path.name + ".part")) if file.exists())
        now += max(archive.planned_bytes - here, 0) + archive.planned_bytes
        most = max(most, now)
        now -= 0 if keep_archives else archive.planned_bytes
    return most
