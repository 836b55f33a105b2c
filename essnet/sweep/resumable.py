"""Whether a sweep's folder may go on with a configuration that was edited, and what was edited."""

from __future__ import annotations

from typing import Any

from pydantic import ValidationError

from essnet.config import InputError, Sweep
from essnet.config.overrides import flatten
from essnet.config.space import same_value
from essnet.config.sweep import SweepConfig
from essnet.sweep.folder import SweepFolder
from essnet.training.resume import MAY_CHANGE

# Where trials run may change; where they are tracked may not: the parent run lies there.
_WHERE_TRACKED = ("tracking.uri", "tracking.experiment")
_MAY_CHANGE = {f"base.{path}" for path in MAY_CHANGE if path not in _WHERE_TRACKED} | {
    "search.time_budget",
    "search.step_budget",
}
_BLOCKS_THAT_MAY_CHANGE = ("resources.", "failure.", "replicate.", "report.")


def check_resumable(sweep: Sweep, folder: SweepFolder) -> list[str]:
    """Check that a sweep's folder holds this sweep and not another one; return what has changed since, a line each.

    Raises
    ------
    InputError
        If the configuration differs in more than budgets, replicates, resources, retries, figures, where and how trials
        run, and more trials of a search, or if the folder is of a newer format.
    """
    saved = folder.known_state().get("configuration")
    if saved is None:
        return []
    old, new = _compared(_with_defaults(saved)), _compared(saved_configuration(sweep))
    changes = []
    for path in sorted(old.keys() | new.keys()):
        if path in old and path in new and same_value(old[path], new[path]):
            continue
        if not _may_change(path, old.get(path), new.get(path)):
            raise InputError(
                f"{path}: {_found(new, path)}, but the sweep in {folder.path} {_has(old, path)}; "
                "resume it with the same configuration, or choose another name=..."
            )
        changes.append(f"{path}: {new.get(path)} now, {old.get(path)} before")
    # Arms take turns, and grids are walked, in the order in which they are written.
    if [path for path in old if path.startswith("arms.")] != [path for path in new if path.startswith("arms.")]:
        raise InputError(
            f"arms: stand in another order than those of the sweep in {folder.path}; "
            "resume it with the same configuration, or choose another name=..."
        )
    return changes


def saved_configuration(sweep: Sweep) -> dict[str, Any]:
    """Return what a sweep's folder keeps of its configuration."""
    values: dict[str, Any] = sweep.config.model_dump(mode="json", exclude={"base", "overrides"})
    return {**values, "base": dict(sweep.base)}


def _compared(configuration: dict[str, Any]) -> dict[str, Any]:
    """Return what makes a sweep: dotted path -> value."""
    # What the sweep says of tracking, its base has been told.
    return dict(flatten({key: value for key, value in configuration.items() if key != "tracking"}))


def _may_change(path: str, old: object, new: object) -> bool:
    if path in _MAY_CHANGE or path.startswith(_BLOCKS_THAT_MAY_CHANGE):
        return True
    # The search goes on where it ended: what was tried stays.
    of_trials = path == "search.num_trials" or (path.startswith("arms.") and path.endswith(".num_trials"))
    return of_trials and isinstance(old, int) and isinstance(new, int) and new > old


def _found(configuration: dict[str, Any], path: str) -> str:
    return f"is {configuration[path]!r}" if path in configuration else "is missing"


def _has(configuration: dict[str, Any], path: str) -> str:
    return f"has {configuration[path]!r}" if path in configuration else "does not set it"


def _with_defaults(saved: dict[str, Any]) -> dict[str, Any]:
    """Return a saved configuration with the keys that have come since it was saved, at their defaults."""
    try:
        config = SweepConfig.model_validate(saved)
    except ValidationError:
        return saved
    return {**config.model_dump(mode="json", exclude={"base", "overrides"}), "base": saved["base"]}
