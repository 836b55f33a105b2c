"""Names that a configuration may have, and the tables of what they stand for, are the same."""

from __future__ import annotations

from typing import Any, get_args

from pydantic import BaseModel

from essnet.config import data
from essnet.config.conditions import HAS_EFFECT
from essnet.config.model import BUILT_IN_OBJECTIVES
from essnet.config.scheduler import BUILT_IN_SCHEDULERS
from essnet.losses import class_embeddings
from essnet.sweep import scheduler


def test_objectives() -> None:
    assert set(BUILT_IN_OBJECTIVES) == {"full_softmax", *class_embeddings._LOSSES}
    conditions = [condition for each in HAS_EFFECT.values() for condition in each if condition.path == "objective.name"]
    assert {name for condition in conditions for name in condition.values} == set(class_embeddings._LOSSES)


def test_schedulers() -> None:
    assert set(BUILT_IN_SCHEDULERS) == {"none", *scheduler._RULES}


def test_data_sets() -> None:
    def names(block: type[BaseModel]) -> set[Any]:
        own = get_args(block.model_fields["name"].annotation) if "name" in block.model_fields else ()
        return set(own).union(*map(names, block.__subclasses__()))

    assert names(data.DataBlock) == set(data._BUILT_IN)
