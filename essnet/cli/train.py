"""`train`: one trial in this process."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from essnet.cli.run_folder import free_folder, held_folder, newest_folder
from essnet.cli.terminal import (
    DEFAULT_OUTPUT,
    AllowCode,
    Json,
    Output,
    Overrides,
    check_writable,
    people_console,
    print_json,
    scan_progress,
)
from essnet.config.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from essnet.config import TrialConfig

_CLOSING_SECONDS = 20.0
"""How long the command waits at its end for the store to take the rest."""


def train(
    config: Annotated[str | None, typer.Argument(metavar="CONFIG.yaml", help="The trial.", show_default=False)] = None,
    overrides: Overrides = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the last checkpoint of this name.")] = False,
    from_trial: Annotated[
        str | None,
        typer.Option(
            "--from-trial",
            metavar="SWEEP/TRIAL_ID",
            help="In place of CONFIG.yaml: this trial of a sweep alone, to the same result. SWEEP is a sweep's folder "
            "or name, TRIAL_ID a trial's name or number.",
        ),
    ] = None,
    fast_dev_run: Annotated[
        bool, typer.Option("--fast-dev-run", help="Two steps and one validation batch: does everything hold together?")
    ] = False,
    overfit: Annotated[
        int | None,
        typer.Option(
            "--overfit",
            metavar="N",
            min=1,
            help="Train and evaluate on the first N training images, without augmentation: val/miou must come close "
            "to 1.",
            show_default=False,
        ),
    ] = None,
    profile: Annotated[
        bool, typer.Option("--profile", help="Where the time of a step goes: a table and a trace, in profile/.")
    ] = False,
    detect_anomaly: Annotated[
        bool, typer.Option("--detect-anomaly", help="Name the operation whose gradient is NaN; slow.")
    ] = False,
    allow_code: AllowCode = None,
    output: Output = DEFAULT_OUTPUT,
    as_json: Json = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error, and log every step.")] = False,
) -> None:
    """Train one trial in this process, without Ray: progress bar, MLflow run, checkpoints.

    The run's folder is OUTPUT/train/NAME; a further run of the same name goes to NAME-2, and so on. Its
    first_batch.png shows what the network sees first. Ctrl-C leaves a checkpoint; --resume goes on from it.

    Examples:

      launch.py train experiments/textures/trial.yaml

      launch.py train experiments/textures/trial.yaml objective.name=knn_softmax trainer.max_steps=100

      launch.py train experiments/textures/trial.yaml --fast-dev-run

      launch.py train experiments/textures/trial.yaml --overfit 4 --debug

      launch.py train --from-trial runs/textures/003 --profile
    """
    trial = _load(config, overrides or (), from_trial, output, allow_code or ())
    if debug:
        trial = trial.model_copy(update={"trainer": trial.trainer.model_copy(update={"log_every_steps": 1})})
    if overfit is not None:
        from essnet.training.overfitting import overfit_config

        trial = overfit_config(trial, overfit)
    if fast_dev_run:
        trial = _shortened(trial)

    import torch
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    from essnet.atomic_files import write_atomically
    from essnet.cli.train_run import start_train_run, track_result
    from essnet.config import to_yaml
    from essnet.report.best_models import log_best_model
    from essnet.tracking import RunStore, default_uri
    from essnet.tracking.dataset_input import dataset_inputs
    from essnet.training.interruption import interruption_by_signal
    from essnet.training.overfitting import overfit_trial
    from essnet.training.step_profile import StepProfile, check_enough_steps
    from essnet.training.trainer import Trainer

    if profile:
        check_enough_steps(trial.trainer.max_steps)
    console = people_console(as_json)
    check_writable(output / "train")
    directory = _run_folder(output / "train", trial.name, resume=resume).absolute()
    progress = Progress(
        TextColumn("[bold]{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("loss {task.fields[loss]:.3f}  val/miou {task.fields[miou]:.3f}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=console,
    )
    task = progress.add_task(trial.name, total=trial.trainer.max_steps, loss=float("nan"), miou=float("nan"))

    def evaluated(step: int, metrics: Mapping[str, float]) -> None:
        progress.update(task, miou=metrics["val/miou"])
        if not console.is_terminal:
            console.print(f"step {step}/{trial.trainer.max_steps}: val/miou {metrics['val/miou']:.3f}")

    steps: StepProfile | None = None

    def stepped(step: int, metrics: Mapping[str, float]) -> None:
        progress.update(task, completed=step, loss=metrics["train/loss"])
        if steps is not None:
            steps.step()

    with ExitStack() as held, interruption_by_signal() as interruption:
        if resume:
            held.enter_context(held_folder(directory, new=False))
        trainer = Trainer(
            trial,
            directory=directory,
            cache_dir=output / "cache",
            report=evaluated,
            progress=stepped,
            scan_progress=scan_progress(console),
            should_stop=lambda: interruption.requested,
            max_eval_batches=1 if fast_dev_run else None,
            adapt_trial=None if overfit is None else overfit_trial(overfit),
            resume=resume,
        )
        if profile:
            check_enough_steps(trial.trainer.max_steps, taken=trainer.step)
        uri, artifact_root = trial.tracking.uri or default_uri(output), output / "mlartifacts"
        store = None
        try:
            # Before the run's folder is made: a store that does not answer leaves nothing behind.
            store = RunStore(uri, trial.tracking.experiment, artifact_root=artifact_root)
        except InputError as error:
            if not resume:
                raise
            console.print(f"{error}; training goes on without it", markup=False)
        if not resume:
            held.enter_context(held_folder(directory, new=True))
        text = to_yaml(trial)
        write_atomically(directory / "config.yaml", lambda path: path.write_text(text, encoding="utf-8"))
        tracker = start_train_run(directory, trial, uri=uri, artifact_root=artifact_root, resume=resume)
        status = "FAILED"
        try:
            trainer.track_with(tracker)
            if overfit is None:
                data = trainer.trial
                tracker.log_inputs(dataset_inputs(trial, train=data.train_data, evaluation=data.eval_data))

            def profiled(text: str, files: tuple[Path, ...]) -> None:
                console.print(text, markup=False)
                for path in files:
                    tracker.log_artifact(path, "profile")
                console.print(f"profile: {directory / 'profile'}", markup=False)

            with ExitStack() as around:
                if detect_anomaly:
                    around.enter_context(torch.autograd.set_detect_anomaly(True))
                around.enter_context(progress)
                if profile:
                    steps = StepProfile(directory / "profile", device=trainer.trial.device, done=profiled)
                    around.enter_context(steps)
                result = trainer.train()
            status = "KILLED" if result.interrupted else "FINISHED"
            if not result.interrupted:
                track_result(tracker, trial, result)
        except KeyboardInterrupt:
            status = "KILLED"
            raise
        finally:
            tracker.end(status)
            tracked = tracker.close(wait_seconds=_CLOSING_SECONDS)
            if not tracked:
                console.print(
                    f"MLflow does not answer at {uri}; what it lacks is kept in {directory}, and sent by the same "
                    "command with --resume",
                    markup=False,
                )

    model = None
    ended = not (result.interrupted or fast_dev_run or overfit is not None)
    if store is not None and tracked and tracker.run_id is not None and result.best_checkpoint is not None and ended:
        model = log_best_model(
            store, tracker.run_id, result.best_checkpoint, tracking=trial.tracking, metrics=result.metrics
        )
    if as_json:
        print_json({"run_id": tracker.run_id, "model_uri": model, **result.to_json()})
    if result.interrupted:
        console.print(f"interrupted at step {result.steps}; the same command with --resume goes on", markup=False)
        raise typer.Exit(130)
    console.print(
        f"[bold]val/miou {result.metrics['val/miou']:.3f}[/bold] after {result.steps} steps; "
        f"{result.metrics['perf/step_ms']:.0f} ms a step"
    )
    console.print(f"best checkpoint: {result.best_checkpoint}", markup=False)
    if model is not None:
        console.print(f"model: {model}", markup=False)


def _load(
    config: str | None, overrides: Sequence[str], from_trial: str | None, output: Path, allow_code: Sequence[str]
) -> TrialConfig:
    """Read the trial, a YAML file's or one of a sweep, and allow the code that this person has named."""
    from essnet.cli.sweep_trial import load_sweep_trial
    from essnet.config import load_trial
    from essnet.config.extensions import allow, code_in
    from essnet.config.overrides import parse_overrides

    allow(allow_code)
    if from_trial is None:
        if config is None:
            raise InputError("Missing argument 'CONFIG.yaml'; or name a sweep's trial: --from-trial SWEEP/TRIAL_ID")
        trial = load_trial(Path(config), overrides)
        allow(code_in(trial.model_dump()))
        return trial
    if config is not None:  # what stands first is an override then
        if "=" not in config:
            raise InputError(f"{config}: a file beside --from-trial {from_trial}; give one of both")
        overrides = [config, *overrides]
    allow(code_in(parse_overrides(overrides)))
    return load_sweep_trial(from_trial, overrides, output=output)


def _run_folder(root: Path, name: str, *, resume: bool) -> Path:
    """Return the folder of a run: the newest of its name to resume, else one that is not there yet."""
    if not resume:
        return free_folder(root, name)
    newest = newest_folder(root, name)
    if newest is None:
        raise InputError(f"--resume: there is no run in {root / name} to go on with")
    return newest


def _shortened(trial: TrialConfig) -> TrialConfig:
    trainer = trial.trainer.model_copy(update={"max_steps": 2, "log_every_steps": 1, "checkpoint_every_steps": None})
    evaluation = trial.evaluation.model_copy(update={"every_steps": None})
    return trial.model_copy(update={"name": f"{trial.name}-fast-dev-run", "trainer": trainer, "evaluation": evaluation})
