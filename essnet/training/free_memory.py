"""Whether a process keeps the memory that it has freed for its next allocations, or gives it back to the system."""

from __future__ import annotations

import ctypes
import gc
from contextlib import suppress

import torch

_TRIM_THRESHOLD, _MMAP_MAX = -1, -4
"""As glibc's malloc.h has them."""


def return_heap() -> None:
    """Return the free parts of the C library's heap, where it can (glibc).

    Tensors below 32 MiB lie in it, and it grows at its end only: what images of many sizes leave free in between is
    else kept for good: 0.9 GB of each trial on CamVid, in a worker that ran three.
    """
    with suppress(AttributeError, OSError):
        ctypes.CDLL(None).malloc_trim(0)


def keep_heap() -> None:
    """From now on keep what is freed in the C library's heap, large tensors too, where it can (glibc).

    Else each tensor from 32 MiB on is memory that the system clears first: half the time of prediction in batches on a
    CPU. For processes that do one thing and end.
    """
    with suppress(AttributeError, OSError):
        library = ctypes.CDLL(None)
        library.mallopt(_MMAP_MAX, 0)
        library.mallopt(_TRIM_THRESHOLD, 2**31 - 1)


def return_memory() -> None:
    """Return the heap and what torch keeps of a GPU, after a trial: others share the machine and the device."""
    gc.collect()
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]  # not yet run on a GPU
        torch.cuda.empty_cache()
    return_heap()
