"""The schema of a sweep: arms over a base trial, how they are searched, and what they may use."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, field_validator, model_validator

from essnet.config.extension_names import REPORT_FIGURES
from essnet.config.extensions import check_name
from essnet.config.fields import (
    Block,
    Name,
    NonNegative,
    NonNegativeFloat,
    Positive,
    PositiveFloat,
    absolute,
    check_home,
)
from essnet.config.loop import TrackingConfig
from essnet.config.messages import did_you_mean
from essnet.config.scheduler import SchedulerConfig

_FREQUENCY_METRICS = ("val/miou_frequent", "val/miou_common", "val/miou_rare")
"""Only where the data set groups its classes by how frequent they are."""

_GROUPED_DATA = ("coco_lvis", "textures")

Mode = Literal["max", "min"]

METRICS: dict[str, Mode] = {
    "val/miou": "max",
    "val/mean_accuracy": "max",
    "val/pixel_accuracy": "max",
    "val/fw_iou": "max",
    **dict.fromkeys(_FREQUENCY_METRICS, "max"),
    "perf/step_ms": "min",
    "perf/images_per_s": "max",
    "perf/data_wait_ms": "min",
    "perf/evaluation_s": "min",
    "perf/peak_memory_mib": "min",
    "perf/loss_memory_mib": "min",
}
"""Metric by which a sweep can search and compare -> whether more or less of it is better."""

_LOSSES = ("val/loss", "train/loss")


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


def _check_known(metric: str) -> str:
    if metric in _LOSSES:
        raise ValueError(f"found {metric!r}, which is another one for each objective; take val/miou")
    if metric not in METRICS:
        raise ValueError(f"found {metric!r}{did_you_mean(metric, METRICS)}")
    return metric


Metric = Annotated[str, AfterValidator(_check_known)]

S3_SCHEME = "s3://"


def _check_storage(address: str) -> str:
    if address.startswith(S3_SCHEME):
        bucket = address.removeprefix(S3_SCHEME).partition("/")[0]
        if not bucket or "?" in address or "@" in address:
            # What was found may be a secret, and is not repeated.
            raise ValueError("expected s3://bucket/prefix; keys, endpoint and region stand in the environment")
        return address.rstrip("/")
    if "://" in address or not address:
        raise ValueError(f"found {address!r}; expected s3://bucket/prefix, or a folder that all nodes mount")
    return absolute(check_home(address))


StorageAddress = Annotated[str, AfterValidator(_check_storage)]
"""Where a sweep is kept: `s3://bucket/prefix`, or a folder, then absolute."""


def _better(metric: object) -> Mode:
    return METRICS.get(str(metric), "max")


def _first_metric(objectives: object) -> object:
    first = objectives[0] if isinstance(objectives, list) and objectives else None
    metric = first.get("metric") if isinstance(first, dict) else None
    return metric if str(metric) in METRICS else "val/miou"


def _check_mode(metric: str, mode: Mode) -> None:
    if mode != METRICS[metric]:
        better = "more" if METRICS[metric] == "max" else "less"
        raise ValueError(f"mode: found {mode!r}, but {better} {metric} is better; leave mode out")


class SearchObjective(Block):
    """One of several things that are wanted at once."""

    metric: Metric
    mode: Mode = "max"
    """Left out: what is better for the metric."""

    @model_validator(mode="before")
    @classmethod
    def _mode_of_metric(cls, values: object) -> object:
        return {"mode": _better(values.get("metric")), **values} if isinstance(values, dict) else values

    @model_validator(mode="after")
    def _sound_mode(self) -> Self:
        _check_mode(self.metric, self.mode)
        return self


class SearchConstraint(Block):
    """A limit that a trial has to keep to in order to be wanted at all."""

    metric: Metric
    at_most: float | None = None
    at_least: float | None = None

    @model_validator(mode="after")
    def _one_limit(self) -> Self:
        if (self.at_most is None) == (self.at_least is None):
            raise ValueError("expected one of at_most and at_least; for both write two constraints")
        return self


class SearchConfig(Block):
    """How the points of the search spaces are chosen."""

    algorithm: Literal["grid", "random", "optuna"] = "grid"
    num_trials: Positive | None = None
    """Trials of all arms that have a search space; grid runs every point instead. Arms with `num_trials` or `share` of
    their own take these, and the others the rest in equal parts."""
    points: list[dict[str, Any]] = Field(default=[])
    """Points to try first, as dotted overrides, each with `arm`; they count among the arm's trials."""
    warm_start: list[Annotated[str, Field(min_length=1)]] = Field(default=[])
    """Names of earlier sweeps in the same output folder, or their folders: what their trials found is known from the
    beginning, where they are trials that an arm could run. Only for optuna."""
    time_budget: PositiveFloat | None = None
    """Hours after which no trial of the search is begun any more, counted while the sweep runs; null: no limit."""
    step_budget: Positive | None = None
    """No trial of the search is begun once those that were make so many optimizer steps; null: no limit."""
    seed: NonNegative = 0
    objectives: list[SearchObjective] = Field(default=[])
    """What is wanted where it is more than one thing; trials are ranked by the first."""
    constraints: list[SearchConstraint] = Field(default=[])
    metric: Metric = "val/miou"
    """Left out: the first of the objectives, or mIoU."""
    mode: Mode = "max"
    """Left out: what is better for the metric."""

    @property
    def directions(self) -> dict[str, Mode]:
        """Return the metric of each objective -> its mode; `metric` where there are no objectives."""
        return {objective.metric: objective.mode for objective in self.objectives} or {self.metric: self.mode}

    @property
    def metrics(self) -> dict[str, str]:
        """Return where a metric stands in this block -> the metric, for all that are looked at."""
        first = {} if self.objectives else {"metric": self.metric}
        objectives = {f"objectives.{place}.metric": one.metric for place, one in enumerate(self.objectives)}
        constraints = {f"constraints.{place}.metric": one.metric for place, one in enumerate(self.constraints)}
        return {**first, **objectives, **constraints}

    @model_validator(mode="before")
    @classmethod
    def _metric_and_mode(cls, values: object) -> object:
        if not isinstance(values, dict):
            return values
        metric = values.get("metric", _first_metric(values.get("objectives")))
        return {"metric": metric, "mode": _better(metric), **values}

    @model_validator(mode="after")
    def _trials(self) -> Self:
        if self.algorithm == "grid" and self.num_trials is not None:
            raise ValueError("num_trials: grid runs every point; leave it out, or take algorithm: random")
        if self.algorithm == "grid" and self.points:
            raise ValueError("points: grid runs every point; leave them out, or take algorithm: random")
        if self.algorithm != "optuna" and self.warm_start:
            raise ValueError(f"warm_start: {self.algorithm} does not learn; leave it out, or take algorithm: optuna")
        return self

    @model_validator(mode="after")
    def _one_ranking(self) -> Self:
        _check_mode(self.metric, self.mode)
        if self.objectives and self.metric != self.objectives[0].metric:
            raise ValueError(
                f"metric: found {self.metric!r}, but trials are ranked by the first of objectives, "
                f"{self.objectives[0].metric}; leave metric out"
            )
        if len(self.directions) < len(self.objectives):
            metrics = ", ".join(objective.metric for objective in self.objectives)
            raise ValueError(f"objectives: found {metrics}; expected each metric once")
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


class ReplicateConfig(Block):
    """Which configurations are run again with other seeds before one of them is called the best."""

    top: Positive = 1
    """How many configurations of each arm, by `search.metric`, once the arm's search has ended."""
    seeds: Annotated[list[NonNegative], Field(min_length=2)] | None = None
    """Seeds that each of them, and the baseline, has in the end, the one of its first run included; null: none more."""

    @field_validator("seeds")
    @classmethod
    def _each_once(cls, seeds: list[int] | None) -> list[int] | None:
        if seeds is not None and len(set(seeds)) < len(seeds):
            raise ValueError(f"found {seeds}; expected each seed once")
        return seeds


class ResourcesConfig(Block):
    """What one trial takes."""

    gpus: NonNegativeFloat | None = None
    """GPUs of a trial: a share of one, or a whole number; null: one where there are GPUs, none where there are not."""
    cpus: Annotated[float, Field(ge=0.01)] | None = None
    """CPU cores of a trial; null: an equal share per GPU; without GPUs one, or more if there are few trials."""
    max_concurrent: Positive | None = None
    """Most trials at once; null: as many as fit."""
    packing: Literal["none", "measured"] = "none"
    """`measured`: each kind of configuration is tried for some steps before the trials begin, and from the memory and
    the threads that it took follows what its trials take."""
    memory_margin: NonNegativeFloat = 0.2
    """Only for measured: memory that a trial is given beyond what was measured, as a part of that."""

    @model_validator(mode="after")
    def _as_ray_counts(self) -> Self:
        if self.gpus is not None and (0 < self.gpus < 0.01 or (self.gpus > 1 and not self.gpus.is_integer())):
            raise ValueError(f"gpus: found {self.gpus:g}; expected a share of one GPU, 0.01 to 1, or a whole number")
        if self.packing == "measured" and self.gpus not in (None, 0.0, 1.0):
            raise ValueError(f"gpus: found {self.gpus:g}, but packing=measured finds a trial's share; leave it out")
        if self.packing == "measured" and self.cpus is not None:
            raise ValueError(f"cpus: found {self.cpus:g}, but packing=measured finds a trial's cores; leave it out")
        return self


class FailureConfig(Block):
    """What happens to a trial that fails."""

    max_retries: NonNegative = 1
    """How often a trial is started again, from its last checkpoint."""


class ReportConfig(Block):
    """What the comparison shows beside what it always does."""

    figures: list[str] = Field(default=[])
    """Figures of other packages, for its page."""

    @field_validator("figures")
    @classmethod
    def _known(cls, figures: list[str]) -> list[str]:
        return [check_name(name, group=REPORT_FIGURES, built_in=()) for name in figures]


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
    replicate: ReplicateConfig = ReplicateConfig()
    resources: ResourcesConfig = ResourcesConfig()
    failure: FailureConfig = FailureConfig()
    report: ReportConfig = ReportConfig()
    storage: StorageAddress | None = None
    """Where trials and the sweep's state are kept, so that nodes need no shared output folder; null: in that alone."""
    tracking: TrackingConfig | None = None
    """null: the base trial's."""

    @model_validator(mode="after")
    def _baseline_is_an_arm(self) -> Self:
        if self.baseline not in self.arms:
            raise ValueError(f"baseline: found {self.baseline!r}; one of the arms {', '.join(self.arms)}")
        return self

    @model_validator(mode="after")
    def _scheduler_has_its_metric(self) -> Self:
        if self.scheduler.name != "none" and not self.search.metric.startswith("val/"):
            raise ValueError(
                f"scheduler: {self.scheduler.name} stops trials by {self.search.metric}, which only a whole run has; "
                "take name: none, or search by a val/ metric"
            )
        return self


SWEEP_BLOCKS = tuple(SweepConfig.model_fields)
"""Top-level keys of a sweep file."""
