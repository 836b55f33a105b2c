"""The beginning of a file that is still being downloaded, and what a server must say for it to be continued."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import requests

from essnet.atomic_files import read_json, write_json
from essnet.config.errors import InputError
from essnet.downloads.archive import Archive

_BLOCK = 1 << 20


def new_hash(archive: Archive) -> Any:
    """Return an empty checksum of the kind that is published for `archive`."""
    return hashlib.new(archive.checksum.algorithm if archive.checksum else "sha256", usedforsecurity=False)


class PartialFile:
    """`<name>.part`, the checksum of what is in it so far, and `<name>.part.json` with the server's mark of the file.

    The mark (a strong ETag, else the date of the last change) goes with every request to continue, so that a file
    which has changed in between is sent anew instead of being glued to the old beginning.
    """

    def __init__(self, archive: Archive, path: Path) -> None:
        self._archive = archive
        self.path = path.with_name(path.name + ".part")
        self._notes_path = path.with_name(path.name + ".part.json")
        self._notes = self._read_notes()
        self._hash = self._new_hash()
        self.counted = 0
        """Bytes that the checksum covers."""
        self._doubted = False

    @property
    def size(self) -> int:
        """Bytes that are there."""
        return self.path.stat().st_size if self.path.exists() else 0

    @property
    def total(self) -> int | None:
        """Bytes of the whole file, as the server said."""
        return self._notes.get("total")

    @property
    def mark(self) -> str | None:
        """What the server must still say of the file; None where it cannot be continued."""
        return self._notes.get("mark") if self.size and not self._doubted else None

    def doubt(self) -> None:
        """Ask for the whole file next; what is there stays until it is sent."""
        self._doubted = True

    def begin(self, response: requests.Response, total: int | None) -> None:
        """Forget what is there and note what the server says of the file that it now sends from its first byte."""
        mark = response.headers.get("ETag", "")
        if not mark or mark.startswith("W/"):  # a weak one does not promise the same bytes
            mark = response.headers.get("Last-Modified", "")
        self.path.open("wb").close()  # first, so that the old bytes never lie beside the new mark
        self._notes = {"address": self._archive.address, "mark": mark or None, "total": total}
        write_json(self._notes_path, self._notes)
        self._hash, self.counted = self._new_hash(), 0
        self._doubted = False

    def read_again(self, tell: Callable[[int], object]) -> None:
        """Bring the checksum up to what is on disk: after a restart it has to be read once."""
        if self.counted != self.size:
            self._hash, self.counted = self._new_hash(), 0
            with self.path.open("rb") as file:
                while block := file.read(_BLOCK):
                    self.count(block)
                    tell(self.counted)

    def count(self, block: bytes) -> None:
        """Take a block that was written into the checksum."""
        self._hash.update(block)
        self.counted += len(block)

    def digest(self) -> str:
        """The checksum of what is there, of the kind that is published for the archive."""
        return str(self._hash.hexdigest())

    def finish(self, path: Path) -> None:
        """Give the file its name."""
        self.path.replace(path)
        self._notes_path.unlink(missing_ok=True)

    def _new_hash(self) -> Any:
        return new_hash(self._archive)

    def _read_notes(self) -> dict[str, Any]:
        with suppress(InputError):
            notes = read_json(self._notes_path)
            if isinstance(notes, dict) and notes.get("address") == self._archive.address:
                return notes
        return {}
