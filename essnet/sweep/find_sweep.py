"""A sweep and its trials, found by what people type."""

from __future__ import annotations

from pathlib import Path

from essnet.config import InputError, did_you_mean
from essnet.sweep.folder import SweepFolder


def find_sweep(text: str, output: Path) -> SweepFolder:
    """Return the sweep that is called `text` below `output`, or whose folder `text` is.

    Raises
    ------
    InputError
        If there is none, or a newer essnet wrote it in a format of its own.
    """
    for path in (output / text, Path(text)):
        if (path / "sweep.json").exists():
            folder = SweepFolder(path)
            folder.known_state()
            return folder
    known = [path.name for path in sweep_paths(output)]
    hint = did_you_mean(text, known) if known else f"; there is no sweep in {output}"
    raise InputError(f"{text}: no such sweep{hint}")


def sweep_paths(output: Path) -> list[Path]:
    """Return the folders of all sweeps below `output`, by name."""
    return sorted(path.parent for path in output.glob("*/sweep.json"))


def find_trial(text: str, folder: SweepFolder, *, argument: str) -> str:
    """Return the id of the trial that is called `text`, or whose id begins with that number.

    Raises
    ------
    InputError
        If there is none; it names `argument`.
    """
    ids = [record.trial_id for record in folder.records()]
    for trial_id in ids:
        number = trial_id.partition("-")[0]
        if trial_id == text or (text.isdecimal() and number.isdecimal() and int(number) == int(text)):
            return trial_id
    known = ", ".join(ids[:10]) + (", ..." if len(ids) > 10 else "")
    raise InputError(f"{argument}: {folder.path} has no trial {text!r}; there are {known or 'none yet'}")
