"""`train`: one trial in this process."""

from __future__ import annotations

from collections.abc import Mapping
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
    from essnet.config import TrialConfig


def train(
    config: Annotated[Path, typer.Argument(metavar="CONFIG.yaml", help="The trial.", show_default=False)],
    overrides: Overrides = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the last checkpoint of this name.")] = False,
    fast_dev_run: Annotated[
        bool, typer.Option("--fast-dev-run", help="Two steps and one validation batch: does everything hold together?")
    ] = False,
    output: Output = DEFAULT_OUTPUT,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Train one trial in this process, without Ray: progress bar, MLflow run, checkpoints.

    The run's folder is OUTPUT/train/NAME; a further run of the same name goes to NAME-2, and so on.
    Ctrl-C leaves a checkpoint; --resume goes on from it.

    Examples:

      launch.py train experiments/textures/trial.yaml

      launch.py train experiments/textures/trial.yaml objective.name=knn_softmax trainer.max_steps=100

      launch.py train experiments/textures/trial.yaml --fast-dev-run
    """
    from essnet.config import load_trial

    trial = load_trial(config, overrides or ())
    if fast_dev_run:
        trial = _shortened(trial)

    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    from essnet.atomic_files import write_atomically, write_json
    from essnet.config import to_yaml
    from essnet.config.overrides import flatten
    from essnet.tracking import MlflowTracker, RunStore, default_uri
    from essnet.training import Trainer, interruption_by_signal

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

    with interruption_by_signal() as interruption:
        trainer = Trainer(
            trial,
            directory=directory,
            cache_dir=output / "cache",
            report=evaluated,
            progress=lambda step, metrics: progress.update(task, completed=step, loss=metrics["train/loss"]),
            scan_progress=scan_progress(console),
            should_stop=lambda: interruption.requested,
            max_eval_batches=1 if fast_dev_run else None,
            resume=resume,
        )
        if trial.tracking.uri is None:
            output.mkdir(parents=True, exist_ok=True)
        # Before the run's folder is made: a store that does not answer leaves nothing behind.
        store = RunStore(
            trial.tracking.uri or default_uri(output),
            trial.tracking.experiment,
            artifact_root=output / "mlartifacts",
        )
        directory.mkdir(parents=True, exist_ok=True)
        text = to_yaml(trial)
        write_atomically(directory / "config.yaml", lambda path: path.write_text(text, encoding="utf-8"))
        run_id = store.start(
            directory.name,
            identity={"essnet.kind": "train", "essnet.directory": str(directory.absolute())},
            tags={},
            params=dict(flatten(trial.model_dump())),
            resume=resume,
        )
        write_json(directory / "run.json", {"run_id": run_id, "tracking_uri": store.uri})
        status = "FAILED"
        try:
            tracker = MlflowTracker(store, run_id)
            tracker.log_artifact(directory / "config.yaml", "")
            trainer.track_with(tracker)
            with progress:
                result = trainer.train()
            status = "KILLED" if result.interrupted else "FINISHED"
        except KeyboardInterrupt:
            status = "KILLED"
            raise
        finally:
            store.end(run_id, status)

    if as_json:
        print_json({"run_id": run_id, **result.to_json()})
    if result.interrupted:
        console.print(f"interrupted at step {result.steps}; the same command with --resume goes on", markup=False)
        raise typer.Exit(130)
    console.print(
        f"[bold]val/miou {result.metrics['val/miou']:.3f}[/bold] after {result.steps} steps; "
        f"{result.metrics['perf/step_ms']:.0f} ms a step"
    )
    console.print(f"best checkpoint: {result.best_checkpoint}", markup=False)


def _run_folder(root: Path, name: str, *, resume: bool) -> Path:
    """Return the folder of a run: the newest of its name to resume, else one that is not there yet."""
    folders = [root / name]
    while folders[-1].exists():
        folders.append(root / f"{name}-{len(folders) + 1}")
    if not resume:
        return folders[-1]
    if len(folders) == 1:
        from essnet.config import InputError

        raise InputError(f"--resume: there is no run in {root / name} to go on with")
    return folders[-2]


def _shortened(trial: TrialConfig) -> TrialConfig:
    trainer = trial.trainer.model_copy(update={"max_steps": 2, "log_every_steps": 1, "checkpoint_every_steps": None})
    evaluation = trial.evaluation.model_copy(update={"every_steps": None})
    return trial.model_copy(update={"name": f"{trial.name}-fast-dev-run", "trainer": trainer, "evaluation": evaluation})
