"""What was unpacked, so that it is neither downloaded nor unpacked twice."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

from essnet.atomic_files import read_json, write_json
from essnet.config.errors import InputError
from essnet.downloads.archive import Archive

FOLDER = "downloads"
"""Below the root: archives, their partial files, and what was noted of those that are unpacked."""


@dataclass(frozen=True, kw_only=True)
class Unpacked:
    """An archive that was unpacked to its end."""

    address: str
    bytes: int
    """Of the archive."""
    verified: str | None
    """A checksum's name, `size`, or None."""
    files: dict[str, int]
    """Size of each file that it held, by its path below the root."""


def write_record(folder: Path, archive: Archive, unpacked: Unpacked) -> None:
    """Note that `archive` is unpacked."""
    write_json(_path(folder, archive), asdict(unpacked))


def read_record(folder: Path, archive: Archive) -> Unpacked | None:
    """Return what was noted of `archive`; None if nothing was, or of another file."""
    try:
        record = Unpacked(**read_json(_path(folder, archive)))
    except (InputError, TypeError):
        return None
    same = record.address == archive.address and archive.size in (None, record.bytes)
    return record if same else None


def missing_files(unpacked: Unpacked, root: Path) -> list[str]:
    """Return the files that are not there any more, or not with their size."""
    missing = []
    for name, size in unpacked.files.items():
        try:
            if (root / name).stat().st_size == size:
                continue
        except OSError:
            pass
        missing.append(name)
    return missing


def _path(folder: Path, archive: Archive) -> Path:
    return folder / f"{archive.name}.json"
