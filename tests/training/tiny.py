"""Trials that take a fraction of a second, and a tracker that remembers."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from essnet.config import TrialConfig, trial_from_mapping
from essnet.config.overrides import with_overrides

OBJECTIVES = ("full_softmax", "knn_softmax", "embedding_softmax", "sampled_softmax")
NUM_CLASSES = 5

BASE: dict[str, Any] = {
    "name": "tiny",
    "data": {
        "name": "textures",
        "num_classes": NUM_CLASSES,
        "crop_size": 32,
        "train_images": 11,  # an epoch ends within a batch
        "val_images": 5,
    },
    "model": {"encoder": "tu-test_resnet"},
    "objective": {"name": "full_softmax", "embedding_dim": 3, "num_neighbours": 2, "num_random": 3},
    "trainer": {"max_steps": 6, "batch_size": 4, "device": "cpu", "num_threads": 1, "log_every_steps": 1},
    "evaluation": {"every_steps": 2, "batch_size": 2, "num_pictures": 0},
}


def tiny_mapping(overrides: Mapping[str, Any] | None = None) -> dict[str, Any]:
    return with_overrides(BASE, overrides or {})


def tiny_trial(overrides: Mapping[str, Any] | None = None) -> TrialConfig:
    return trial_from_mapping(tiny_mapping(overrides), (), source="tiny.yaml")


class RecordingTracker:
    """Keeps what a store would have: points from `flush` on, each (key, step) once, the first one."""

    def __init__(self) -> None:
        self.points: dict[tuple[str, int], float] = {}
        self.artifacts: list[tuple[Path, str]] = []
        self._waiting: dict[tuple[str, int], float] = {}

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        for key, value in metrics.items():
            self._waiting.setdefault((key, step), value)

    def log_artifact(self, path: Path, folder: str) -> None:
        self.artifacts.append((path, folder))

    def flush(self) -> None:
        self.points = {**self._waiting, **self.points}
        self._waiting.clear()

    def exact_points(self) -> dict[tuple[str, int], float]:
        """All points but the timings and memory figures, which no two runs share."""
        return {key: value for key, value in self.points.items() if not key[0].startswith(("perf/", "system/"))}


def assert_same(first: Any, second: Any) -> None:
    """Nested containers are equal, tensors bit for bit."""
    if isinstance(first, torch.Tensor):
        assert isinstance(second, torch.Tensor)
        assert first.dtype == second.dtype
        assert torch.equal(first, second)
    elif isinstance(first, dict):
        assert first.keys() == second.keys()
        for key in first:
            assert_same(first[key], second[key])
    elif isinstance(first, list | tuple):
        assert len(first) == len(second)
        for one, other in zip(first, second, strict=True):
            assert_same(one, other)
    else:
        assert first == second
