"""The `scheduler` block of a sweep."""

from __future__ import annotations

from operator import not_
from typing import Annotated, Any, Self

from pydantic import Field, field_validator, model_validator

from essnet.config.extension_names import SCHEDULERS
from essnet.config.extensions import check_name
from essnet.config.fields import Block, Positive

BUILT_IN_SCHEDULERS = ("none", "asha", "hyperband", "median")


class SchedulerConfig(Block):
    """Whether trials that lag behind are stopped early. The baseline never is."""

    name: str = "none"
    """`asha`: asynchronous successive halving; `hyperband`: the same in several brackets, of which some begin to stop
    later; `median`: a trial ends whose best is below the median of the other trials' running means; or one of another
    package."""
    grace_steps: Positive | None = None
    """Steps that every trial gets before it may be stopped; null: the first evaluation."""
    reduction_factor: Annotated[int, Field(ge=2)] = 3
    """asha and hyperband let the best 1/reduction_factor of the trials go on at each rung."""
    brackets: Annotated[int, Field(ge=2)] = 3
    """Only for hyperband."""
    options: dict[str, Any] = Field(default={}, exclude_if=not_)
    """What a scheduler of another package wants to know beside `grace_steps`."""

    @field_validator("name")
    @classmethod
    def _known(cls, name: str) -> str:
        return check_name(name, group=SCHEDULERS, built_in=BUILT_IN_SCHEDULERS)

    @model_validator(mode="after")
    def _own_options(self) -> Self:
        if self.options and self.name in BUILT_IN_SCHEDULERS:
            raise ValueError(f"options: are for schedulers of other packages; {self.name} has keys of its own")
        return self
