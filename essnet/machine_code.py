"""Kernels compiled by numba: how they are compiled, and where their machine code is kept."""

from __future__ import annotations

import functools
import hashlib
import inspect
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from numba import config, njit

_USERS_FOLDER = Path("~/.cache/essnet")


def compiled(function: Callable[..., Any], **options: Any) -> Any:
    """Compile for this processor at the first call, without Python's lock, and keep the machine code on disk.

    `options` are those of numba's njit. Where no folder can be written, every process compiles for itself.
    """
    folder = _folder_for(Path(inspect.getfile(function)).parent)
    if folder is None:
        return njit(nogil=True, **options)(function)
    settings: Any = config
    before, settings.CACHE_DIR = settings.CACHE_DIR, str(folder)
    try:
        return njit(nogil=True, cache=True, **options)(function)
    finally:
        settings.CACHE_DIR = before


@functools.cache
def _folder_for(package: Path) -> Path | None:
    """Return a writable folder named after a package's sources; None where there is none.

    numba itself notices only changes of the file that a kernel is in, not of those whose functions it calls.
    """
    sources = sorted(package.glob("*.py"))
    digest = hashlib.sha256(b"".join(source.read_bytes() for source in sources)).hexdigest()[:16]
    for parent in (package / "__pycache__", _USERS_FOLDER.expanduser()):
        folder = parent / f"kernels-{digest}"
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError:
            continue
        if os.access(folder, os.W_OK):
            return folder
    return None
