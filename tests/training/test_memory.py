from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from essnet.training import memory
from essnet.training.memory import PeakMemory, extra_memory_mib, loss_memory_mib
from essnet.training.performance import Performance
from essnet.training.trial import build_trial
from tests.training.tiny import assert_same, tiny_trial

CPU = torch.device("cpu")
CUDA = torch.device("cuda", 0)
MIB = 2**20


def tensor_of(mib: int) -> Tensor:
    return torch.ones(mib * MIB // 4)


def test_tensors_held_at_once_are_counted() -> None:
    def work() -> None:
        first = tensor_of(3)
        second = tensor_of(5)
        del first
        third = tensor_of(1)
        del second, third

    assert extra_memory_mib(work, CPU) == pytest.approx(8, abs=0.1)


def test_tensors_one_after_the_other_are_not_added() -> None:
    def work() -> None:
        for _ in range(4):
            tensor_of(3)

    assert extra_memory_mib(work, CPU) == pytest.approx(3, abs=0.1)


def test_what_was_there_before_is_not_counted() -> None:
    before = tensor_of(16)

    def work() -> None:
        before.add_(1)

    assert extra_memory_mib(work, CPU) < 0.1


def test_forward_and_backward_are_counted() -> None:
    leaf = tensor_of(4).requires_grad_()

    def work() -> None:
        # exp keeps its result (4) and sum nothing; backward holds it, the gradient of the sum (expanded, not
        # stored), and the product that becomes the leaf's gradient (4).
        torch.autograd.backward(leaf.exp().sum())

    assert extra_memory_mib(work, CPU) == pytest.approx(8, abs=0.1)
    assert leaf.grad is not None


def test_peak_memory_sees_an_allocation_that_is_gone() -> None:
    peak = PeakMemory(CPU)
    before = peak.mib()
    tensor_of(200)
    assert 190 < peak.mib() - before < 260


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="only Linux resets the mark")
def test_peak_memory_begins_anew() -> None:
    tensor_of(200)
    first = PeakMemory(CPU).mib()
    tensor_of(300)
    assert PeakMemory(CPU).mib() < first + 100


def test_loss_memory_grows_with_the_classes_only_where_logits_are_materialised() -> None:
    def measured(objective: str, num_classes: int) -> float:
        overrides = {"objective.name": objective, "data.num_classes": num_classes, "objective.margin_weight": 0.0}
        model = build_trial(tiny_trial(overrides), cache_dir=None).model
        images = torch.zeros((2, 3, 64, 64), dtype=torch.uint8)
        return loss_memory_mib(model, images, torch.zeros((2, 64, 64), dtype=torch.int64))

    pixels = 2 * 64 * 64
    grown = measured("full_softmax", 405) - measured("full_softmax", 5)
    assert grown > 2 * 400 * pixels * 4 / MIB  # logits and their gradients
    assert measured("knn_softmax", 405) - measured("knn_softmax", 5) < 0.2 * grown


def test_measuring_leaves_the_model_as_it_was() -> None:
    model = build_trial(tiny_trial({"objective.name": "sampled_softmax"}), cache_dir=None).model.train()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    state = torch.get_rng_state()
    loss_memory_mib(model, torch.zeros((2, 3, 32, 32), dtype=torch.uint8), torch.zeros((2, 32, 32), dtype=torch.int64))
    assert model.training
    assert_same(dict(model.state_dict()), before)
    assert all(parameter.grad is None for parameter in model.parameters())
    assert torch.equal(torch.get_rng_state(), state)


def test_on_a_gpu_the_allocators_own_figures_are_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []

    def fake(name: str, value: Any = None) -> None:
        def call(device: torch.device) -> Any:
            assert device == CUDA
            calls.append(name)
            return value

        monkeypatch.setattr(torch.cuda, name, call)

    fake("synchronize")
    fake("reset_peak_memory_stats")
    fake("memory_allocated", 5 * MIB)
    fake("max_memory_allocated", 12 * MIB)
    assert PeakMemory(CUDA).mib() == 12
    calls.clear()
    assert extra_memory_mib(lambda: calls.append("work"), CUDA) == 7
    assert calls == [
        "synchronize", "reset_peak_memory_stats", "memory_allocated", "work", "synchronize", "max_memory_allocated"
    ]  # fmt: skip


def test_without_proc_the_processes_own_mark_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(*_: Any, **__: Any) -> None:
        raise FileNotFoundError

    expected = memory._peak_resident_set()
    monkeypatch.setattr(Path, "read_text", missing)
    monkeypatch.setattr(Path, "write_text", missing)
    assert PeakMemory(CPU).mib() >= 0.9 * expected / MIB


def test_summary_is_the_median_without_the_first_interval(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr("time.perf_counter", lambda: now)
    performance = Performance(CPU, images_per_step=8)
    for seconds in (100.0, 1.0, 2.0, 6.0):
        performance.begin_interval()
        with performance.data_wait():
            now += seconds / 4
        performance.add_step()
        performance.add_step()
        now += seconds * 3 / 4
        figures = performance.end_interval()
        now += 50.0  # between two intervals: does not count
        assert figures == {
            "perf/step_ms": 500 * seconds,
            "perf/images_per_s": 16 / seconds,
            "perf/data_wait_ms": 125 * seconds,
        }
    assert performance.summary() == {"perf/step_ms": 1000.0, "perf/images_per_s": 8.0, "perf/data_wait_ms": 250.0}
    other = Performance(CPU, images_per_step=8)
    assert other.summary() == {}
    other.load_state_dict(performance.state_dict())
    assert other.summary() == performance.summary()
