"""One trial of a sweep, found by its number or name."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from essnet.config.errors import InputError

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
    from essnet.sweep.folder import SweepFolder

    sweep, _, wanted = text.rstrip("/").rpartition("/")
    if not sweep or not wanted:
        raise InputError(f"--from-trial: found {text!r}; expected SWEEP/TRIAL_ID, such as textures/003")
    folder = SweepFolder(_sweep_folder(sweep.removesuffix("/trials"), output))
    folder.state()  # refuses a folder that is no sweep's
    ids = [record.trial_id for record in folder.records()]
    number = int(wanted) if wanted.isdecimal() else None
    found = [trial_id for trial_id in ids if trial_id == wanted or _number(trial_id) == number is not None]
    if not found:
        known = ", ".join(ids[:10]) + (", ..." if len(ids) > 10 else "")
        raise InputError(f"--from-trial: {folder.path} has no trial {wanted!r}; there are {known or 'none yet'}")
    path = folder.trial(found[0]) / "config.yaml"
    if not path.is_file():
        raise InputError(f"--from-trial: {found[0]} of {folder.path} has not started yet; its {path.name} is missing")
    name = f"{folder.path.resolve().name}-{found[0]}"[:100]
    return trial_from_mapping(with_overrides(load_yaml_mapping(path), {"name": name}), overrides, source=str(path))


def _sweep_folder(sweep: str, output: Path) -> Path:
    below = output / sweep
    return below if not (Path(sweep) / "sweep.json").is_file() and below.is_dir() else Path(sweep)


def _number(trial_id: str) -> int | None:
    """The number with which a trial's name begins: 3 for `003-knn_softmax`."""
    digits = trial_id.partition("-")[0]
    return int(digits) if digits.isdecimal() else None
