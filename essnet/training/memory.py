"""How much memory a trial takes: at its peak, and for output layer and loss alone."""

from __future__ import annotations

import json
import resource
import sys
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import torch
from torch import Tensor
from torch.profiler import ProfilerActivity

from essnet.models import SegmentationModel
from essnet.training.quiet_profiler import quiet_profiler

_MIB = 2**20


class PeakMemory:
    """Peak memory since construction: a GPU's allocations, or on a CPU the process's resident set."""

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


def loss_memory_mib(model: SegmentationModel, images: Tensor, targets: Tensor) -> float:
    """Return the MiB that output layer and loss hold at their peak, forward and backward, for a batch.

    Leaves the model in training mode and without gradients, and random generators as they were.

    Shapes: images (B, 3, H, W) uint8, targets (B, H, W) int64, both on the model's device.
    """
    model.eval()  # batch normalisation must not count this batch twice
    with torch.no_grad():
        features = model.features(images)
    model.train()
    features.requires_grad_()

    def work() -> None:
        torch.autograd.backward(model.output_layer.loss(model.output_layer(features), targets))

    device = images.device
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        mib = extra_memory_mib(work, device)
    model.zero_grad(set_to_none=True)
    return mib


def extra_memory_mib(work: Callable[[], None], device: torch.device) -> float:
    """Run `work` and return the MiB of tensors that it held at its peak beyond those there before."""
    if device.type == "cuda":  # not yet run on a GPU
        torch.cuda.synchronize(device)
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        work()
        torch.cuda.synchronize(device)
        return (torch.cuda.max_memory_allocated(device) - before) / _MIB
    with quiet_profiler(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        work()
    with tempfile.TemporaryDirectory() as folder:
        trace = Path(folder) / "trace.json"
        profiler.export_chrome_trace(str(trace))
        events = json.loads(trace.read_text(encoding="utf-8"))["traceEvents"]
    changes = [event for event in events if event.get("name") == "[memory]"]
    held = peak = 0
    for event in sorted(changes, key=lambda event: event["ts"]):
        held += event["args"]["Bytes"]  # allocations are positive, releases negative
        peak = max(peak, held)
    return peak / _MIB


def _reset_peak_resident_set() -> None:
    # A worker process runs one trial after another, and the kernel's high-water mark is the process's. Linux
    # lets a process reset its own; elsewhere the mark stays that of the largest trial so far.
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def _peak_resident_set() -> int:
    try:
        status = Path("/proc/self/status").read_text()
    except OSError:
        unit = 1 if sys.platform == "darwin" else 1024
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
    line = next(line for line in status.splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024
