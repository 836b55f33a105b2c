from __future__ import annotations

import multiprocessing
import os
import time
from copy import deepcopy
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import pytest
import torch

from essnet.config import TrialConfig, trial_from_mapping
from essnet.cores import available_cores
from essnet.sweep import measuring
from essnet.sweep.measuring import WARM_UP_STEPS, look_at_device, measure_trial
from essnet.training.trainer import Trainer
from tests.sweep.sweeps import TINY_TRIAL

MIB = 2**20


def tiny_trial(*overrides: str) -> TrialConfig:
    return trial_from_mapping({"name": "tiny", **deepcopy(TINY_TRIAL)}, overrides, source="test")


@pytest.fixture(autouse=True)
def _threads():
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def trainers(monkeypatch: pytest.MonkeyPatch) -> list[Trainer]:
    """The trainers that are made while the test runs."""
    made: list[Trainer] = []

    class Kept(Trainer):
        def __init__(self, *arguments: Any, **options: Any) -> None:
            super().__init__(*arguments, **options)
            made.append(self)

    monkeypatch.setattr(measuring, "Trainer", Kept)
    return made


def test_a_trial_is_trained_for_some_steps_only(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, trainers: list[Trainer]
) -> None:
    monkeypatch.setattr(measuring, "_MEASURED_SECONDS", 0.0)
    monkeypatch.setattr("essnet.training.evaluation.Evaluation.run", lambda *_, **__: pytest.fail("evaluated"))
    measured = measure_trial(tiny_trial("evaluation.every_steps=1").model_dump(), cache_dir=str(tmp_path / "cache"))
    assert measured.error is None
    (trainer,) = trainers
    assert trainer.step == WARM_UP_STEPS + 3
    assert torch.get_num_threads() == available_cores()
    assert not trainer.directory.exists()
    assert measured.gpu_memory_mib == 0
    assert 200 < measured.host_memory_mib < 8000
    assert 0.05 < measured.busy_cores <= available_cores() + 0.2


def test_threads_that_the_trial_sets_stay(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(measuring, "_MEASURED_SECONDS", 0.0)
    measured = measure_trial(tiny_trial("trainer.num_threads=1").model_dump(), cache_dir=str(tmp_path))
    assert measured.error is None
    assert torch.get_num_threads() == 1


@pytest.mark.parametrize(
    ("override", "error"),
    [
        ("model.encoder=resnet1", "model.encoder"),
        ("optimizer.lr=1e30", "the loss is"),
        ("trainer.device=cuda:77", "trainer.device: found 'cuda:77'"),
    ],
)
def test_why_a_trial_cannot_be_measured_is_kept(tmp_path: Path, override: str, error: str) -> None:
    trial = tiny_trial(override, "objective.name=full_softmax", "optimizer.name=sgd")
    measured = measure_trial(trial.model_dump(), cache_dir=str(tmp_path))
    assert measured.error is not None
    assert error in measured.error
    assert "\n" not in measured.error


@pytest.mark.parametrize("schedule", ["poly", "multi_poly", "step", "cosine", "one_cycle"])
def test_every_schedule_can_be_without_end(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, schedule: str) -> None:
    monkeypatch.setattr(measuring, "_MEASURED_SECONDS", 0.0)
    measured = measure_trial(tiny_trial(f"schedule.name={schedule}").model_dump(), cache_dir=str(tmp_path))
    assert measured.error is None


def test_processor_time_per_time_after_the_warm_up(monkeypatch: pytest.MonkeyPatch) -> None:
    # A step takes 0.5 s on 3 cores; those of the warm-up 10 s on one.
    wall = [10.0 * step for step in range(1, WARM_UP_STEPS + 1)]
    processor = list(wall)
    for _ in range(20):
        wall.append(wall[-1] + 0.5)
        processor.append(processor[-1] + 1.5)
    steps = measuring._MeasuredSteps()
    taken = 0
    while True:
        monkeypatch.setattr(time, "perf_counter", lambda now=wall[taken]: now)
        monkeypatch.setattr(time, "process_time", lambda now=processor[taken]: now)
        taken += 1
        if steps.are_enough_after_another():
            break
    assert taken == WARM_UP_STEPS + 4  # 2 s
    assert steps.busy_cores == pytest.approx(3.0)


def load(connection: Connection) -> None:
    held = bytearray(os.urandom(MIB)) * 64
    began = time.process_time()
    while time.process_time() - began < 0.5:
        pass
    connection.send(len(held))
    connection.recv()


@pytest.mark.skipif(not Path("/proc/self/smaps_rollup").exists(), reason="only Linux tells")
def test_what_loading_processes_take_counts() -> None:
    before, seconds = measuring._loaders_mib(), measuring._loaders_processor_seconds()
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("fork").Process(target=load, args=(theirs,))
    process.start()
    ours.recv()
    assert 64 <= measuring._loaders_mib() - before < 1000
    assert 0.45 <= measuring._loaders_processor_seconds() - seconds < 2
    ours.send("end")
    process.join()
    assert measuring._loaders_mib() == before


def test_memory_of_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    # 24 GiB, of which 5 are taken: 4 by torch, which once held 6, and 1 by the context.
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (19 * 1024 * MIB, 24 * 1024 * MIB))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda device: 4 * 1024 * MIB)
    monkeypatch.setattr(torch.cuda, "max_memory_reserved", lambda device: 6 * 1024 * MIB)
    assert measuring._gpu_memory_mib(torch.device("cuda")) == 7 * 1024
    assert measuring._gpu_memory_mib(torch.device("cpu")) == 0


def test_a_look_at_this_machine() -> None:
    device = look_at_device(gpu=False)
    assert device.name.startswith(f"{available_cores()} cores of ")
    assert device == look_at_device(gpu=False)
    assert device.gpu_memory_mib == 0
    assert 500 < device.host_memory_mib <= os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / MIB


@pytest.mark.parametrize(("text", "expected"), [("max\n", None), (f"{300 * MIB}\n", 300.0), (str(2**62), None)])
def test_a_container_has_less_memory(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, text: str, expected: float | None
) -> None:
    (tmp_path / "limit").write_text(text)
    monkeypatch.setattr(measuring, "_CGROUP_LIMITS", (str(tmp_path / "missing"),))
    machine = look_at_device(gpu=False).host_memory_mib
    monkeypatch.setattr(measuring, "_CGROUP_LIMITS", (str(tmp_path / "missing"), str(tmp_path / "limit")))
    assert look_at_device(gpu=False).host_memory_mib == (machine if expected is None else expected)


def test_a_look_at_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    class Properties:
        name = "NVIDIA H100"
        total_memory = 80 * 1024 * MIB

    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda index: Properties)
    device = look_at_device(gpu=True)
    assert (device.name, device.gpu_memory_mib) == ("NVIDIA H100", 80 * 1024)
