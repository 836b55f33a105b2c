from __future__ import annotations

from typing import Any

import pytest

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


@pytest.mark.parametrize(
    ("objective", "expected"),
    [
        ("full_softmax", set()),
        ("embedding_softmax", {"embedding_dim", "similarity"}),
        ("knn_softmax", {"embedding_dim", "similarity", "num_neighbours"}),
        ("sampled_softmax", {"embedding_dim", "similarity", "num_neighbours", "num_random"}),
    ],
)
def test_of_what_is_compared_no_run_has_what_its_objective_does_not_use(objective: str, expected: set[str]) -> None:
    names = {"embedding_dim", "similarity", "num_neighbours", "num_random"}
    config = trial({"objective.name": objective})
    params = run_params(config, compared=[f"objective.{name}" for name in (*names, "name")])
    assert {name for name in names if f"objective.{name}" in params} == expected
    assert params["objective.name"] == objective
    assert params["objective.margin"] == "0.2"  # the same in all: nothing is drawn over it


def test_options_of_another_packages_objective_are_told_one_by_one() -> None:
    options = {"gamma": 2, "embedding_dim": 12}
    config = trial({"objective": {"name": "mypkg.focal:FocalOutput", "options": options}})
    params = run_params(config, compared=["objective.options.gamma", "objective.embedding_dim", "objective.name"])
    told = {path: value for path, value in params.items() if "options" in path}
    assert told == {"objective.options.gamma": "2", "objective.options.embedding_dim": "12"}
    assert "objective.embedding_dim" not in params  # a key that it does not look at


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
