from __future__ import annotations

from typing import Any

from essnet.config import TrialConfig, trial_from_mapping
from essnet.config.overrides import flatten
from essnet.tracking.run_params import TELLING, run_params
from tests.training.tiny import tiny_mapping


def trial(overrides: dict[str, Any] | None = None) -> TrialConfig:
    return trial_from_mapping(tiny_mapping(overrides or {}), (), source="a test")


def test_the_telling_ones_and_the_whole_objective() -> None:
    config = trial()
    params = run_params(config)
    everything = dict(flatten(config.model_dump()))
    assert set(TELLING) <= everything.keys(), "each is a setting"
    assert set(TELLING) <= params.keys()
    assert {path for path in everything if path.startswith("objective.")} <= params.keys()
    assert {path: str(everything[path]) for path in params} == params
    assert len(params) < len(everything) * 0.7


def test_what_is_not_the_default_is_told() -> None:
    usual = run_params(trial())
    assert "trainer.clip_gradient_norm" not in usual
    assert "data.sampling.repeat_factor" not in usual
    changed = run_params(trial({"trainer.clip_gradient_norm": 2.0, "schedule.power": 0.5}))
    assert changed["trainer.clip_gradient_norm"] == "2.0"
    assert changed["schedule.power"] == "0.5"


def test_what_a_sweep_compares_is_told_of_every_trial() -> None:
    assert "trainer.ema_decay" not in run_params(trial())
    assert run_params(trial(), compared=["trainer.ema_decay"])["trainer.ema_decay"] == "None"


def test_where_it_is_tracked_is_not_told() -> None:
    params = run_params(trial({"tracking.experiment": "another", "name": "x"}), compared=["tracking.experiment"])
    assert not any(path == "name" or path.startswith("tracking.") for path in params)
