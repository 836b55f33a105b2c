"""Whether a trial of another sweep is one that an arm could run, and what stands between the two."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from essnet.config import Arm, InputError, Point, Space, Sweep, TrialConfig
from essnet.config.arm_checks import check_point
from essnet.config.overrides import flatten
from essnet.config.sweep import SearchConfig
from essnet.config.trial_keys import value_at
from essnet.training.device import resolve_device
from essnet.training.resume import MAY_CHANGE

_MEMORY_DEPENDS_ON = ("trainer.device",)
_TIMES_DEPEND_ON = ("trainer.device", "trainer.num_threads", "data.num_workers")


@dataclass(frozen=True)
class Fit:
    """A trial as an arm sees it."""

    point: Point
    differences: tuple[str, ...]
    """What can be said of trials that the arm would not run, after "they"; empty where it would run this one."""


def fit(sweep: Sweep, arm: Arm, trial: TrialConfig) -> Fit:
    """Return the point of an arm at which it would run a trial, and all in which the two differ nevertheless."""
    values = trial.model_dump()
    differences: list[str] = []

    def read(path: str, _: Space) -> Any:
        try:
            return value_at(values, path, {})
        except KeyError:
            raise InputError(f"{path}: is missing") from None

    try:
        found = arm.build_point(read)
    except InputError as error:
        return Fit({}, (f"lie outside the space ({error})",))
    if found is None:
        return Fit({}, ("have too few classes for the neighbours that are searched",))
    try:
        point = check_point(arm, found)
    except InputError as error:
        differences.append(f"lie outside the space ({error})")
        point = found
    try:
        expected = sweep.trial_config({**arm.fixed, **point})
    except InputError as error:
        return Fit(point, (*differences, f"are none that the arm {arm.name} could run ({error})"))
    theirs, mine = (_with_device(dict(flatten(one))) for one in (values, expected.model_dump()))
    ignored = _ignored(sweep.config.search)
    paths = sorted(path for path in theirs.keys() | mine.keys() if theirs.get(path) != mine.get(path))
    differences += [f"differ in {path}" for path in paths if path not in ignored]
    return Fit(point, tuple(differences))


def _with_device(values: dict[str, Any]) -> dict[str, Any]:
    """Name the device that `auto` is here: a trial that ran without a GPU has `cpu` in its configuration."""
    device = values.get("trainer.device")
    return {**values, "trainer.device": resolve_device("auto").type} if device == "auto" else values


def _ignored(search: SearchConfig) -> set[str]:
    """The keys that do not decide over what the search looks at, or only as another seed would."""
    ignored = {"name", "seed", *MAY_CHANGE}
    for metric in search.metrics.values():
        if metric.startswith("perf/"):
            ignored.difference_update(_MEMORY_DEPENDS_ON if metric.endswith("_mib") else _TIMES_DEPEND_ON)
    return ignored
