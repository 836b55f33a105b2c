"""Where a trial runs, and how much memory it takes there."""

from __future__ import annotations

import json
import os
import resource
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import torch
from torch.profiler import ProfilerActivity, profile

from essnet.config import InputError

_MIB = 2**20


def resolve_device(name: str) -> torch.device:
    """Turn `trainer.device` into a device that is there.

    Raises
    ------
    InputError
        If a GPU is asked for that this machine does not have.
    """
    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if name == "auto":
        return torch.device("cuda" if gpus else "cpu")
    device = torch.device(name)
    if device.type == "cuda" and (device.index or 0) >= gpus:
        there = f"cuda:0 to cuda:{gpus - 1}" if gpus else "no GPU"
        raise InputError(f"trainer.device: found {name!r}, but torch sees {there}; take cpu or auto")
    return device


class PeakMemory:
    """Peak memory since construction: the device's allocations on a GPU, the process's resident set on a CPU."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
        else:
            _reset_peak_resident_set()

    def mib(self) -> float:
        """Return the peak in MiB."""
        if self._device.type == "cuda":
            return torch.cuda.max_memory_allocated(self._device) / _MIB
        return _peak_resident_set() / _MIB


def extra_memory_mib(work: Callable[[], None], device: torch.device) -> float:
    """Run `work` and return the MiB of tensors that it held at its peak beyond those that were there before."""
    if device.type == "cuda":  # not yet run on a GPU
        torch.cuda.synchronize(device)
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        work()
        torch.cuda.synchronize(device)
        return (torch.cuda.max_memory_allocated(device) - before) / _MIB
    # The profiler's own messages (a GPU driver it did not find) are nothing the user could mend.
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        work()
    with tempfile.TemporaryDirectory() as folder:
        trace = Path(folder) / "trace.json"
        profiler.export_chrome_trace(str(trace))
        events = json.loads(trace.read_text())["traceEvents"]
    sizes = [event["args"]["Bytes"] for event in events if event.get("name") == "[memory]"]
    held = peak = 0
    for size in sizes:  # allocations are positive, releases negative
        held += size
        peak = max(peak, held)
    return peak / _MIB


def _reset_peak_resident_set() -> None:
    # A worker process runs one trial after another, and the kernel's high-water mark is the process's. Linux lets
    # a process reset its own; elsewhere the mark stays that of the largest trial so far.
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return


def _peak_resident_set() -> int:
    try:
        status = Path("/proc/self/status").read_text()
    except OSError:
        unit = 1 if sys.platform == "darwin" else 1024
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
    line = next(line for line in status.splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024
