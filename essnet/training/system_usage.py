"""The `system/` figures of a run: what its own processes take of the machine, never what others on the node do."""

from __future__ import annotations

import multiprocessing
import time
from contextlib import suppress

import psutil
import torch

from essnet.training.gpu_usage import GpuUsage

_MIB = 2**20
_LEAST_SECONDS = 10.0
"""Between two looks beside evaluations: one takes some tenths of a millisecond for each process."""


class SystemUsage:
    """Measures this process and those that load its data, from `begin` on.

    A worker process runs one trial after another: what it took before does not count. A resumed run counts from its
    resumption.
    """

    def __init__(self, device: torch.device) -> None:
        self._process = psutil.Process()
        self._gpu = GpuUsage(device) if device.type == "cuda" else None
        self._written: dict[psutil.Process, int] = {}
        self.begin()

    def begin(self) -> None:
        """Count from now on."""
        self._written.clear()
        self._looked = time.monotonic()
        self._cpu_before = self._cpu_seconds = self._look().pop("cpu_seconds")
        self._written_before = sum(self._written.values())

    def figures_if_due(self) -> dict[str, float]:
        """Return `figures`, or nothing where the last ones are of a moment ago."""
        return self.figures() if time.monotonic() - self._looked >= _LEAST_SECONDS else {}

    def figures(self) -> dict[str, float]:
        """Return the figures at this moment.

        `system/cpu_seconds` and `system/disk_written_mib` count from `begin` on; `system/cpu_percent` is the share of
        one core since the last figures, so that four busy cores are 400. `system/memory_mib` is this process's
        resident memory, `system/loader_memory_mib` that of the loading processes, in which pages that they share
        with this one count each time. What the system does not tell is left out.
        """
        now = time.monotonic()
        seen = self._look()
        cpu_seconds = seen.pop("cpu_seconds")
        figures = {
            "system/cpu_percent": 100 * (cpu_seconds - self._cpu_seconds) / max(now - self._looked, 1e-9),
            "system/cpu_seconds": cpu_seconds - self._cpu_before,
            **{f"system/{name}": value for name, value in seen.items()},
        }
        if self._written:
            figures["system/disk_written_mib"] = (sum(self._written.values()) - self._written_before) / _MIB
        if self._gpu is not None:
            figures |= self._gpu.figures()
        self._looked, self._cpu_seconds = now, cpu_seconds
        return figures

    def _look(self) -> dict[str, float]:
        loaders = []
        for child in multiprocessing.active_children():
            with suppress(psutil.NoSuchProcess):
                loaders.append(psutil.Process(child.pid))
        seen = {"cpu_seconds": 0.0, "memory_mib": 0.0, "loader_memory_mib": 0.0, "threads": 0.0}
        for process in (self._process, *loaders):
            own = process is self._process
            with suppress(psutil.NoSuchProcess), process.oneshot():  # a loader may end at any time
                times = process.cpu_times()
                memory = process.memory_info().rss / _MIB
                threads = process.num_threads()
                seen["cpu_seconds"] += times.user + times.system
                if own:  # loaders that have ended
                    seen["cpu_seconds"] += times.children_user + times.children_system
                seen["memory_mib" if own else "loader_memory_mib"] += memory
                seen["threads"] += threads
                with suppress(AttributeError, OSError, RuntimeError, psutil.Error):  # not every system counts it
                    self._written[process] = process.io_counters().write_bytes
        return seen
