"""A sweep's own state and its MLflow run, the parent of the trials' runs: begun, found again, ended."""

from __future__ import annotations

import uuid

from essnet import __version__
from essnet.atomic_files import read_json, write_json
from essnet.config import Sweep
from essnet.config.overrides import flatten
from essnet.sweep.environment import environment
from essnet.sweep.folder import ENDED, FAILED, SweepFolder
from essnet.sweep.plan import plan_trials
from essnet.sweep.resumable import saved_configuration
from essnet.tracking import RunStore


def start_parent(sweep: Sweep, folder: SweepFolder, store: RunStore) -> str:
    """Start the sweep's parent run, the same one after a resume, and note where it is."""
    config = sweep.config
    state = {
        "format_version": 1,
        "essnet_version": __version__,
        "sweep_id": uuid.uuid4().hex,
        "name": config.name,
        "baseline": config.baseline,
        "metric": config.search.metric,
        "mode": config.search.mode,
        "tracking_uri": store.uri,
        "experiment": store.experiment,
        "parent_run_id": None,
        "environment": environment(),
        **read_json(folder.path / "sweep.json"),
        "num_trials": len(plan_trials(sweep)),
        "done": False,
        "configuration": saved_configuration(sweep),
    }
    # The id by which the run is found again is on disk before there is a run to lose.
    write_json(folder.path / "sweep.json", state)
    parent_run_id = store.start(
        f"sweep {config.name}",
        identity={"essnet.kind": "sweep", "essnet.sweep_id": state["sweep_id"]},
        tags={"essnet.sweep": config.name},
        params={"baseline": config.baseline, **dict(flatten(config.search.model_dump(), "search."))},
    )
    write_json(folder.path / "sweep.json", {**state, "parent_run_id": parent_run_id})
    return parent_run_id


def end_runs(folder: SweepFolder, store: RunStore, *, status: str) -> None:
    """End the sweep's parent run with `status`, and every trial's run that is still RUNNING."""
    parent_run_id = folder.state()["parent_run_id"]
    if parent_run_id is None:
        return
    states = {record.trial_id: record.state for record in folder.records()}
    for run in store.children(parent_run_id):
        if run.info.status == "RUNNING":
            state = states.get(run.data.tags.get("essnet.trial_id", ""))
            store.end(run.info.run_id, "FINISHED" if state in ENDED else "FAILED" if state == FAILED else "KILLED")
    store.end(parent_run_id, status)
