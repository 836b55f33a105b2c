"""Room on the disk: checked before it is needed, and told in numbers when it ends."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from essnet.config.errors import InputError
from essnet.downloads.archive import DownloadFailed, readable

_FULL = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the quota is used up",
    errno.EFBIG: "the file size is limited",
}


def free_bytes(folder: Path) -> int:
    """Bytes that are free where `folder` is or will be."""
    nearest = next(path for path in (folder, *folder.absolute().parents) if os.path.exists(path))
    return shutil.disk_usage(nearest).free


def check_room(folder: Path, needed: int, *, what: str) -> None:
    """Raise InputError, with both numbers, if fewer than `needed` bytes are free for `what` below `folder`."""
    free = free_bytes(folder)
    if free < needed:
        raise InputError(
            f"{folder}: {what} takes {readable(needed)} at least, and {readable(free)} are free; "
            f"free {readable(needed - free)} or choose another --root"
        )


@contextmanager
def told_when_full(file: Path, *, kept: str) -> Iterator[None]:
    """Turn a disk that is full into one line that says what is kept; other errors pass.

    Raises
    ------
    DownloadFailed
        If the system refuses to write further.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in _FULL:
            raise
        raise DownloadFailed(
            f"{file}: {_FULL[error.errno]}, {readable(free_bytes(file.parent))} are free; {kept}; make room and run "
            "the same command again"
        ) from error
