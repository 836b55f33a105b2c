"""`logs`: what happened in a trial of a sweep."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Annotated

import typer

from essnet.cli.terminal import DEFAULT_OUTPUT, Debug, Output
from essnet.config.errors import InputError
from essnet.sweep.find_sweep import find_sweep, find_trial

_LOOK_SECONDS = 0.5


def logs(
    sweep: Annotated[str, typer.Argument(metavar="SWEEP", help="Name of a sweep, or its folder.", show_default=False)],
    trial: Annotated[str, typer.Argument(metavar="TRIAL", help="Its number, or its whole name.", show_default=False)],
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Wait for more lines while the trial runs.")] = False,
    output: Output = DEFAULT_OUTPUT,
    debug: Debug = False,
) -> None:
    """Print a trial's log: its evaluations, warnings, and the traceback it failed with.

    Examples:

      launch.py logs textures 3

      launch.py logs textures 003-knn_softmax --follow
    """
    from essnet.file_lock import holder
    from essnet.sweep.folder import PENDING, RUNNING
    from essnet.sweep.trial_log import LOG_FILE

    folder = find_sweep(sweep, output)
    trial_id = find_trial(trial, folder, argument="TRIAL")
    path = folder.trial(trial_id) / LOG_FILE
    if not path.exists() and not follow:
        raise InputError(f"{path}: is not there yet; the trial has not started")
    position = _print_from(path, 0)
    while follow and holder(folder.path / "lock") and folder.record(trial_id).state in (PENDING, RUNNING):
        time.sleep(_LOOK_SECONDS)
        position = _print_from(path, position)
    _print_from(path, position)


def _print_from(path: Path, position: int) -> int:
    """Print what the file has from `position` on; return where it ends."""
    if not path.exists():
        return position
    with path.open("rb") as file:
        file.seek(position)
        content = file.read()
    sys.stdout.write(content.decode("utf-8", errors="replace"))
    sys.stdout.flush()
    return position + len(content)
