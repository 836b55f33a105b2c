"""What a node of a cluster has: found out by a process there, with no more than Python itself where it can be."""

from __future__ import annotations

import hashlib
import importlib.metadata
import os
import shutil
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import essnet
from essnet.file_lock import holder

COMPARED_PACKAGES = ("torch", "ray", "mlflow")
LOCK_FILE, DRIVER_FILE = "lock", "driver"
"""What the driver makes in the folder with which the output folder is probed."""
ABSENT, NOT_LOCKED = "absent", "not locked"
"""What may be wrong with that folder on another node, beside what the system says."""

BROKEN = "error"
"""Key of what came up in place of a fact."""

_CGROUP = Path("/sys/fs/cgroup")


def look_around(
    *, probe: str, node_id: str, paths: Sequence[str], tracking_uri: str | None, storage: tuple[str, str] | None = None
) -> dict[str, Any]:
    """Return what this machine has, as plain values: those of another version of essnet are understood too.

    Parameters
    ----------
    probe
        The folder that `probe_folder` made.
    node_id
        This node's; a file of that name is left in `probe`.
    paths
        Of files and folders that trials read.
    tracking_uri
        Address of the tracking server; None: there is none to ask.
    storage
        Its address, and the folder in it that `probe_storage` made; None: nodes share the output folder instead.
    """
    facts: dict[str, Callable[[], Any]] = {
        "versions": versions,
        **(
            {"output": lambda: visit(probe=probe, node_id=node_id)}
            if storage is None
            else {"storage": lambda: visit_storage(storage=storage, node_id=node_id)}
        ),
        "disk": lambda: {path: shutil.disk_usage(path).free for path in _disks(Path(probe))},
        "memory": _free_memory,
        "gpus": _seen_gpus,
    }
    if paths:
        facts["data"] = lambda: {path: unreadable(Path(path)) for path in paths}
    if tracking_uri is not None:
        facts["tracking"] = lambda: _ask_tracking(tracking_uri)
    found: dict[str, Any] = {}
    for name, fact in facts.items():
        try:
            found[name] = fact()
        except Exception as error:  # an installation is broken in any way; the other facts still tell
            found[name] = {BROKEN: f"{type(error).__name__}: {error}"}
    return found


def versions() -> dict[str, str]:
    """Return the versions of essnet, with a mark of its very code, and of the packages that have to agree."""
    found = {"essnet": f"{essnet.__version__}+{_code_mark()}"}
    for package in COMPARED_PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            found[package] = "none"
    return found


def visit(*, probe: str, node_id: str) -> str | None:
    """Leave a file in the folder that the driver made; return what is wrong with the folder here, or None."""
    folder = Path(probe)
    if not (folder / DRIVER_FILE).is_file():
        return ABSENT
    if holder(folder / LOCK_FILE) is None:
        return NOT_LOCKED
    try:
        (folder / node_id).touch()
    except OSError as error:
        return error.strerror or str(error)
    return None


def visit_storage(*, storage: tuple[str, str], node_id: str) -> str | None:
    """Leave a file in the folder of a storage that the driver made; return what is wrong with it here, or None."""
    from essnet.sweep.storage import Storage, StorageError

    address, folder = storage
    try:
        there = Storage(address)
        there.read(f"{folder}/{DRIVER_FILE}")
        there.write(f"{folder}/{node_id}", b"")
    except FileNotFoundError:
        return ABSENT
    except StorageError as error:
        return str(error)
    return None


def unreadable(path: Path) -> str | None:
    """Return why a file or folder cannot be read here, or None; an empty folder is a mount that failed."""
    try:
        if path.is_dir():
            return None if os.listdir(path) else "is empty"
        path.open("rb").close()
    except OSError as error:
        return error.strerror or str(error)
    return None


def _code_mark() -> str:
    root = Path(essnet.__file__).parent
    mark = hashlib.sha256()
    for path in sorted(root.rglob("*.py")):
        mark.update(str(path.relative_to(root)).encode())
        mark.update(path.read_bytes())
    return mark.hexdigest()[:8]


def _disks(probe: Path) -> list[str]:
    """Return a folder on the disk of the output, if it is here, and on the one where Ray unpacks and spills."""
    return [*([str(probe.parent)] if probe.is_dir() else []), tempfile.gettempdir()]


def _ask_tracking(uri: str) -> str | None:
    from essnet.tracking.reachable import unreachable

    return unreachable(uri)


def _free_memory() -> int:
    """Return the bytes that a new process can have, of the machine and, in a container, of what it was given."""
    free = 1024 * _numbers(Path("/proc/meminfo"))["MemAvailable:"]
    limit = _CGROUP / "memory.max"
    if limit.is_file() and (text := limit.read_text().strip()).isdecimal():
        droppable = _numbers(_CGROUP / "memory.stat")["inactive_file"]
        free = min(free, int(text) - int((_CGROUP / "memory.current").read_text()) + droppable)
    return max(free, 0)


def _numbers(path: Path) -> dict[str, int]:
    """Read lines of a name and a number."""
    return {fields[0]: int(fields[1]) for fields in map(str.split, path.read_text().splitlines())}


def _seen_gpus() -> int:
    import torch

    return torch.cuda.device_count() if torch.cuda.is_available() else 0
