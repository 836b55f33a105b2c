"""`extend`: more trials for a sweep that runs, or has ended."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from essnet.cli.terminal import DEFAULT_OUTPUT, Debug, Output
from essnet.config.errors import InputError
from essnet.sweep.find_sweep import find_sweep


def extend(
    sweep: Annotated[str, typer.Argument(metavar="SWEEP", help="Name of a sweep, or its folder.", show_default=False)],
    trials: Annotated[int, typer.Argument(metavar="TRIALS", help="How many more.", min=1, show_default=False)],
    output: Output = DEFAULT_OUTPUT,
    debug: Debug = False,
) -> None:
    """Add trials to a random or optuna search, without a change to its YAML.

    The arms get them in proportion to the trials that they have. A sweep that runs takes them up by itself, one that
    has ended when it goes on with --resume; limits such as search.time_budget hold for them too.

    Examples:

      launch.py extend textures 8
    """
    from essnet.file_lock import holder
    from essnet.sweep.requests import Requests

    folder = find_sweep(sweep, output)
    configuration = folder.state().get("configuration")
    if configuration is None:
        raise InputError(f"{folder.path}: has not begun; set search.num_trials instead")
    if configuration["search"]["algorithm"] == "grid":
        raise InputError(f"{folder.path}: search.algorithm=grid runs every point; there are no further trials of it")
    if not any(_has_space(arm) for arm in configuration["arms"].values()):
        raise InputError(f"{folder.path}: no arm has a search space; there are no further trials of it")
    requests = Requests(folder.path)
    requests.add_trials(trials)
    added = f"{trials} more trials, {requests.added_trials()} added in all"
    if holder(folder.path / "lock") is None:
        print(f"{added}; the same sweep command runs them with --resume")
    else:
        print(f"{added}; the sweep takes them up")


def _has_space(block: Mapping[str, Any]) -> bool:
    from essnet.config.space import space_type

    return any(
        space_type(value) is not None or (isinstance(value, Mapping) and _has_space(value)) for value in block.values()
    )
