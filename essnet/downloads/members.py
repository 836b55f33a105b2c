"""What is in a zip or tar file, one file after the other; nothing that could reach beyond the folder it goes to."""

from __future__ import annotations

import errno
import gzip
import lzma
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO

from essnet.downloads.archive import DownloadFailed, readable

_MOST_TIMES = 200
"""Annotations shrink to a fifth, a picture not at all; a bomb to a thousandth and less."""
_ALWAYS_ALLOWED = 1 << 20
_DAMAGED = (
    zipfile.BadZipFile,
    tarfile.TarError,
    zlib.error,
    lzma.LZMAError,
    EOFError,
    gzip.BadGzipFile,
    NotImplementedError,
    UnicodeError,
    IndexError,  # zipfile, of a member without a name
)
_ENCRYPTED = 0x1
_ZIP, _GZIP = b"PK", b"\x1f\x8b"
_BLOCK = 1 << 20


class DamagedArchive(DownloadFailed):
    """The archive cannot be read, or holds what no published data set holds."""


@dataclass(frozen=True)
class Member:
    """A file in an archive."""

    path: PurePosixPath
    size: int
    content: IO[bytes]
    """To be read before the next member is asked for."""


def members_of(archive: Path) -> Iterator[Member]:
    """Go through the files in a zip, tar or gzipped tar; their checksums are checked as they are read.

    To be used within `damage_told`. Raises DamagedArchive if a name leads outside, a member is a link or a device, or
    it unpacks to far more than its own size.
    """
    return _zip_members(archive) if _begins(archive, _ZIP) else _tar_members(archive)


def unpacked_bytes(archive: Path) -> int | None:
    """Bytes that an archive unpacks to; None for a gzipped tar, which does not say.

    To be used within `damage_told`. Raises DamagedArchive if they are far more than the archive's own size.
    """
    if _begins(archive, _GZIP):
        return None
    if not _begins(archive, _ZIP):
        return archive.stat().st_size
    with zipfile.ZipFile(archive) as opened:
        total = sum(info.file_size for info in opened.infolist())
    _check_bomb(archive, total)
    return total


@contextmanager
def damage_told(archive: Path) -> Iterator[None]:
    """Turn what the decoders raise on a damaged archive into DamagedArchive."""
    try:
        yield
    except _DAMAGED as error:
        raise _damaged(archive, error) from error
    except OSError as error:
        # bz2 tells damage without a number, and the system calls a place before a zip file's beginning invalid. The
        # others are about the disk.
        if error.errno not in (None, errno.EINVAL):
            raise
        raise _damaged(archive, error) from error


def _zip_members(archive: Path) -> Iterator[Member]:
    done = 0
    with zipfile.ZipFile(archive) as opened:
        for info in opened.infolist():
            path = _safe(archive, info.filename)
            kind = stat.S_IFMT(info.external_attr >> 16)
            if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
                raise refused(archive, info.filename, "is a link or a device")
            if info.flag_bits & _ENCRYPTED:
                raise refused(archive, info.filename, "is encrypted")
            if not info.is_dir():
                done += info.file_size
                _check_bomb(archive, done)
                with opened.open(info) as content:
                    yield Member(path, info.file_size, content)


def _tar_members(archive: Path) -> Iterator[Member]:
    done = 0
    with archive.open("rb") as file:
        stream = gzip.GzipFile(fileobj=file) if _begins(archive, _GZIP) else file
        with tarfile.open(fileobj=stream, mode="r|") as opened:
            for info in opened:
                path = _safe(archive, info.name)
                if info.isdir():
                    continue
                content = opened.extractfile(info) if info.isreg() else None
                if content is None:
                    raise refused(archive, info.name, "is a link or a device")
                done += info.size
                _check_bomb(archive, done)
                yield Member(path, info.size, content)
            while stream.read(_BLOCK):  # up to gzip's checksum, behind the last member
                pass


def _begins(archive: Path, mark: bytes) -> bool:
    with archive.open("rb") as file:
        return file.read(len(mark)) == mark


def _safe(archive: Path, name: str) -> PurePosixPath:
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or "\\" in name or "\0" in name:
        raise refused(archive, name, "leads outside the folder")
    return path


def _check_bomb(archive: Path, size: int) -> None:
    own = archive.stat().st_size
    if size > max(_MOST_TIMES * own, _ALWAYS_ALLOWED):
        raise DamagedArchive(
            f"{archive}: has {readable(own)} and unpacks to {readable(size)} and more; no data set does that"
        )


def _damaged(archive: Path, error: Exception) -> DamagedArchive:
    return DamagedArchive(f"{archive}: is damaged ({' '.join(str(error).split()) or type(error).__name__})")


def refused(archive: Path, name: str, why: str) -> DamagedArchive:
    """Return the error that says of a member why it is not unpacked."""
    return DamagedArchive(f"{archive}: its member {name[:200]!r} {why}; nothing of it is unpacked")
