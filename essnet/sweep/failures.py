"""Kinds of failures of a trial, and which are worth another try."""

from __future__ import annotations

import torch
from ray.exceptions import OutOfMemoryError

from essnet.config.errors import InputError, first_line
from essnet.file_lock import HeldByOther
from essnet.sweep.snapshot_writer import TakenOver
from essnet.sweep.storage import StorageError
from essnet.training.loss_watch import NonFiniteLossError

BAD_INPUT = "bad_input"
"""Data, weights or a setting are not as they should be: it would come again."""
NON_FINITE = "non_finite"
"""The loss became NaN or infinite: it would come again, as a trial repeats itself to the digit."""
OUT_OF_MEMORY = "out_of_memory"
"""Once more, with a device for itself: it may have been its neighbours."""
CRASH = "crash"
"""Anything else that was raised in the trial; `failure.max_retries` times more."""
LOST_WORKER = "lost_worker"
"""The trial's process or its node is gone; `failure.max_retries` times more."""

_CPU_ALLOCATOR = ("can't allocate memory", "not enough memory")
"""What torch's allocators on a CPU say in a plain RuntimeError."""


def failure_kind(error: Exception) -> str:
    """Return the kind of an error that a trial raised."""
    if isinstance(error, InputError):
        return BAD_INPUT
    if isinstance(error, NonFiniteLossError):
        return NON_FINITE
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return OUT_OF_MEMORY
    if isinstance(error, RuntimeError) and any(words in str(error) for words in _CPU_ALLOCATOR):
        return OUT_OF_MEMORY
    return CRASH


def in_a_line(error: Exception) -> str:
    """Return what the error says, in one line."""
    if isinstance(error, HeldByOther):
        return f"process {error} holds the trial's folder still"
    if isinstance(error, InputError | NonFiniteLossError | StorageError | TakenOver):
        return str(error)
    # The message of many an error means nothing without its kind.
    return f"{type(error).__name__}: {first_line(error)}" if str(error) else type(error).__name__


def lost_worker(error: Exception) -> dict[str, str]:
    """Return the failure of a trial whose process is gone, from what Ray says of it."""
    if "low on memory" in str(error) or isinstance(error, OutOfMemoryError):
        return {"kind": OUT_OF_MEMORY, "message": "the node ran low on memory, and Ray ended the trial's process"}
    cause = getattr(error, "cause", error)  # Ray wraps what a worker raised
    if isinstance(cause, StorageError | TakenOver | HeldByOther | OSError):  # it could not say so in its folder
        return {"kind": CRASH, "message": in_a_line(cause)}
    return {"kind": LOST_WORKER, "message": "the worker process died"}
