"""Runs a command that must not outlive the process that wants it, even if that is killed.

Started as a script, as the leader of a session: `python -I end_with_parent.py FOLDER COMMAND...`. Its standard input is
a pipe from the process that wants the command, and has nothing in it: it ends when that process lets go of it, or is no
more. Then the command ends, with all that it started, and the folder is removed. It imports nothing of ours.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
from contextlib import suppress

_END_SECONDS = 10.0
"""How long the command has to end by itself."""


def main() -> None:
    """Run the command, and exit with its code."""
    folder, *command = sys.argv[1:]
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # is for the others of the session
    parent_is_gone = threading.Event()
    ending = threading.Thread(target=_end_with_parent, args=(process, folder, parent_is_gone), daemon=True)
    ending.start()
    code = process.wait()
    if parent_is_gone.is_set():
        ending.join()  # kills this process as well
    sys.exit(code if code >= 0 else 128 - code)


def _end_with_parent(process: subprocess.Popen[bytes], folder: str, parent_is_gone: threading.Event) -> None:
    sys.stdin.buffer.read()
    parent_is_gone.set()
    os.killpg(0, signal.SIGTERM)
    with suppress(subprocess.TimeoutExpired):
        process.wait(_END_SECONDS)
    shutil.rmtree(folder, ignore_errors=True)
    os.killpg(0, signal.SIGKILL)  # what is left, and itself


if __name__ == "__main__":
    main()
