"""Root held to the permissions of files, as everybody else is."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Result = TypeVar("Result")

_VERSION_3 = 0x20080522
_OVERRIDES = 1 << 1 | 1 << 2
"""CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH: to read and write what permissions forbid."""


def bound_by_permissions(function: Callable[[], Result]) -> Result:
    """Call a function in a thread that may not overlook permissions; of all users only Linux's root may."""
    if os.geteuid() != 0:
        return function()
    with ThreadPoolExecutor(1, initializer=_give_up_rights) as thread:
        return thread.submit(function).result()


def _give_up_rights() -> None:
    """Give up the rights of this thread, for good: `os.access` looks at those that it could take back."""
    libc = ctypes.CDLL(None, use_errno=True)
    header = (ctypes.c_uint32 * 2)(_VERSION_3, 0)
    rights = (ctypes.c_uint32 * 6)()  # effective, permitted, inheritable; twice, for the rights from 32 on
    assert libc.capget(header, rights) == 0
    for place in (0, 1):
        rights[place] &= ~_OVERRIDES
    assert libc.capset(header, rights) == 0
