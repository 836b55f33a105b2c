"""A trial's MLflow run, begun in the worker; after a retry or a resume it is the same one."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from essnet.atomic_files import write_json
from essnet.config import TrialConfig
from essnet.config.overrides import flatten
from essnet.tracking import MlflowTracker, RunStore


def start_trial_run(task: Mapping[str, Any], config: TrialConfig) -> MlflowTracker:
    """Return a tracker to the run of a trial, whose `config.yaml` is written; `run.json` then says which run it is.

    `task` is what `PlannedSearch.suggest` returns.

    Raises
    ------
    InputError
        If the tracking store does not answer.
    """
    tracking = task["tracking"]
    store = RunStore(tracking["uri"], tracking["experiment"], artifact_root=Path(tracking["artifact_root"]))
    tags = {"essnet.kind": "trial", "essnet.sweep": tracking["sweep"], "essnet.arm": task["arm"]}
    if task["replicates"] is not None:
        tags["essnet.replicates"] = task["replicates"]
    run_id = store.start(
        task["trial_id"],
        identity={"essnet.trial_id": task["trial_id"], "mlflow.parentRunId": tracking["parent_run_id"]},
        tags=tags,
        params={**dict(flatten(config.model_dump())), **task["placement"]},
    )
    directory = Path(task["directory"])
    write_json(directory / "run.json", {"run_id": run_id, "tracking_uri": tracking["uri"]})
    tracker = MlflowTracker(store, run_id)
    tracker.log_artifact(directory / "config.yaml", "")
    return tracker
