from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest

from essnet.config import TrialConfig, trial_from_mapping
from essnet.config.overrides import flatten, set_path
from essnet.config.trial_keys import key_paths
from essnet.sweep import trial_class
from essnet.sweep.trial_class import CANNOT_CHANGE_NEEDS, ONLY_WHETHER, class_key, class_values
from tests.sweep.sweeps import TINY_TRIAL


def trial(**overrides: Any) -> TrialConfig:
    values = deepcopy({"name": "tiny", **TINY_TRIAL})
    for path, value in overrides.items():
        set_path(values, path.replace("__", "."), value)
    return trial_from_mapping(values, (), source="test")


def key(**overrides: Any) -> str:
    return class_key(trial(**overrides), device="a device")


def test_the_tables_name_keys_that_there_are() -> None:
    named = [*CANNOT_CHANGE_NEEDS, *ONLY_WHETHER]
    assert len(set(named)) == len(named)
    assert set(named) <= set(key_paths())


def test_every_other_key_counts() -> None:
    counting = set(class_values(trial()))
    everything = dict(flatten(trial().model_dump()))
    assert counting == set(everything) - set(CANNOT_CHANGE_NEEDS)
    assert {"trainer.batch_size", "objective.embedding_dim", "data.crop_size", "data.num_workers"} <= counting


def test_a_new_key_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    old = key()
    monkeypatch.setattr(trial_class, "flatten", lambda values: [*flatten(values), ("trainer.new_key", True)])
    assert key() != old


@pytest.mark.parametrize(
    "overrides",
    [
        {"seed": 7},
        {"optimizer__lr": 0.1, "name": "other"},
        {"trainer__max_steps": 70, "schedule__name": "one_cycle"},
        {"optimizer__weight_decay": 0.3},
        {"objective__margin_weight": 0.5},
        {"data__seed": 3, "evaluation__every_steps": 1},
    ],
)
def test_trials_of_one_class(overrides: dict[str, Any]) -> None:
    assert key(**overrides) == key()


@pytest.mark.parametrize(
    "overrides",
    [
        {"objective__embedding_dim": 13},
        {"trainer__batch_size": 5},
        {"trainer__num_threads": 1},
        {"optimizer__weight_decay": 0.0},
        {"optimizer__class_embeddings_weight_decay": 0.0},
        {"optimizer__class_embeddings_weight_decay": 0.1},
        {"objective__margin_weight": 0.0},
        {"trainer__ema_decay": 0.9},
        {"trainer__clip_gradient_norm": 1.0},
        {"trainer__precision": "bfloat16"},
        {"data__crop_size": [32, 64]},
    ],
)
def test_trials_of_other_classes(overrides: dict[str, Any]) -> None:
    assert key(**overrides) != key()


def test_a_class_on_another_device_is_another() -> None:
    assert class_key(trial(), device="one") != class_key(trial(), device="two")
