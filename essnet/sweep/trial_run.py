"""A trial's MLflow run; after a retry or a resume it is the same one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from essnet.config import TrialConfig
from essnet.tracking import MlflowTracker, RunSpec
from essnet.tracking.run_params import run_params

_CLOSING_SECONDS = 5.0
"""How long a trial's end waits for the store; what is left then is delivered by the sweep's driver."""


@contextmanager
def trial_run(task: Mapping[str, Any], config: TrialConfig) -> Iterator[MlflowTracker]:
    """Give the block a tracker to the run of a trial, whose `config.yaml` is written; whether the store answers or not.

    `task` is what `PlannedSearch.suggest` returns. How the run ends is said by the sweep's driver, who knows.
    """
    tracking = task["tracking"]
    tags = {"essnet.kind": "trial", "essnet.sweep": tracking["sweep"], "essnet.arm": task["arm"]}
    if task["replicates"] is not None:
        tags["essnet.replicates"] = task["replicates"]
    directory = Path(task["directory"])
    spec = RunSpec(
        uri=tracking["uri"],
        experiment=tracking["experiment"],
        artifact_root=tracking["artifact_root"],
        name=task["trial_id"],
        identity={"essnet.trial_id": task["trial_id"], "mlflow.parentRunId": tracking["parent_run_id"]},
        tags=tags,
        params={
            **run_params(config, compared=tracking["compared"]),
            **{key: str(value) for key, value in task["placement"].items()},
        },
    )
    tracker = MlflowTracker(directory, spec)
    tracker.describe(task["description"])
    tracker.log_artifact(directory / "config.yaml", "")
    try:
        yield tracker
    finally:
        tracker.close(wait_seconds=_CLOSING_SECONDS)
