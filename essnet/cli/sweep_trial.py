"""One trial of a sweep, found by its number or name."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from essnet.config.errors import InputError
from essnet.sweep.find_sweep import find_sweep, find_trial

if TYPE_CHECKING:
    from collections.abc import Sequence

    from essnet.config import TrialConfig


def load_sweep_trial(text: str, overrides: Sequence[str], *, output: Path) -> TrialConfig:
    """Return the configuration with which a sweep runs the trial `SWEEP/TRIAL_ID`, called `SWEEP-TRIAL_ID`.

    SWEEP is a sweep's folder, or its name below `output`; TRIAL_ID is the name of one of the folders in its `trials/`,
    or only the number with which that begins. Raises InputError if there is no such sweep or trial, or the trial has
    never started.
    """
    from essnet.config import trial_from_mapping
    from essnet.config.overrides import with_overrides
    from essnet.config.strict_yaml import load_yaml_mapping

    sweep, _, wanted = text.rstrip("/").rpartition("/")
    if not sweep or not wanted:
        raise InputError(f"--from-trial: found {text!r}; expected SWEEP/TRIAL_ID, such as textures/003")
    folder = find_sweep(sweep.removesuffix("/trials"), output)
    trial_id = find_trial(wanted, folder, argument="--from-trial")
    path = folder.trial(trial_id) / "config.yaml"
    if not path.is_file():
        raise InputError(f"--from-trial: {trial_id} of {folder.path} has not started yet; its {path.name} is missing")
    name = f"{folder.path.resolve().name}-{trial_id}"[:100]
    return trial_from_mapping(with_overrides(load_yaml_mapping(path), {"name": name}), overrides, source=str(path))
