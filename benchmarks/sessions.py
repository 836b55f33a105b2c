"""Commands that run in a session of their own, so that all their processes can be found and killed. Linux only.

Ray gives each worker a process group of its own, and what a killed parent leaves behind gets another parent; the
session stays the same. As numbers of processes are used again, a process also has to work below the command's folder.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Session:
    """The processes that a command started, itself included."""

    leader: int
    """Process id of the command."""
    folder: Path
    """Where it runs."""

    def processes(self) -> list[int]:
        """Return the ids of those that live."""
        found = [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdecimal()]
        return [process for process in found if self._has(process)]

    def named(self, name: str) -> list[int]:
        """Return the ids of those of one program, by the first 15 letters of its name."""
        return [process for process in self.processes() if _name(process) == name[:15]]

    def names(self) -> list[str]:
        """Return the names of those that live, at most 15 letters of each."""
        return [_name(process) for process in self.processes()]

    def kill_all(self) -> None:
        """End all of them as a power cut would: none has time to do anything about the end of another."""
        while living := self.processes():
            for number in (signal.SIGSTOP, signal.SIGKILL):
                for process in living:
                    with suppress(ProcessLookupError):
                        os.kill(process, number)
            time.sleep(0.05)

    def _has(self, process: int) -> bool:
        with suppress(OSError):
            # A dead one that nobody has waited for has no working directory.
            return os.getsid(process) == self.leader and Path(os.readlink(f"/proc/{process}/cwd")).is_relative_to(
                self.folder
            )
        return False


def start(command: Sequence[str], *, folder: Path, log: Path) -> subprocess.Popen[bytes]:
    """Start a command in `folder` and in a session of its own; what it prints is added to `log`."""
    with log.open("ab") as output:
        return subprocess.Popen(
            command,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def _name(process: int) -> str:
    with suppress(OSError):
        return Path(f"/proc/{process}/comm").read_text(encoding="utf-8", errors="replace").strip()
    return ""
