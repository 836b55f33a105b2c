"""Files at an address that every node reaches: a bucket of an S3 server, or a folder on a shared file system.

By pyarrow's file systems, as Ray's own storage has them. Keys, endpoint and region of an S3 server come from the
environment of the process (`AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`, `AWS_ENDPOINT_URL`, `AWS_REGION`, ...), or
from wherever else Amazon's library looks for them.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from secrets import token_hex
from typing import TypeVar

from pyarrow import fs

from essnet.config.sweep import S3_SCHEME

_CONNECT_SECONDS = 5.0
_ANSWER_SECONDS = 30.0
_BLOCK = 8 << 20
"""Bytes that are sent at a time."""


_PATIENCE_SECONDS = 60.0
_PAUSE_SECONDS = 1.0

_Answer = TypeVar("_Answer")


class StorageError(Exception):
    """The storage does not answer, or refuses; one line, which names it."""


def insist(action: Callable[[], _Answer]) -> _Answer:
    """Return what `action` does, which is tried again for a minute if it raises StorageError: servers pause."""
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while True:
        try:
            return action()
        except StorageError:
            if time.monotonic() > deadline:
                raise
            time.sleep(_PAUSE_SECONDS)


class Storage:
    """Reads and writes whole files by key, such as `textures/trials/003/snapshot`.

    Every method raises StorageError where the storage does not do what it should.

    Parameters
    ----------
    address
        A sweep's `storage`.
    """

    def __init__(self, address: str) -> None:
        self.address = address
        root = address
        files: fs.FileSystem = fs.LocalFileSystem()
        if address.startswith(S3_SCHEME):
            root = address.removeprefix(S3_SCHEME)
            files = fs.S3FileSystem(
                # Amazon's C++ library does not look for it by itself.
                endpoint_override=os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL"),
                connect_timeout=_CONNECT_SECONDS,
                request_timeout=_ANSWER_SECONDS,
            )
        self._is_local = isinstance(files, fs.LocalFileSystem)
        self._files = fs.SubTreeFileSystem(root, files)

    def names(self, folder: str) -> list[str]:
        """Return the names of the files in a folder, sorted; none where there is no such folder."""
        with self._telling():
            found = self._files.get_file_info(fs.FileSelector(folder, allow_not_found=True))
        return sorted(one.base_name for one in found if one.type == fs.FileType.File)

    def read(self, key: str) -> bytes:
        """Return a file's content; raises FileNotFoundError where there is none."""
        with self._telling(), self._files.open_input_stream(key) as stream:
            return bytes(stream.read())

    def download(self, key: str, path: Path) -> None:
        """Copy a file to `path`; raises FileNotFoundError where there is none."""
        with self._telling(), self._files.open_input_stream(key) as stream, path.open("wb") as file:
            shutil.copyfileobj(stream, file, _BLOCK)

    def write(self, key: str, content: bytes) -> None:
        """Write a file."""
        with self._telling():
            self._make_parent(key)
            with self._files.open_output_stream(key) as stream:
                stream.write(content)

    def upload(self, path: Path, key: str) -> None:
        """Copy a file from `path`."""
        with path.open("rb") as file, self._telling():
            self._make_parent(key)
            with self._files.open_output_stream(key) as stream:
                shutil.copyfileobj(file, stream, _BLOCK)

    def remove(self, keys: Iterable[str]) -> None:
        """Remove files; those that are not there are none the less gone."""
        for key in keys:
            with self._telling():
                try:
                    self._files.delete_file(key)
                except FileNotFoundError:
                    continue

    def remove_folder(self, folder: str) -> None:
        """Remove what a file system, unlike a bucket, keeps of a folder whose files are gone."""
        with self._telling():
            self._files.delete_dir(folder)

    def check(self) -> None:
        """Write, read and remove a small file."""
        key = f".essnet-probe-{token_hex(8)}"
        self.write(key, key.encode())
        try:
            if self.read(key) != key.encode():
                raise StorageError(f"storage: {self.address}: gives back something else than what was written")
        finally:
            self.remove([key])

    def _make_parent(self, key: str) -> None:
        if self._is_local:  # S3 has no folders
            self._files.create_dir(str(Path(key).parent), recursive=True)

    @contextmanager
    def _telling(self) -> Iterator[None]:
        try:
            yield
        except FileNotFoundError:
            raise
        except OSError as error:
            raise StorageError(f"storage: {self.address}: {_reason(error)}") from error


def _reason(error: OSError) -> str:
    """Return what Amazon's library says, without what it says around it."""
    text = " ".join(str(error).split())
    _, amazon, reason = text.partition("AWS Error ")
    return (reason.partition("; Details:")[0].partition(" (Request ID")[0] if amazon else text)[:300]
