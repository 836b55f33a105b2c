"""Commands whose processes can all be found and killed, wherever they stand in the tree. Linux only.

Ray gives each worker a process group and a working directory of its own, and what a killed parent leaves behind gets
another parent; the environment stays.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

_VARIABLE = "ESSNET_BENCHMARK_SESSION"


def take_signals() -> None:
    """Let SIGTERM end this process as an exit does, so that the sessions that it started are ended too.

    Ctrl-C is heard by this process and what it starts, also from a shell's background job, which is begun without.
    """
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    signal.signal(signal.SIGINT, signal.default_int_handler)


@dataclass(frozen=True)
class Session:
    """A command and all processes that it started."""

    name: str
    """No other session ever has it."""

    def start(self, command: Sequence[str], *, folder: Path, log: Path) -> subprocess.Popen[bytes]:
        """Start the command in `folder`; what it prints is added to `log`, and Ctrl-C does not reach it."""
        with log.open("ab") as output:
            return subprocess.Popen(
                command,
                cwd=folder,
                env={**os.environ, _VARIABLE: self.name},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def processes(self) -> list[int]:
        """Return the ids of the processes that live."""
        wanted = f"{_VARIABLE}={self.name}".encode()
        found = [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdecimal()]
        # Of a dead one that nobody has waited for it is empty.
        return [process for process in found if wanted in _read(process, "environ").split(b"\0")]

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


def _name(process: int) -> str:
    return _read(process, "comm").decode(errors="replace").strip()


def _read(process: int, name: str) -> bytes:
    with suppress(OSError):
        return Path(f"/proc/{process}/{name}").read_bytes()
    return b""
