"""FAISS on CUDA tensors, with a stand-in for FAISS's GPU part: not yet run on a GPU."""

from __future__ import annotations

from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import Tensor

from essnet.neighbours.faiss_index import GpuSearch


class FakeResources:
    def __init__(self) -> None:
        self.scratch_bytes = 0
        self.stream_entered = 0

    def setTempMemory(self, num_bytes: int) -> None:
        self.scratch_bytes = num_bytes


class FakeFaiss:
    METRIC_L2 = 1
    StandardGpuResources = FakeResources

    @staticmethod
    def knn_gpu(
        resources: FakeResources, queries: Tensor, classes: Tensor, k: int, *, metric: int, device: int | None
    ) -> tuple[Tensor, Tensor]:
        assert resources.stream_entered == 1
        assert queries.is_contiguous()
        assert classes.is_contiguous()
        assert queries.dtype == classes.dtype == torch.float32
        assert metric == FakeFaiss.METRIC_L2
        distances, ids = torch.cdist(queries, classes).topk(k, largest=False)
        return distances, ids


def test_search_runs_on_torchs_stream_with_bounded_scratch(monkeypatch: pytest.MonkeyPatch) -> None:
    @contextmanager
    def using_stream(resources: FakeResources) -> Any:
        resources.stream_entered += 1
        yield
        resources.stream_entered -= 1

    import faiss.contrib.torch_utils as faiss_with_torch

    monkeypatch.setattr(faiss_with_torch, "using_stream", using_stream)
    search = GpuSearch(FakeFaiss())
    resources: FakeResources = search._resources
    assert resources.scratch_bytes == 128 << 20
    queries, classes = torch.randn(9, 4), torch.randn(20, 4)
    found = search.search(queries, classes, 3, metric=FakeFaiss.METRIC_L2)
    assert torch.equal(found, torch.cdist(queries, classes).topk(3, largest=False).indices)
    assert resources.stream_entered == 0
