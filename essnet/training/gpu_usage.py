"""What a run's own process takes of its GPU, as NVML tells it; not yet run on a GPU."""

from __future__ import annotations

import os
from typing import Any

import torch

try:
    import pynvml
except ImportError:  # then torch's own figure is left
    pynvml = None

_MIB = 2**20


class GpuUsage:
    """Measures this process on one GPU, which others may share.

    In a container NVML may know the process by another number than the container does; what it says of a process of
    this number is believed only if that holds as much memory as torch does here.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._handle = _open(device)
        self._last_sample = 0
        """Time of the newest sample that was counted, in NVML's microseconds."""

    def figures(self) -> dict[str, float]:
        """Return `system/gpu_memory_mib` and, where NVML knows the process, `system/gpu_utilization_percent`.

        Memory is the process's as NVML sees it, with CUDA's own; else what torch's allocator holds. Utilisation is
        the mean share of the time in which its kernels ran, over NVML's samples since the last call.
        """
        reserved = float(torch.cuda.memory_reserved(self._device))
        known = self._known_memory()
        if known is None or known < reserved:
            return {"system/gpu_memory_mib": reserved / _MIB}
        figures = {"system/gpu_memory_mib": known / _MIB}
        samples = self._new_samples()
        if samples:
            figures["system/gpu_utilization_percent"] = sum(samples) / len(samples)
        return figures

    def _known_memory(self) -> float | None:
        if self._handle is None:
            return None
        try:
            processes = pynvml.nvmlDeviceGetComputeRunningProcesses(self._handle)
        except pynvml.NVMLError:
            return None
        used = [process.usedGpuMemory for process in processes if process.pid == os.getpid()]
        return float(used[0]) if used and used[0] is not None else None

    def _new_samples(self) -> list[int]:
        try:
            samples = pynvml.nvmlDeviceGetProcessUtilization(self._handle, self._last_sample)
        except pynvml.NVMLError:  # also where there is no sample that is newer
            return []
        own = [sample for sample in samples if sample.pid == os.getpid() and sample.timeStamp > self._last_sample]
        self._last_sample = max((sample.timeStamp for sample in own), default=self._last_sample)
        return [sample.smUtil for sample in own]


def _open(device: torch.device) -> Any:
    """Return NVML's handle of torch's device, which may be another than that of the same number; None without NVML."""
    if pynvml is None:
        return None
    try:
        pynvml.nvmlInit()
        return pynvml.nvmlDeviceGetHandleByUUID(f"GPU-{torch.cuda.get_device_properties(device).uuid}")
    except pynvml.NVMLError:
        return None
