"""What a program asks of the file system below a folder: watched call by call, or refused from one call on.

Python tells of such calls before they are made, whichever module makes them (audit events). Libraries that are not
written in Python do not say when they write; what they wrote is seen at the next call.
"""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Call:
    """A call that is about to be made: `open` for writing, `mkdir`, `rename`, `symlink`, `remove` or `rmdir`."""

    kind: str
    path: Path
    other: Path | None = None
    """Of `rename` the new name, of `symlink` the target as it stands in the link."""


_listener: Callable[[Call], None] | None = None
_hooked = False


@contextmanager
def calls_told_to(listener: Callable[[Call], None]) -> Iterator[None]:
    """Tell of each call before it is made, while the block runs; what the listener raises, the caller gets."""
    global _listener, _hooked
    if not _hooked:
        sys.addaudithook(_hear)  # for as long as the process lives
        _hooked = True
    _listener = listener
    try:
        yield
    finally:
        _listener = None


@contextmanager
def refused_from(number: int, below: Path, *, reason: int = errno.ENOSPC) -> Iterator[list[Call]]:
    """Refuse all calls below a folder from call `number` on, the first being 0; yields those that were refused.

    A full disk (ENOSPC) refuses what makes a file or a name, one that may only be read (EROFS) all.
    """
    refused: list[Call] = []
    seen = 0

    def listen(call: Call) -> None:
        nonlocal seen
        if not call.path.is_relative_to(below) or (reason == errno.ENOSPC and call.kind in ("remove", "rmdir")):
            return
        seen += 1
        if seen > number:
            refused.append(call)
            raise OSError(reason, os.strerror(reason), str(call.path))

    with calls_told_to(listen):
        yield refused


def _hear(event: str, arguments: tuple[Any, ...]) -> None:
    if _listener is not None and (call := _call_of(event, arguments)) is not None:
        _listener(call)


def _call_of(event: str, arguments: tuple[Any, ...]) -> Call | None:
    if event == "open":
        path, _, flags = arguments
        writes = isinstance(flags, int) and flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
        return Call("open", _absolute(path)) if writes and not isinstance(path, int) else None
    if event == "os.rename":
        return Call("rename", _absolute(arguments[0]), _absolute(arguments[1]))
    if event == "os.symlink":
        return Call("symlink", _absolute(arguments[1]), Path(os.fsdecode(arguments[0])))
    if event in ("os.mkdir", "os.remove", "os.rmdir"):
        return Call(event.removeprefix("os."), _absolute(arguments[0], folder=arguments[-1]))
    return None


def _absolute(path: Any, *, folder: int = -1) -> Path:
    """A path, which may be relative to an open folder: shutil.rmtree's are."""
    name = os.fsdecode(path)
    if folder != -1 and not os.path.isabs(name):
        with suppress(OSError):
            name = os.path.join(os.readlink(f"/proc/self/fd/{folder}"), name)
    return Path(os.path.abspath(name))
