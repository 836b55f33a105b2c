"""The MLflow run of `train`: what it is, and how it ends."""

from __future__ import annotations

import shlex
import uuid
from collections.abc import Mapping
from typing import TYPE_CHECKING

from essnet.tracking import MlflowTracker, RunSpec
from essnet.tracking.entries import best_values
from essnet.tracking.markdown import code_block, inert
from essnet.tracking.run_params import run_params

if TYPE_CHECKING:
    from pathlib import Path

    from essnet.config import TrialConfig
    from essnet.training.result import TrainResult


def start_train_run(
    directory: Path, config: TrialConfig, *, uri: str, artifact_root: Path, resume: bool
) -> MlflowTracker:
    """Return a tracker to the run of a folder, whose `config.yaml` is written; whether the store answers or not.

    `resume` goes on with the run that the folder had before.
    """
    before = RunSpec.load(directory) if resume else None
    identity = {"essnet.kind": "train", "essnet.directory": str(directory), "essnet.run_key": uuid.uuid4().hex}
    spec = RunSpec(
        uri=uri,
        experiment=config.tracking.experiment,
        artifact_root=str(artifact_root.absolute()),
        name=directory.name,
        # A folder that was removed and made again is another run: a key in it tells them apart.
        identity=before.identity if before is not None else identity,
        params=run_params(config),
    )
    tracker = MlflowTracker(directory, spec)
    tracker.describe(_description(directory, config))
    tracker.log_artifact(directory / "config.yaml", "")
    return tracker


def track_result(tracker: MlflowTracker, config: TrialConfig, result: TrainResult) -> None:
    """Log the metrics of the best evaluation as `best/...`, which the table of runs shows, and say so on its page."""
    best = best_values(result.metrics)
    tracker.log(result.steps, best)
    tracker.describe(_description(result.directory, config, best=best))


def _description(directory: Path, config: TrialConfig, *, best: Mapping[str, float] | None = None) -> str:
    data = config.data
    lines = [f"One trial: **{inert(config.objective.name)}** on **{inert(data.name)}**, without a sweep or a baseline."]
    if best:
        lines.append(f"Its best evaluation: {', '.join(f'{inert(key)} {value:.4g}' for key, value in best.items())}")
    lines += ["To run it again:", code_block(f"launch.py train {shlex.quote(str(directory / 'config.yaml'))}")]
    return "\n\n".join(lines)
