"""Where a run goes: a folder of its name, or of its name and a number, which one process at a time writes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from essnet.config.errors import InputError
from essnet.file_lock import HeldByOther, hold


def free_folder(root: Path, name: str) -> Path:
    """Return `root/name`, or the first of `root/name-2`, `root/name-3`, ... that is not there yet."""
    return _folders(root, name)[-1]


def newest_folder(root: Path, name: str) -> Path | None:
    """Return the newest of the folders that `free_folder` gave out and somebody made; None where there is none."""
    made = _folders(root, name)[:-1]
    return made[-1] if made else None


@contextmanager
def held_folder(directory: Path, *, new: bool) -> Iterator[None]:
    """Hold a run's folder for this process, and make it first where the run is `new`.

    Raises
    ------
    InputError
        If another process holds it, or has just made it.
    """
    try:
        directory.mkdir(parents=True, exist_ok=not new)
    except FileExistsError:
        raise InputError(
            f"{directory}: another process has just begun a run of this name; the same command again begins the next"
        ) from None
    try:
        with hold(directory / "lock"):
            yield
    except HeldByOther as error:
        raise InputError(
            f"{directory}: process {error} is training this run; wait for its end, or interrupt it, before --resume"
        ) from None


def _folders(root: Path, name: str) -> list[Path]:
    folders = [root / name]
    while folders[-1].exists():
        folders.append(root / f"{name}-{len(folders) + 1}")
    return folders
