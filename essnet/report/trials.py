"""The trials of a sweep as the comparison sees them, read from their folders."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import yaml

from essnet.atomic_files import read_json
from essnet.config.model import BUILT_IN_OBJECTIVES
from essnet.sweep.folder import ENDED, FAILED, SweepFolder, TrialRecord
from essnet.training.result import best_of_history, read_history

_JSON_KEYS = (
    "trial_id", "arm", "overrides", "seed", "state", "steps", "metrics", "run_id", "replicates", "failure", "error",
    "earlier_failures",
)  # fmt: skip
_NO_NEIGHBOURS = ("full_softmax", "embedding_softmax")
# The same in C where PyYAML was built with it: a fifteenth of the time, for hundreds of files.
_YAML_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass(frozen=True)
class ComparedTrial:
    """A trial; `metrics` are those of its best evaluation, with its `perf/` figures."""

    trial_id: str
    arm: str
    overrides: Mapping[str, Any]
    seed: int
    state: str
    steps: int
    """Up to its last evaluation."""
    metrics: Mapping[str, float]
    max_steps: int = 0
    run_id: str | None = None
    replicates: str | None = None
    """Id of the trial whose configuration this one runs again with another seed."""
    failure: str | None = None
    """What kind of failure `error` is, in a short word such as out_of_memory."""
    error: str | None = None
    earlier_failures: Sequence[Mapping[str, str]] = ()
    """`kind` and `message` of those after which it was tried again."""
    point: Mapping[str, Any] = field(default_factory=dict)
    """The searched part of the overrides."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """The `objective` block that it ran with; empty before it has begun."""
    curve: tuple[tuple[int, float], ...] = ()
    """(step, value) of each evaluation: the metric that is compared, where it is a number."""

    @property
    def embedding_dim(self) -> int | None:
        """Return d, or None where there is none; another package's objective may have an option of this name."""
        return None if self.settings.get("name") == "full_softmax" else self._whole_number("embedding_dim")

    @property
    def num_neighbours(self) -> int | None:
        """Return k, or None for an objective without neighbours."""
        return None if self.settings.get("name") in _NO_NEIGHBOURS else self._whole_number("num_neighbours")

    def _whole_number(self, key: str) -> int | None:
        is_built_in = self.settings.get("name") in BUILT_IN_OBJECTIVES
        settings = self.settings if is_built_in else self.settings.get("options")
        value = settings.get(key) if isinstance(settings, Mapping) else None
        return value if isinstance(value, int) else None  # the file may be a stranger's

    def value_up_to(self, step: int, *, metric: str, mode: str) -> float | None:
        """Return what `metrics` would have for the metric of `curve` had the trial ended at `step`."""
        values = [value for at, value in self.curve if at <= step]
        if not values:
            return None
        if metric.startswith("perf/"):  # each time of all steps so far
            return values[-1]
        return max(values) if mode == "max" else min(values)

    @property
    def failure_line(self) -> str:
        """Return which trial failed, how and why, in a line."""
        return ": ".join(part for part in ("failed", self.trial_id, self.failure, self.error) if part)

    @property
    def failure_lines(self) -> list[str]:
        """Return a line for each failure of the trial, also those after which it was tried again."""
        earlier = [f"tried again: {self.trial_id}: {one['kind']}: {one['message']}" for one in self.earlier_failures]
        return [*earlier, self.failure_line] if self.state == FAILED else earlier

    def to_json(self) -> dict[str, Any]:
        """Return the trial with the keys that scripts rely on."""
        return {key: getattr(self, key) for key in _JSON_KEYS}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> ComparedTrial:
        """Return a trial that `to_json` returned and a command printed, as far as that tells it."""
        numbers = {name: value for name, value in values["metrics"].items() if value is not None}  # null: was no number
        return cls(**{key: values[key] for key in _JSON_KEYS if key in values} | {"metrics": numbers})


class TrialReader:
    """Reads the trials of a sweep as often as it is asked, and those that have ended once: they never change.

    One that failed is read each time, since `--resume` runs it again.
    """

    def __init__(self, folder: SweepFolder) -> None:
        self._folder = folder
        self._ended: dict[str, tuple[TrialRecord, ComparedTrial]] = {}

    def read(self, *, metric: str, mode: str) -> list[ComparedTrial]:
        """Return all trials, in the order of their index."""
        trials = []
        for record in self._folder.records():
            known_record, trial = self._ended.get(record.trial_id, (None, None))
            if trial is None or known_record != record:
                # After its record: what a trial that has ended left behind is then complete.
                trial = _read_trial(self._folder.trial(record.trial_id), record, metric, mode)
            if record.state in ENDED:
                self._ended[record.trial_id] = record, trial
            trials.append(trial)
        return trials


def _read_trial(path: Path, record: TrialRecord, metric: str, mode: str) -> ComparedTrial:
    history = read_history(path / "history.jsonl")
    return ComparedTrial(
        trial_id=record.trial_id,
        arm=record.arm,
        overrides=record.overrides,
        seed=record.seed,
        state=record.state,
        steps=history[-1]["step"] if history else 0,
        metrics=best_of_history(history, metric, mode),
        max_steps=record.max_steps,
        run_id=read_json(path / "run.json").get("run_id"),
        replicates=record.replicates,
        failure=record.failure,
        error=record.error,
        earlier_failures=[asdict(failure) for failure in record.earlier_failures],
        point=record.point,
        settings=_read_settings(path / "config.yaml"),
        curve=tuple(
            (entry["step"], entry["metrics"][metric])
            for entry in history
            if math.isfinite(entry["metrics"].get(metric, math.nan))
        ),
    )


def _read_settings(path: Path) -> dict[str, Any]:
    """Return the `objective` block; empty where there is none to be read: the trial's figures count all the same."""
    try:
        config = yaml.load(path.read_text(encoding="utf-8"), Loader=_YAML_LOADER)
    except (FileNotFoundError, ValueError, RecursionError, yaml.YAMLError):
        return {}
    settings = config.get("objective") if isinstance(config, dict) else None
    return settings if isinstance(settings, dict) else {}
