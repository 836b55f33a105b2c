"""`stop`: ending one trial of a sweep, which goes on."""

from __future__ import annotations

from typing import Annotated

import typer

from essnet.cli.terminal import DEFAULT_OUTPUT, Debug, Output
from essnet.config.errors import InputError
from essnet.sweep.find_sweep import find_sweep, find_trial


def stop(
    sweep: Annotated[str, typer.Argument(metavar="SWEEP", help="Name of a sweep, or its folder.", show_default=False)],
    trial: Annotated[str, typer.Argument(metavar="TRIAL", help="Its number, or its whole name.", show_default=False)],
    output: Output = DEFAULT_OUTPUT,
    debug: Debug = False,
) -> None:
    """End a trial for good, with a checkpoint after the step that it is in; the sweep goes on without it.

    One that waits never begins, one that failed is not tried again. It is compared by what it has reached.

    Examples:

      launch.py stop textures 3
    """
    from essnet.file_lock import holder
    from essnet.sweep.folder import ENDED, RUNNING
    from essnet.sweep.requests import Requests

    folder = find_sweep(sweep, output)
    trial_id = find_trial(trial, folder, argument="TRIAL")
    state = folder.record(trial_id).state
    if state in ENDED:
        raise InputError(f"TRIAL: {trial_id} of {folder.path} has ended already ({state.lower()})")
    Requests(folder.path).stop(trial_id)
    if holder(folder.path / "lock") is None:
        print(f"{trial_id} is not run again when the sweep goes on with --resume")
    elif state == RUNNING:
        print(f"{trial_id} ends after the step that it is in")
    else:
        print(f"{trial_id} is not run")
