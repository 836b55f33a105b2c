"""`sweep`: many trials on Ray Tune, and the comparison of them."""

from __future__ import annotations

import shlex
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from essnet.cli.terminal import (
    DEFAULT_OUTPUT,
    Debug,
    Json,
    Output,
    Overrides,
    check_writable,
    people_console,
    print_json,
    scan_progress,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from essnet.config import Sweep
    from essnet.config.loop import TrackingConfig
    from essnet.report import Comparison
    from essnet.sweep.folder import SweepFolder
    from essnet.sweep.resources import Capacity
    from essnet.sweep.stored_sweep import StoredSweep
    from essnet.tracking import RunStore

_TAKEN_NAMES = ("train", "grow", "cache", "mlartifacts", "mlflow.db", "mlflow.db.lock", "predictions")
"""What else lies in the output folder."""


def sweep(
    config: Annotated[Path, typer.Argument(metavar="SWEEP.yaml", help="The sweep.", show_default=False)],
    overrides: Overrides = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print arms, spaces, number of trials and placement; start nothing.")
    ] = False,
    resume: Annotated[
        bool,
        typer.Option(
            "--resume", help="Go on with the sweep of this name: what ended stays, what failed is tried again."
        ),
    ] = False,
    address: Annotated[
        str | None,
        typer.Option(
            "--address",
            help="Run on a Ray cluster: host:port of its head, or auto. Else on this machine.",
            show_default=False,
        ),
    ] = None,
    output: Output = DEFAULT_OUTPUT,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Run a sweep: every arm against the baseline, scheduled by Ray Tune, tracked in MLflow, compared at the end.

    The sweep's folder is OUTPUT/NAME. Ctrl-C ends the sweep so that --resume goes on with it.
    An override whose path begins with one of the sweep's own blocks (search, scheduler, replicate, resources, failure,
    storage, tracking, name) changes the sweep; any other changes the base trial.

    Examples:

      launch.py sweep experiments/textures/sweep.yaml --dry-run

      launch.py sweep experiments/textures/sweep.yaml

      launch.py sweep experiments/textures/sweep.yaml name=short trainer.max_steps=100 search.algorithm=optuna
      search.num_trials=8
    """
    from essnet.config import InputError, load_sweep
    from essnet.config.extensions import allow

    asked = load_sweep(config, overrides or ())
    allow(asked.code)
    if asked.config.name in _TAKEN_NAMES:
        raise InputError(f"name: found {asked.config.name!r}, which {output} uses for something else")
    check_writable(output)

    from essnet.cli.sweep_plan import describe_sweep
    from essnet.sweep.folder import FAILED, SweepFolder
    from essnet.sweep.plan import replicate_counts, trial_counts
    from essnet.sweep.preflight import check_arms, check_devices
    from essnet.sweep.requests import Requests
    from essnet.sweep.resources import plan_placement
    from essnet.sweep.warm_start import find_warm_start

    console = people_console(as_json)
    folder = SweepFolder(output / asked.config.name)
    stored = None if dry_run else _bring_back(asked, folder, resume=resume)
    asked = replace(asked, added_trials=Requests(folder.path).added_trials())
    searched, replicates = trial_counts(asked), replicate_counts(asked)
    counts = {name: searched[name] + replicates[name] for name in searched}
    tracking = asked.trial_config({**asked.arms[0].fixed, **asked.arms[0].first_point()}).tracking
    capacity = _capacity(address, output=output, tracking_uri=tracking.uri, storage=asked.config.storage)
    placement = plan_placement(asked.config.resources, num_trials=sum(counts.values()), capacity=capacity)
    check_devices(asked, gpus=placement.gpus)
    describe_sweep(asked, searched=searched, replicates=replicates, console=console)
    console.print(placement.describe(), markup=False)
    for line in find_warm_start(asked, folder).summary:
        console.print(f"warm start: {line}", markup=False)
    for warning in asked.warnings:
        console.print(f"warning: {warning}", markup=False)
    if dry_run:
        if as_json:
            print_json({"sweep": asked.config.name, "trials": sum(counts.values()), "arms": counts})
        return

    from essnet.cli.sweep_progress import show_progress
    from essnet.report import answer, comparison_json, comparison_table, legend
    from essnet.sweep.resumable import check_resumable
    from essnet.sweep.runner import run_sweep
    from essnet.sweep.scheduler import build_rule
    from essnet.tracking import RunStore, default_uri

    check_writable(folder.path)
    exists = (folder.path / "sweep.json").exists()
    if exists and not resume:
        raise InputError(f"{folder.path}: this sweep exists; go on with --resume, or choose another name=...")
    if exists:
        for change in check_resumable(asked, folder):
            console.print(f"changed: {change}", markup=False)
    elif resume:
        console.print(f"nothing to resume in {folder.path}: a new sweep", markup=False)
    if asked.config.report.figures:
        from essnet.report.page.figures import load_figures  # takes seconds, with all that draws

        load_figures(asked.config.report.figures)
    build_rule(asked)
    check_arms(asked, cache_dir=output / "cache", scan_progress=scan_progress(console))
    store = RunStore(tracking.uri or default_uri(output), tracking.experiment, artifact_root=output / "mlartifacts")
    with folder.locked():
        try:
            with (
                stored.kept(lambda line: console.print(line, markup=False)) if stored is not None else nullcontext(),
                show_progress(folder, concurrent=placement.concurrent, console=console),
            ):
                run_sweep(
                    asked,
                    folder,
                    store=store,
                    placement=placement,
                    cache_dir=output / "cache",
                    address=address,
                    stored=stored,
                    say=lambda sentence: console.print(sentence, markup=False),
                    resume_command=_resume_command(config, overrides or (), output=output, address=address),
                )
        except BaseException:
            if (folder.path / "sweep.json").exists():  # else it ended before it began
                _close(folder, store, tracking)
            raise
        comparison, tracked, model = _close(folder, store, tracking)

    console.print(comparison_table([comparison]))
    console.print(legend([comparison]), markup=False)
    console.print(answer(comparison), markup=False)
    failed = [trial for trial in comparison.trials if trial.state == FAILED]
    for trial in comparison.trials:
        for line in trial.failure_lines:
            console.print(line, markup=False)
    ui = f"launch.py ui {folder.path.name} --output {output}" if tracking.uri is None else store.uri
    console.print(f"folder: {folder.path}    MLflow: {ui}", markup=False)
    if comparison.best_checkpoint is not None:
        console.print(f"best checkpoint: {comparison.best_checkpoint}", markup=False)
    if model is not None:
        console.print(f"model: {model}", markup=False)
    if as_json:
        print_json(comparison_json([comparison]))
    if not tracked:
        console.print(
            f"MLflow does not answer at {store.uri}; what it lacks is kept in {folder.path}, and sent by "
            f"`launch.py report {asked.config.name}` or by --resume",
            markup=False,
        )
    if not comparison.done:
        console.print("interrupted; go on with --resume")
        raise typer.Exit(130)
    if failed:
        raise typer.Exit(1)


def _bring_back(asked: Sweep, folder: SweepFolder, *, resume: bool) -> StoredSweep | None:
    """Return where the sweep is kept besides its folder, if it is; one that goes on is brought from there."""
    if asked.config.storage is None:
        return None
    from essnet.config import InputError
    from essnet.sweep.stored_sweep import StoredSweep

    stored = StoredSweep(asked.config.storage, folder)
    if stored.is_there() and not resume:
        raise InputError(
            f"{asked.config.storage}: has a sweep {asked.config.name}; go on with --resume, or choose another name=..."
        )
    if resume:
        stored.bring_back()
    return stored


def _capacity(address: str | None, *, output: Path, tracking_uri: str | None, storage: str | None) -> Capacity:
    from essnet.sweep.resources import this_machine

    if address is None:
        return this_machine()
    from essnet.sweep.cluster_capacity import cluster_capacity

    return cluster_capacity(address, output=output, tracking_uri=tracking_uri, storage=storage)


def _resume_command(config: Path, overrides: Sequence[str], *, output: Path, address: str | None) -> str:
    """Return what a person types to go on with this sweep."""
    words = ["launch.py", "sweep", str(config), *overrides, "--resume"]
    words += ["--output", str(output)] if output != DEFAULT_OUTPUT else []
    words += ["--address", address] if address is not None else []
    return shlex.join(words)


def _close(folder: SweepFolder, store: RunStore, tracking: TrackingConfig) -> tuple[Comparison, bool, str | None]:
    """Publish what the sweep found so far, end its runs, and log its models once it is done.

    Returns the comparison, whether the store has all runs, and the best model's address in MLflow.
    """
    from essnet.report import answer, load_comparison
    from essnet.report.best_models import log_sweep_models
    from essnet.report.publish import write_files
    from essnet.sweep.folder import ENDED
    from essnet.sweep.parent_run import end_runs

    comparison = load_comparison(folder)
    files = write_files(comparison, folder.path)
    tracked = end_runs(folder, done=comparison.done, answers=[answer(comparison)], artifacts=files)
    if tracked and any(trial.state in ENDED and trial.run_id is None for trial in comparison.trials):
        comparison = load_comparison(folder)  # a slow store has given the last runs their ids only now
        write_files(comparison, folder.path)
    model = None
    if tracked and comparison.done:
        model = log_sweep_models(comparison, folder, store=store, tracking=tracking)
    return comparison, tracked, model
