"""A sweep's own state and its MLflow run, the parent of the trials' runs: begun, found again, ended."""

from __future__ import annotations

import time
import uuid
from collections.abc import Sequence
from pathlib import Path

from essnet import __version__
from essnet.atomic_files import write_json
from essnet.config import InputError, Sweep
from essnet.config.errors import first_line
from essnet.config.overrides import flatten
from essnet.sweep.ended_runs import EndedRuns, is_tracked, sweep_status
from essnet.sweep.environment import environment
from essnet.sweep.folder import FORMAT_VERSION, SweepFolder
from essnet.sweep.plan import plan_trials
from essnet.sweep.resumable import saved_configuration
from essnet.sweep.sweep_tracking import SweepProgress, parent_tracker
from essnet.tracking import RunSpec, RunStore

_DELIVERY_SECONDS = 30.0
"""How long the end of a sweep waits for the store."""
_LEFTOVER_SECONDS = 5.0
"""How long somebody waits for it who only looks at a sweep that has ended."""


def start_parent(sweep: Sweep, folder: SweepFolder, store: RunStore, *, resume_command: str | None = None) -> str:
    """Return the id of the sweep's run, made or found again, and note where it is.

    `resume_command` is what a person types to go on with the sweep.

    Raises
    ------
    InputError
        If the store does not answer: a sweep does not begin without one.
    """
    config = sweep.config
    state = {
        "sweep_id": uuid.uuid4().hex,
        "started": time.time(),
        "name": config.name,
        "baseline": config.baseline,
        "metric": config.search.metric,
        "mode": config.search.mode,
        "tracking_uri": store.uri,
        "experiment": store.experiment,
        "artifact_root": str(store.artifact_root.absolute()),
        "parent_run_id": None,
        "environment": environment(),
        **folder.known_state(),
        "format_version": FORMAT_VERSION,
        "essnet_version": __version__,
        "num_trials": len(plan_trials(sweep)),
        "done": False,
        "resume_command": resume_command,
        "configuration": saved_configuration(sweep),
    }
    # The id by which the run is found again is on disk before there is a run to lose.
    write_json(folder.path / "sweep.json", state)
    spec = RunSpec(
        uri=store.uri,
        experiment=store.experiment,
        artifact_root=state["artifact_root"],
        name=f"sweep {config.name}",
        identity={"essnet.kind": "sweep", "essnet.sweep_id": state["sweep_id"]},
        tags={"essnet.sweep": config.name},
        params=_params(sweep),
    )
    try:
        parent_run_id = store.find_or_make(
            spec.name,
            identity=spec.identity,
            tags=spec.tags,
            params=spec.params,
            known_run_id=state["parent_run_id"],
        )
    except Exception as error:  # whatever MLflow and the libraries below it raise
        raise InputError(f"tracking.uri: {store.uri} does not answer any more ({first_line(error)})") from None
    spec.save(folder.path)
    folder.note(parent_run_id=parent_run_id)
    return parent_run_id


def end_runs(
    folder: SweepFolder,
    *,
    done: bool,
    answers: Sequence[str] = (),
    artifacts: Sequence[Path] = (),
    wait_seconds: float = _DELIVERY_SECONDS,
) -> bool:
    """End the sweep's run, and those of all its trials; return whether the store has everything now.

    Parameters
    ----------
    folder
        The sweep's folder.
    done
        Whether no trial is left to run.
    answers
        What the report says, for the description of the sweep's run.
    artifacts
        The report's files, for the same run.
    wait_seconds
        How long it may take while the store does not answer, apart from a request that is on its way.
    """
    if RunSpec.load(folder.path) is None:  # never begun, or by an earlier version
        return True
    tracker = parent_tracker(folder)
    SweepProgress(folder, tracker).log(tuple(answers))
    for path in artifacts:
        tracker.log_artifact(path, "report")
    complete = EndedRuns(folder).settle_within(wait_seconds, others="KILLED")
    tracker.end(sweep_status(folder.records(), done=done))
    return tracker.close(wait_seconds=wait_seconds if complete else 1.0) and complete


def deliver_leftovers(folder: SweepFolder, *, done: bool) -> bool:
    """Bring to the store what it lacks of a sweep that does not run; return whether it has everything now.

    `done` says whether no trial is left to run.
    """
    if is_tracked(folder):
        return True
    try:
        with folder.locked():
            return end_runs(folder, done=done, wait_seconds=_LEFTOVER_SECONDS)
    except (InputError, OSError):  # it runs, or it is somebody else's to write
        return False


def _params(sweep: Sweep) -> dict[str, str]:
    config = sweep.config
    search = dict(flatten(config.search.model_dump(), "search."))
    return {"baseline": config.baseline, **{path: str(value) for path, value in search.items()}}
