"""How much of the machine a command and its processes take at a moment. Linux only."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from benchmarks.sessions import Session

_MIB = 2**20


class Watch:
    """The largest of each figure that was seen so far.

    Parameters
    ----------
    session
        All processes of a command.
    driver
        The id of the command's own process.
    """

    def __init__(self, session: Session, driver: int) -> None:
        self._session = session
        self._driver = driver
        self.largest = dict.fromkeys(
            ("driver_mib", "driver_descriptors", "driver_threads", "worker_mib", "worker_descriptors", "worker_threads",
             "processes", "descriptors", "threads"), 0.0,
        )  # fmt: skip

    def look(self) -> None:
        """Look at all processes once."""
        processes = self._session.processes()
        seen = {"processes": float(len(processes)), "descriptors": 0.0, "threads": 0.0}
        for process in processes:
            mib, threads, descriptors = _figures(process)
            seen["descriptors"] += descriptors
            seen["threads"] += threads
            kind = "driver" if process == self._driver else "worker" if _runs_trials(process) else None
            if kind is not None:
                for name, value in (("mib", mib), ("threads", threads), ("descriptors", descriptors)):
                    seen[f"{kind}_{name}"] = max(seen.get(f"{kind}_{name}", 0.0), value)
        self.largest = {name: max(value, seen.get(name, 0.0)) for name, value in self.largest.items()}


def folder_mib(path: Path) -> float:
    """Return the size of a file, or of all files below a folder, in MiB; 0 where there is none."""
    paths = path.rglob("*") if path.is_dir() else [path]
    size = 0
    for one in paths:
        with suppress(OSError):  # it went in the meantime
            size += one.lstat().st_size
    return size / _MIB


def shared_memory_mib() -> float:
    """Return how much of /dev/shm is in use, by whomever."""
    status = os.statvfs("/dev/shm")
    return (status.f_blocks - status.f_bfree) * status.f_frsize / _MIB


def _figures(process: int) -> tuple[float, float, float]:
    """Return a process's own memory in MiB, mapped files aside, its threads and open files; zeros where it is gone."""
    with suppress(OSError):
        lines = dict(
            line.split(":", 1) for line in Path(f"/proc/{process}/status").read_text().splitlines() if ":" in line
        )
        if "RssAnon" in lines:
            descriptors = len(os.listdir(f"/proc/{process}/fd"))
            return int(lines["RssAnon"].split()[0]) / 1024, float(lines["Threads"]), float(descriptors)
    return 0.0, 0.0, 0.0


def _runs_trials(process: int) -> bool:
    with suppress(OSError):
        title = Path(f"/proc/{process}/cmdline").read_bytes()
        return title.startswith(b"ray::") and not title.startswith(b"ray::IDLE")
    return False
