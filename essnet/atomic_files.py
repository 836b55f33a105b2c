"""Small files, and folders of them, that a reader sees whole or not at all."""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from essnet.config.errors import InputError

Kind = TypeVar("Kind")

if TYPE_CHECKING:  # every command reads this file, few of them a picture
    from PIL.Image import Image


_DISK_REFUSES = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO)


def temporary_path(path: Path) -> Path:
    """Return where this process keeps a file beside `path` until it is whole."""
    return path.with_name(f".{path.name}.{os.getpid()}.partial")


def write_atomically(path: Path, write: Callable[[Path], object]) -> None:
    """Let `write` fill a temporary file beside `path`, then put it in its place.

    Raises
    ------
    OSError
        If the disk refuses, naming `path`; what was there stays.
    """
    temporary = temporary_path(path)
    try:
        with naming(path):
            write(temporary)
            temporary.replace(path)
    except BaseException:
        with suppress(OSError):  # it is not there, or the disk has become read-only
            temporary.unlink()
        raise


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Let an error of a disk that is full, read-only or broken name `path`: a write does not know its file's name."""
    try:
        yield
    except OSError as error:
        if error.errno not in _DISK_REFUSES:
            raise
        raise OSError(error.errno, error.strerror, str(path)) from error


def sync_to_disk(path: Path) -> None:
    """Have a file's content, or a folder's names, outlive a loss of power."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def replace_folder(folder: Path, fill: Callable[[Path], object]) -> None:
    """Let `fill` write the files of a folder under another name, then put it in the place of the one that is there.

    Between the two there is none for a moment.
    """
    temporary, old = (folder.with_name(f".{folder.name}.{end}") for end in ("partial", "removed"))
    for leftover in (temporary, old):  # of a process that was killed
        shutil.rmtree(leftover, ignore_errors=True)
    temporary.mkdir(parents=True)
    try:
        fill(temporary)
        if folder.exists():
            folder.rename(old)
        temporary.rename(folder)
    finally:
        for leftover in (temporary, old):
            shutil.rmtree(leftover, ignore_errors=True)


def write_json(path: Path, content: object) -> None:
    """Write JSON atomically, making the folder where it is missing; a loss of power leaves the old or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(content, indent=2) + "\n"

    def write(temporary: Path) -> None:
        temporary.write_text(text, encoding="utf-8")
        sync_to_disk(temporary)

    write_atomically(path, write)


def write_png(path: Path, picture: Image, *, quickly: bool = False) -> None:
    """Write a picture atomically, making the folder where it is missing.

    `quickly` is for photographs: a third of the time, for files that are a few per cent larger.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    level = 1 if quickly else 6
    write_atomically(path, lambda temporary: picture.save(temporary, format="png", compress_level=level))


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON file that holds an object; an empty one where there is none. Raises InputError if it is damaged."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (ValueError, RecursionError):
        raise InputError(f"{path}: damaged; expected JSON") from None
    if not isinstance(content, dict):
        raise InputError(f"{path}: damaged; expected a JSON object")
    return content


def read_json_as(path: Path, kind: TypeAdapter[Kind], *, what: str) -> Kind:
    """Read a JSON file as what it ought to be; raises InputError, which says `what`, if it is something else."""
    try:
        return kind.validate_python(read_json(path))
    except ValidationError as error:
        key = ".".join(map(str, error.errors()[0]["loc"]))
        raise InputError(f"{path}: damaged; expected {what} ({key})") from None
