"""The folder of a sweep that has ended, without running it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from essnet.atomic_files import write_json
from essnet.config import Arm, Point, Sweep, TrialConfig, to_yaml
from essnet.sweep.folder import COMPLETED, SweepFolder, TrialRecord
from essnet.training.result import History

Metrics = Callable[[TrialConfig], Mapping[str, float]]


def write_ended_sweep(
    path: Path, sweep: Sweep, trials: Iterable[tuple[Arm, Point]], metrics: Metrics, **record: Any
) -> SweepFolder:
    """Write a folder in which each of `trials` has run, with one evaluation; `record` replaces what is noted of each.

    As after a real run, the configurations have names, and the number of threads that the trial got.
    """
    folder = SweepFolder(path)
    write_json(path / "sweep.json", {"name": path.name})
    for index, (arm, point) in enumerate(trials):
        trial_id = f"{index:03d}-{arm.name}"
        overrides = {**arm.fixed, **point}
        config = sweep.trial_config({"trainer.num_threads": 3, **overrides, "name": trial_id})
        one = TrialRecord(trial_id, index, arm.name, index, overrides, dict(point), config.seed, 6, state=COMPLETED)
        folder.write_record(TrialRecord(**{**vars(one), **record}))
        (folder.trial(trial_id) / "config.yaml").write_text(to_yaml(config), encoding="utf-8")
        History(folder.trial(trial_id) / "history.jsonl").append(6, metrics(config))
    return folder
