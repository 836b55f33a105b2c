"""The schema of a sweep: arms over a base trial, how they are searched, and what they may use."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator
from typing_extensions import Self

from essnet.config.fields import Block, Name, NonNegative, NonNegativeFloat, Positive, PositiveFloat
from essnet.config.loop import TrackingConfig

_FREQUENCY_METRICS = ("val/miou_frequent", "val/miou_common", "val/miou_rare")
"""Only where the data set groups its classes by how frequent they are."""

_GROUPED_DATA = ("coco_lvis",)

METRICS = ("val/miou", "val/mean_accuracy", "val/pixel_accuracy", "val/fw_iou", *_FREQUENCY_METRICS)
"""Metrics by which a sweep can search and compare; not the loss, which is another one for each objective."""


def check_metric(metric: str, *, data_name: str) -> None:
    """Check that trials on a data set have the metric.

    Raises
    ------
    ValueError
        If they do not; the message says which have.
    """
    if metric in _FREQUENCY_METRICS and data_name not in _GROUPED_DATA:
        raise ValueError(
            f"found {metric!r}, which only data.name={', '.join(_GROUPED_DATA)} has, and not {data_name}; take val/miou"
        )


def _check_base(base: object) -> object:
    if not isinstance(base, str | dict) or not base:
        raise ValueError(f"found {base!r}; expected a trial's YAML file, or the trial itself as a block of keys")
    return base


class SearchConfig(Block):
    """How the points of the search spaces are chosen."""

    algorithm: Literal["grid", "random", "optuna"] = "grid"
    num_trials: Positive | None = None
    """Trials of all arms that have a search space; grid runs every point instead. Arms with `num_trials` or `share` of
    their own take these, and the others the rest in equal parts."""
    points: list[dict[str, Any]] = Field(default=[])
    """Points to try first, as dotted overrides, each with `arm`; they count among the arm's trials."""
    seed: NonNegative = 0
    metric: Literal[METRICS] = "val/miou"  # type: ignore[valid-type]  # the one list of metric names
    mode: Literal["max", "min"] = "max"

    @model_validator(mode="after")
    def _trials(self) -> Self:
        if self.algorithm == "grid" and self.num_trials is not None:
            raise ValueError("num_trials: grid runs every point; leave it out, or take algorithm: random")
        if self.algorithm == "grid" and self.points:
            raise ValueError("points: grid runs every point; leave them out, or take algorithm: random")
        return self


class ArmOptions(Block):
    """What stands in an arm beside its overrides."""

    num_trials: Positive | None = None
    """Trials of the arm; not for grid."""
    share: Annotated[float, Field(gt=0, le=1)] | None = None
    """The arm's part of `search.num_trials`; not for grid."""
    reference: bool = False
    """Whether its trials are there to be compared with, as the baseline's are: they are never stopped early."""

    @model_validator(mode="after")
    def _one_number(self) -> Self:
        if self.num_trials is not None and self.share is not None:
            raise ValueError("num_trials and share do not go together")
        return self


class SchedulerConfig(Block):
    """Whether trials that lag behind are stopped early. The baseline never is."""

    name: Literal["none", "asha", "hyperband", "median"] = "none"
    """`asha`: asynchronous successive halving; `hyperband`: the same in several brackets, of which some begin to stop
    later; `median`: a trial ends whose best is below the median of the other trials' running means."""
    grace_steps: Positive | None = None
    """Steps that every trial gets before it may be stopped; null: the first evaluation."""
    reduction_factor: Annotated[int, Field(ge=2)] = 3
    """asha and hyperband let the best 1/reduction_factor of the trials go on at each rung."""
    brackets: Annotated[int, Field(ge=2)] = 3
    """Only for hyperband."""


class ResourcesConfig(Block):
    """What one trial takes."""

    gpus: NonNegativeFloat | None = None
    """GPUs of a trial; null: one where there are GPUs, none where there are not."""
    cpus: PositiveFloat | None = None
    """CPU cores of a trial; null: an equal share per GPU; without GPUs one, or more if there are few trials."""
    max_concurrent: Positive | None = None
    """Most trials at once; null: as many as fit."""


class FailureConfig(Block):
    """What happens to a trial that fails."""

    max_retries: NonNegative = 1
    """How often a trial is started again, from its last checkpoint."""


class SweepConfig(Block):
    """A sweep."""

    name: Name
    base: Annotated[str | dict[str, Any], BeforeValidator(_check_base)]
    """A trial YAML, relative to the sweep's own file, or the trial itself."""
    overrides: dict[str, Any] = Field(default={})
    """Dotted paths, or blocks, that are set in every arm."""
    arms: Annotated[dict[Name, dict[str, Any]], Field(min_length=1)]
    """Name of the arm -> its overrides and `ArmOptions`; the value of an override may be a search space."""
    baseline: str
    """The arm the others are compared with."""
    search: SearchConfig = SearchConfig()
    scheduler: SchedulerConfig = SchedulerConfig()
    resources: ResourcesConfig = ResourcesConfig()
    failure: FailureConfig = FailureConfig()
    tracking: TrackingConfig | None = None
    """null: the base trial's."""

    @model_validator(mode="after")
    def _baseline_is_an_arm(self) -> Self:
        if self.baseline not in self.arms:
            raise ValueError(f"baseline: found {self.baseline!r}; one of the arms {', '.join(self.arms)}")
        return self


SWEEP_BLOCKS = tuple(SweepConfig.model_fields)
"""Top-level keys of a sweep file."""
