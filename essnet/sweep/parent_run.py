"""A sweep's own state and its MLflow run, the parent of the trials' runs: begun, found again, ended."""

from __future__ import annotations

import uuid
from typing import Any

from pydantic import ValidationError

from essnet import __version__
from essnet.atomic_files import read_json, write_json
from essnet.config import InputError, Sweep
from essnet.config.overrides import flatten
from essnet.config.space import same_value
from essnet.config.sweep import SweepConfig
from essnet.sweep.folder import ENDED, FAILED, SweepFolder
from essnet.sweep.plan import plan_trials
from essnet.tracking import RunStore
from essnet.training.resume import MAY_CHANGE

# Where trials run may change; where they are tracked may not: the parent run lies there.
_MAY_CHANGE = {f"base.{path}" for path in MAY_CHANGE if not path.startswith("tracking.")}
_BLOCKS_THAT_MAY_CHANGE = ("resources.", "failure.")


def check_resumable(sweep: Sweep, folder: SweepFolder) -> None:
    """Check that a sweep's folder holds this sweep and not another one.

    Raises
    ------
    InputError
        If the configuration differs in more than resources, retries, and where and how trials run.
    """
    saved = read_json(folder.path / "sweep.json").get("configuration")
    if saved is None:
        return
    old, new = dict(flatten(_with_defaults(saved))), dict(flatten(_configuration(sweep)))
    for path in sorted((old.keys() | new.keys()) - _MAY_CHANGE):
        same = path in old and path in new and same_value(old[path], new[path])
        if not same and not path.startswith(_BLOCKS_THAT_MAY_CHANGE):
            raise InputError(
                f"{path}: {_found(new, path)}, but the sweep in {folder.path} {_has(old, path)}; "
                "resume it with the same configuration, or choose another name=..."
            )
    # Arms take turns, and grids are walked, in the order in which they are written.
    if [path for path in old if path.startswith("arms.")] != [path for path in new if path.startswith("arms.")]:
        raise InputError(
            f"arms: stand in another order than those of the sweep in {folder.path}; "
            "resume it with the same configuration, or choose another name=..."
        )


def _found(configuration: dict[str, Any], path: str) -> str:
    return f"is {configuration[path]!r}" if path in configuration else "is missing"


def _has(configuration: dict[str, Any], path: str) -> str:
    return f"has {configuration[path]!r}" if path in configuration else "does not set it"


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
        **read_json(folder.path / "sweep.json"),
        "num_trials": len(plan_trials(sweep)),
        "configuration": _configuration(sweep),
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


def _with_defaults(saved: dict[str, Any]) -> dict[str, Any]:
    """Return a saved configuration with the keys that have come since it was saved, at their defaults."""
    try:
        config = SweepConfig.model_validate(saved)
    except ValidationError:
        return saved
    return {**config.model_dump(mode="json", exclude={"base", "overrides"}), "base": saved["base"]}


def _configuration(sweep: Sweep) -> dict[str, Any]:
    values: dict[str, Any] = sweep.config.model_dump(mode="json", exclude={"base", "overrides"})
    return {**values, "base": dict(sweep.base)}
