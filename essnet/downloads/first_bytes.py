"""How archives begin: what a server sends instead of one, such as JSON, is seen by its first bytes."""

from __future__ import annotations

from collections.abc import Iterator

BYTES_NEEDED = 512
"""That show what a file is: a tar file has its mark in the header of its first member, a block of 512."""

_ZIP = (0, b"PK", "zip")
_GZIP = (0, b"\x1f\x8b", "gzip")
_TAR = (257, b"ustar", "tar")
_MARKS = {".zip": _ZIP, ".gz": _GZIP, ".tgz": _GZIP, ".tar": _TAR}


def take_first(blocks: Iterator[bytes]) -> bytes:
    """Take blocks until there are BYTES_NEEDED, or no more come."""
    first = b""
    while len(first) < BYTES_NEEDED and (block := next(blocks, b"")):
        first += block
    return first


def unlike(name: str, first: bytes) -> str | None:
    """Say which kind of file `name` should be where its `first` bytes show that it is not; None where nothing does."""
    for ending, (offset, mark, kind) in _MARKS.items():
        if name.lower().endswith(ending) and first[offset : offset + len(mark)] != mark:
            return kind
    return None
