"""Where a run goes: a folder of its name, or of its name and a number."""

from __future__ import annotations

from pathlib import Path


def free_folder(root: Path, name: str) -> Path:
    """Return `root/name`, or the first of `root/name-2`, `root/name-3`, ... that is not there yet."""
    return _folders(root, name)[-1]


def newest_folder(root: Path, name: str) -> Path | None:
    """Return the newest of the folders that `free_folder` gave out and somebody made; None where there is none."""
    made = _folders(root, name)[:-1]
    return made[-1] if made else None


def _folders(root: Path, name: str) -> list[Path]:
    folders = [root / name]
    while folders[-1].exists():
        folders.append(root / f"{name}-{len(folders) + 1}")
    return folders
