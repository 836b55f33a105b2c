"""`status` and `list`: how sweeps stand, from any terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from essnet.cli.terminal import DEFAULT_OUTPUT, Debug, Json, Output, people_console, print_json
from essnet.config.errors import InputError
from essnet.sweep.find_sweep import find_sweep, sweep_paths

if TYPE_CHECKING:
    from essnet.sweep.folder import SweepFolder


def status(
    sweep: Annotated[str, typer.Argument(metavar="SWEEP", help="Name of a sweep, or its folder.", show_default=False)],
    output: Output = DEFAULT_OUTPUT,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Say how a sweep stands: its arms, what runs, what failed, how long it will take.

    Examples:

      launch.py status textures
    """
    from essnet.cli.sweep_snapshot import SnapshotReader
    from essnet.cli.sweep_tables import standing
    from essnet.sweep.folder import RUNNING

    folder = find_sweep(sweep, output)
    console = people_console(as_json)
    counts = _counts(folder)
    runs = counts["process"] is not None
    snapshot = SnapshotReader(folder).read()
    assert snapshot is not None  # it was found by what that looks for
    if not runs:
        snapshot = snapshot.without_driver()
    concurrent = sum(trial.state == RUNNING for trial in snapshot.comparison.trials)
    console.print(standing(snapshot, concurrent=concurrent))
    if runs:
        sentence = f"runs in process {counts['process']}"
    elif not counts["finished"]:
        sentence = "interrupted; the same sweep command goes on with --resume"
    elif counts["failed"]:
        sentence = f"done; {counts['failed']} failed, --resume tries them again"
    else:
        sentence = "done"
    console.print(sentence, markup=False)
    if as_json:
        print_json({**counts, "seconds_left": snapshot.seconds_left(concurrent=concurrent) if runs else None})


def list_sweeps(output: Output = DEFAULT_OUTPUT, as_json: Json = False, debug: Debug = False) -> None:
    """List the sweeps below the output folder: how far they are, and whether they run.

    Examples:

      launch.py list --output runs
    """
    from essnet.sweep.folder import SweepFolder

    console = people_console(as_json)
    found = []
    for path in sweep_paths(output):
        try:
            found.append(_counts(SweepFolder(path)))
        except InputError as error:  # of one; the others are well
            console.print(str(error), markup=False)
    for one in found:
        failed = f", {one['failed']} failed" if one["failed"] else ""
        done = "done; --resume tries what failed again" if failed else "done"
        running = f"running in process {one['process']}" if one["process"] else None
        state = running or (done if one["finished"] else "interrupted")
        console.print(f"{one['sweep']}: {one['ended']} of {one['num_trials']} trials{failed}, {state}", markup=False)
    if not found:
        console.print(f"there is no sweep in {output}", markup=False)
    if as_json:
        print_json(found)


def _counts(folder: SweepFolder) -> dict[str, Any]:
    from essnet.file_lock import holder
    from essnet.sweep.folder import ENDED, FAILED
    from essnet.sweep.requests import Requests

    state = folder.state()
    # What `extend` asked for after the sweep's process had gone.
    not_taken_up = Requests(folder.path).added_trials() - state.get("added_trials", 0)
    records = folder.records()
    states = [record.state for record in records]
    ended = sum(one in (*ENDED, FAILED) for one in states)
    return {
        "sweep": state["name"],
        "directory": str(folder.path.absolute()),
        "num_trials": state["num_trials"] + not_taken_up,
        "ended": ended,
        "failed": states.count(FAILED),
        "replicates": sum(record.replicates is not None for record in records),
        "finished": bool(state.get("done", ended == state["num_trials"])) and not not_taken_up,
        "process": holder(folder.path / "lock"),
    }
