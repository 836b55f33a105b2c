"""An archive becomes files in their places: all of them or, for a reader, none."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path, PurePosixPath

from essnet.downloads.archive import Archive
from essnet.downloads.disk import check_room, told_when_full
from essnet.downloads.members import DamagedArchive, Member, damage_told, members_of, unpacked_bytes

_BLOCK = 1 << 20


def unpack(
    archive: Archive, path: Path, *, root: Path, staging: Path, progress: Callable[[str, int, int], None]
) -> dict[str, int]:
    """Unpack `path` below `root`, as `archive` says, and return the size in bytes of each file, by its path in `root`.

    The files are written into `staging` and moved, one by one, when all are there and whole; those that are in their
    places already are replaced. A crash leaves the folder behind, or some of the files unmoved: the next call begins
    anew.

    Raises
    ------
    DownloadFailed
        If the archive is damaged or not to be trusted, or the disk is full; then `root` is as it was before.
    InputError
        If it is known beforehand that the disk has too little room.
    """
    shutil.rmtree(staging, ignore_errors=True)
    with damage_told(path):
        total = unpacked_bytes(path)
    check_room(root, total or path.stat().st_size, what=f"unpacking {archive.name}")

    def tell(done: int) -> None:
        progress(f"unpacking {archive.name}", done, total or 0)

    try:
        with told_when_full(staging, kept=f"{path} is kept"), damage_told(path):
            staging.mkdir(parents=True)
            sizes = _write_all(archive, path, staging, tell)
    except Exception:
        shutil.rmtree(staging, ignore_errors=True)  # what it holds is of no use, and room may be what is missing
        raise
    for name in sizes:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (staging / name).replace(root / name)
    shutil.rmtree(staging)
    return sizes


def _write_all(archive: Archive, path: Path, staging: Path, tell: Callable[[int], None]) -> dict[str, int]:
    sizes: dict[str, int] = {}
    done = 0
    for member in members_of(path):
        name = os.path.normpath(Path(archive.into, _without(member.path, archive.without)))
        _write(staging / name, member)
        sizes[name] = member.size
        done += member.size
        tell(done)
    if not sizes:
        raise DamagedArchive(f"{path}: holds no file")
    return sizes


def _without(path: PurePosixPath, folder: str) -> PurePosixPath:
    return path.relative_to(folder) if folder and path.is_relative_to(folder) else path


def _write(target: Path, member: Member) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    with target.open("wb") as file:
        shutil.copyfileobj(member.content, file, _BLOCK)
        if file.tell() != member.size:
            raise DamagedArchive(f"{member.path}: has {file.tell():,} bytes in the archive, not {member.size:,}")
