"""An archive becomes files in their places: all of them or, for a reader, none."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable
from pathlib import Path, PurePosixPath

from essnet.atomic_files import write_atomically
from essnet.downloads.archive import Archive, DownloadFailed
from essnet.downloads.disk import check_room, told_when_full
from essnet.downloads.members import DamagedArchive, Member, damage_told, members_of, refused, unpacked_bytes
from essnet.downloads.records import FOLDER
from essnet.progress import Progress

_BLOCK = 1 << 20
_NO_PLACE = frozenset({errno.EISDIR, errno.ENOTDIR, errno.EEXIST, errno.ENAMETOOLONG, errno.EILSEQ, errno.EINVAL})
"""What the system says of a path where no file can be: too long, or a file where a folder should be, and vice versa."""


def unpack(archive: Archive, path: Path, *, root: Path, staging: Path, progress: Progress) -> dict[str, int]:
    """Unpack `path` below `root`, as `archive` says, and return the size in bytes of each file, by its path in `root`.

    The files are written into `staging` and moved, one by one, when all are there and whole; those that are in their
    places already are replaced. A folder below `root` may be a link to another disk. A crash leaves the folder behind,
    or some of the files unmoved: the next call begins anew.

    Raises
    ------
    DownloadFailed
        If the archive is damaged or not to be trusted, or the disk is full; then `root` is as it was before. If a file
        cannot be put in its place: then those before it are in theirs.
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
        for name in sizes:
            _put(staging / name, root / name, kept=f"{path} is kept")
    except BaseException:  # Ctrl-C too
        shutil.rmtree(staging, ignore_errors=True)  # what it holds is of no use, and room may be what is missing
        raise
    shutil.rmtree(staging)
    return sizes


def _put(source: Path, target: Path, *, kept: str) -> None:
    try:
        with told_when_full(target, kept=kept):
            target.parent.mkdir(parents=True, exist_ok=True)
            try:
                source.replace(target)
            except OSError as error:
                if error.errno != errno.EXDEV:
                    raise
                write_atomically(target, lambda temporary: _copy(source, temporary))  # a linked folder on another disk
    except OSError as error:
        raise DownloadFailed(
            f"{target}: no file can be put there ({error.strerror}); {kept}; move away what is in its place, and run "
            "the same command again"
        ) from error


def _copy(source: Path, target: Path) -> None:
    with source.open("rb") as read, target.open("wb") as written:
        shutil.copyfileobj(read, written, _BLOCK)
        written.flush()
        os.fsync(written.fileno())  # the name must not be there before the bytes are


def _write_all(archive: Archive, path: Path, staging: Path, tell: Callable[[int], None]) -> dict[str, int]:
    sizes: dict[str, int] = {}
    done = 0
    for member in members_of(path):
        name = _place(archive, path, member)
        try:
            _write(staging / name, member)
        except OSError as error:
            if error.errno not in _NO_PLACE:
                raise
            raise refused(path, str(member.path), f"cannot be laid out ({error.strerror})") from error
        sizes[name] = member.size
        done += member.size
        tell(done)
    if not sizes:
        raise DamagedArchive(f"{path}: holds no file")
    return sizes


def _place(archive: Archive, path: Path, member: Member) -> str:
    """Return where a member belongs, below the root."""
    own = _without(member.path, archive.without)
    if not own.parts:
        raise refused(path, str(member.path), "has no name of its own")
    place = Path(os.path.normpath(Path(archive.into, own)))
    if place.parts[0] == FOLDER:
        raise refused(path, str(member.path), f"belongs into {FOLDER}/, where the archives themselves are kept")
    return str(place)


def _without(path: PurePosixPath, folder: str) -> PurePosixPath:
    return path.relative_to(folder) if folder and path.is_relative_to(folder) else path


def _write(target: Path, member: Member) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    with target.open("wb") as file:
        shutil.copyfileobj(member.content, file, _BLOCK)
        if file.tell() != member.size:
            raise DamagedArchive(f"{member.path}: has {file.tell():,} bytes in the archive, not {member.size:,}")
