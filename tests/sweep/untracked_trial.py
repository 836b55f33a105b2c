"""A trial of a sweep in this process: the real trainer, without Ray and without a store."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from essnet.config import trial_from_mapping
from essnet.config.overrides import with_overrides
from essnet.sweep import asked_to_end, trainable
from essnet.training.tracker import NullTracker
from tests.sweep.sweeps import TINY_TRIAL


class Untracked(NullTracker):
    def log_inputs(self, inputs: object) -> None:
        """Do nothing."""


@contextmanager
def _untracked(*_: object) -> Iterator[Untracked]:
    yield Untracked()


def untracked_task(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, **overrides: Any) -> dict[str, Any]:
    """What `trainable.run_trial` takes; what it reports goes nowhere, and `overrides` change the tiny trial."""
    monkeypatch.setattr(trainable, "trial_run", _untracked)
    monkeypatch.setattr(asked_to_end, "LOOK_SECONDS", 0.01)
    monkeypatch.setattr(trainable.tune, "report", lambda metrics: None)
    changes = {"name": "000-full", "trainer.device": "cpu", **overrides}
    trial = trial_from_mapping(with_overrides(TINY_TRIAL, changes), (), source="here")
    return {
        "trial_id": "000-full",
        "directory": str(tmp_path / "trials" / "000-full"),
        "sweep_id": "a sweep's id",
        "sweep_directory": str(tmp_path),
        "cache_dir": str(tmp_path / "cache"),
        "code": [],
        "code_folder": str(tmp_path),
        "storage": None,
        "trial": trial.model_dump(),
    }
