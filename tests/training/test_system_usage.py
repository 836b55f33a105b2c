"""What a run's own processes take."""

from __future__ import annotations

import multiprocessing
import os
import time
from contextlib import nullcontext
from multiprocessing.synchronize import Event
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import psutil
import pytest
import torch

from essnet.training import gpu_usage, system_usage
from essnet.training.gpu_usage import GpuUsage
from essnet.training.system_usage import SystemUsage
from essnet.training.trainer import Trainer
from tests.training.tiny import RecordingTracker, tiny_trial

CPU = torch.device("cpu")
MIB = 2**20


def work(started: Event, end: Event) -> None:
    """Take half a second of a core and 64 MiB of memory, then wait."""
    held = np.ones(64 * MIB, np.uint8)
    while time.process_time() < 0.5:
        held.sum()
    started.set()
    end.wait(120)


def test_loaders_count_and_what_they_took_stays() -> None:
    context = multiprocessing.get_context("fork")
    started, end = context.Event(), context.Event()
    usage = SystemUsage(CPU)
    alone = usage.figures()
    assert alone["system/loader_memory_mib"] == 0
    child = context.Process(target=work, args=(started, end))
    child.start()
    try:
        assert started.wait(120)
        beside = usage.figures()
    finally:
        end.set()
        child.join()
    assert beside["system/loader_memory_mib"] >= 64
    assert beside["system/threads"] > alone["system/threads"]
    assert beside["system/cpu_seconds"] - alone["system/cpu_seconds"] >= 0.4
    assert beside["system/cpu_percent"] > 0
    after = usage.figures()
    assert after["system/loader_memory_mib"] == 0
    assert after["system/cpu_seconds"] >= beside["system/cpu_seconds"]


def test_memory_is_this_process_alone() -> None:
    usage = SystemUsage(CPU)
    before = usage.figures()["system/memory_mib"]
    held = np.ones(128 * MIB, np.uint8)
    after = usage.figures()["system/memory_mib"]
    assert after - before >= 100
    assert after == pytest.approx(psutil.Process().memory_info().rss / MIB, rel=0.1)
    del held


class Scripted:
    """A process that took 50 s of CPU time and wrote 10 MiB before the run, and 8 s and 3 MiB during it."""

    def __init__(self) -> None:
        self._seconds = iter([50.0, 58.0])
        self._written = iter([10 * MIB, 13 * MIB])

    def oneshot(self) -> nullcontext[None]:
        return nullcontext()

    def cpu_times(self) -> SimpleNamespace:
        return SimpleNamespace(user=next(self._seconds), system=1.0, children_user=2.0, children_system=0.0)

    def memory_info(self) -> SimpleNamespace:
        return SimpleNamespace(rss=7 * MIB)

    def num_threads(self) -> int:
        return 3

    def io_counters(self) -> SimpleNamespace:
        return SimpleNamespace(write_bytes=next(self._written))


def test_what_came_before_the_run_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([100.0, 104.0])
    monkeypatch.setattr(system_usage.time, "monotonic", lambda: next(clock))
    monkeypatch.setattr(psutil, "Process", Scripted)
    assert SystemUsage(CPU).figures() == {
        "system/cpu_percent": 200,  # two cores for four seconds
        "system/cpu_seconds": 8,
        "system/memory_mib": 7,
        "system/loader_memory_mib": 0,
        "system/threads": 3,
        "system/disk_written_mib": 3,
    }


def test_a_system_without_counters_of_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(psutil.Process, "io_counters")
    figures = SystemUsage(CPU).figures()
    assert "system/disk_written_mib" not in figures
    assert figures["system/memory_mib"] > 0


def test_between_evaluations_looks_are_ten_seconds_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr(system_usage.time, "monotonic", lambda: now)
    usage = SystemUsage(CPU)
    now = 109.0
    assert usage.figures_if_due() == {}
    now = 110.0
    assert usage.figures_if_due().keys() == usage.figures().keys()
    now = 119.0
    assert usage.figures_if_due() == {}


def test_a_run_logs_them_at_evaluations(tmp_path: Path) -> None:
    trainer = Trainer(tiny_trial(), directory=tmp_path)
    tracker = RecordingTracker()
    trainer.track_with(tracker)
    trainer.train()
    steps = [step for key, step in tracker.points if key == "system/memory_mib"]
    assert sorted(steps) == [2, 4, 6]
    assert {key for key, _ in tracker.points if key.startswith("system/gpu")} == set()


class Nvml:
    """NVML with a GPU that two processes share."""

    class NVMLError(Exception):
        pass

    def __init__(self, memory: dict[int, int | None], samples: list[tuple[int, int, int]]) -> None:
        self.memory, self.samples = memory, samples
        self.opened: list[str] = []

    def nvmlInit(self) -> None:
        pass

    def nvmlDeviceGetHandleByUUID(self, uuid: str) -> str:
        self.opened.append(uuid)
        return "handle"

    def nvmlDeviceGetComputeRunningProcesses(self, handle: str) -> list[SimpleNamespace]:
        return [SimpleNamespace(pid=pid, usedGpuMemory=used) for pid, used in self.memory.items()]

    def nvmlDeviceGetProcessUtilization(self, handle: str, after: int) -> list[SimpleNamespace]:
        newer = [sample for sample in self.samples if sample[1] > after]
        if not newer:
            raise self.NVMLError("Not Found")
        return [SimpleNamespace(pid=pid, timeStamp=moment, smUtil=share) for pid, moment, share in newer]


OTHER = 1
OWN = os.getpid()


def gpu(monkeypatch: pytest.MonkeyPatch, nvml: Nvml | None, *, reserved: int) -> GpuUsage:
    monkeypatch.setattr(gpu_usage, "pynvml", nvml)
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda device: reserved)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: SimpleNamespace(uuid="abc"))
    return GpuUsage(torch.device("cuda:1"))


def test_a_gpus_figures_are_this_process_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    nvml = Nvml({OTHER: 900 * MIB, OWN: 500 * MIB}, [(OWN, 10, 40), (OTHER, 20, 99), (OWN, 30, 60)])
    usage = gpu(monkeypatch, nvml, reserved=400 * MIB)
    assert nvml.opened == ["GPU-abc"]
    assert usage.figures() == {"system/gpu_memory_mib": 500, "system/gpu_utilization_percent": 50}
    assert usage.figures() == {"system/gpu_memory_mib": 500}, "samples count once"
    nvml.samples.append((OWN, 40, 70))
    assert usage.figures()["system/gpu_utilization_percent"] == 70


@pytest.mark.parametrize(
    "nvml",
    [
        None,  # not installed
        Nvml({}, []),  # a container's process has another number outside
        Nvml({OWN: None}, []),  # a driver that does not tell
        Nvml({OWN: 300 * MIB}, [(OWN, 10, 40)]),  # another container's process of the same number
    ],
)
def test_what_nvml_does_not_know_torch_does(monkeypatch: pytest.MonkeyPatch, nvml: Nvml | None) -> None:
    assert gpu(monkeypatch, nvml, reserved=400 * MIB).figures() == {"system/gpu_memory_mib": 400}


def test_a_machine_without_nvidias_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    class Driverless(Nvml):
        def nvmlInit(self) -> None:
            raise self.NVMLError("Driver Not Loaded")

    assert gpu(monkeypatch, Driverless({}, []), reserved=0).figures() == {"system/gpu_memory_mib": 0}
