"""What is known of a published archive, and the error of a download."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


class DownloadFailed(Exception):
    """A download ended without its data set: the message is one line that says what is kept and what to do."""


@dataclass(frozen=True)
class Checksum:
    """A published checksum of an archive."""

    algorithm: Literal["sha256", "sha1", "md5"]
    digest: str


@dataclass(frozen=True, kw_only=True)
class Archive:
    """One zip or tar file of a data set, and where its members belong."""

    address: str
    size: int | None = None
    """In bytes; None where nobody has published it: then what the server says counts."""
    about: int = 0
    """In bytes, rounded: what a page says of an archive without known size."""
    checksum: Checksum | None = None
    into: str = "."
    """Folder below the data set's root that the members are put into."""
    without: str = ""
    """Folder that all members lie in and that is left out, such as VOCdevkit."""

    @property
    def name(self) -> str:
        """The file's name."""
        return self.address.rpartition("/")[2]

    @property
    def planned_bytes(self) -> int:
        """Bytes to plan with: the size, or about that; 0 where neither is known."""
        return self.about if self.size is None else self.size


def readable(count: int) -> str:
    """Return a number of bytes as people read it: 815585330 is 777.8 MiB."""
    value = float(count)
    for unit in ("bytes", "KiB", "MiB"):
        if value < 1024:
            return f"{value:.0f} {unit}" if unit == "bytes" else f"{value:.1f} {unit}"
        value /= 1024
    return f"{value:.1f} GiB"
