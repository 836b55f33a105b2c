"""What a trial takes, found by training it for some steps alone in a process of its own, on a device of its own."""

from __future__ import annotations

import multiprocessing
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

from essnet.config import TrialConfig
from essnet.config.extensions import allow
from essnet.cores import available_cores
from essnet.sweep.failures import in_a_line
from essnet.sweep.measurement import Device, Measurement
from essnet.training.memory import PeakMemory
from essnet.training.trainer import Trainer

WARM_UP_STEPS = 3
"""Compiling, choosing kernels and filling buffers is over by then."""
_MEASURED_STEPS = 3
_MEASURED_SECONDS = 2.0
"""At least so many steps, and so long."""

_MIB = 2**20
_NO_END = 10**9
_CGROUP_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")
"""Of version 2 and of version 1."""


def look_at_device(*, gpu: bool) -> Device:
    """Return what device a process on a worker has."""
    host = _host_memory_mib()
    if not gpu:
        return Device(f"{available_cores()} cores of {_processor()}", host_memory_mib=host)
    properties = torch.cuda.get_device_properties(0)
    return Device(properties.name, host_memory_mib=host, gpu_memory_mib=properties.total_memory / _MIB)


def measure_trial(
    trial: Mapping[str, Any], *, cache_dir: str | None, code: Sequence[str] = (), code_folder: str | None = None
) -> Measurement:
    """Train a trial for some steps, with all cores of the machine allowed, and return what it took.

    The real trainer in a temporary folder, without tracker and evaluation; a checkpoint is part of it. The process
    must be a fresh one: what an earlier trial left in it would count. `code` are import paths that it may import, also
    from `code_folder`.
    """
    try:
        allow(code, folder=Path(code_folder) if code_folder else None)
        return _measure(TrialConfig.model_validate(trial), cache_dir=Path(cache_dir) if cache_dir else None)
    except Exception as error:  # whatever stops the trial here will stop it again, or not; the sweep goes on
        return Measurement(error=in_a_line(error))


def _measure(config: TrialConfig, *, cache_dir: Path | None) -> Measurement:
    host = PeakMemory(torch.device("cpu"))
    steps = _MeasuredSteps()
    with TemporaryDirectory(prefix="essnet-measuring-") as folder:
        trainer = Trainer(
            _endless(config), directory=Path(folder), cache_dir=cache_dir, should_stop=steps.are_enough_after_another
        )
        building = host.mib()  # the trainer counts from its first step
        trainer.train()
        gpu_memory = _gpu_memory_mib(trainer.trial.device)
    return Measurement(
        gpu_memory_mib=gpu_memory,
        host_memory_mib=max(building, host.mib()) + steps.loaders_mib,
        busy_cores=steps.busy_cores,
    )


def _endless(config: TrialConfig) -> TrialConfig:
    """Return the trial without a last step, where it would be evaluated, and with all the threads it could have."""
    threads = config.trainer.num_threads or available_cores()
    trainer = {"max_steps": _NO_END, "checkpoint_every_steps": None, "num_threads": threads}
    return config.model_copy(
        update={
            "trainer": config.trainer.model_copy(update=trainer),
            "evaluation": config.evaluation.model_copy(update={"every_steps": None}),
        }
    )


class _MeasuredSteps:
    """Asked after each step whether these were enough; takes the time of those after the warm-up."""

    def __init__(self) -> None:
        self.busy_cores = 0.0
        self.loaders_mib = 0.0
        self._steps = 0
        self._wall = self._processor = 0.0

    def are_enough_after_another(self) -> bool:
        self._steps += 1
        if self._steps < WARM_UP_STEPS:
            return False
        if torch.cuda.is_initialized():
            torch.cuda.synchronize()
        wall, processor = time.perf_counter(), time.process_time() + _loaders_processor_seconds()
        if self._steps == WARM_UP_STEPS:
            self._wall, self._processor = wall, processor
            return False
        if self._steps < WARM_UP_STEPS + _MEASURED_STEPS or wall - self._wall < _MEASURED_SECONDS:
            return False
        self.busy_cores = (processor - self._processor) / (wall - self._wall)
        self.loaders_mib = _loaders_mib()
        return True


def _gpu_memory_mib(device: torch.device) -> float:
    """Return the most that torch held of the GPU, and what the process holds there beside: context, libraries.

    What other processes hold counts as the trial's: it should be alone. Not yet run on a GPU.
    """
    if device.type != "cuda":
        return 0.0
    free, total = torch.cuda.mem_get_info(device)
    beside = total - free - torch.cuda.memory_reserved(device)
    return (torch.cuda.max_memory_reserved(device) + beside) / _MIB


def _loaders_processor_seconds() -> float:
    """Return the processor seconds so far of the processes that load data; only Linux tells."""
    ticks = 0
    for process in multiprocessing.active_children():
        try:
            # The name, which stands in brackets, may hold spaces.
            fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def _loaders_mib() -> float:
    """Return the memory of the processes that load data, a page of several in equal parts; only Linux tells."""
    kibibytes = 0
    for process in multiprocessing.active_children():
        try:
            lines = Path(f"/proc/{process.pid}/smaps_rollup").read_text().splitlines()
        except OSError:
            continue
        kibibytes += sum(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    return kibibytes / 1024


def _host_memory_mib() -> float:
    """Return the memory of the machine, or of the container if that is less."""
    total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    for limit in map(Path, _CGROUP_LIMITS):
        if limit.is_file() and (text := limit.read_text().strip()).isdecimal():
            total = min(total, int(text))
    return total / _MIB


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return "one kind"
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "one kind")
