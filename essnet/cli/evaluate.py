"""`evaluate`: the metrics of a checkpoint."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from essnet.cli.progress import show_progress
from essnet.cli.terminal import (
    DEFAULT_OUTPUT,
    AllowCode,
    Debug,
    Json,
    Output,
    Overrides,
    check_writable,
    people_console,
    print_json,
    scan_progress,
)


def evaluate(
    checkpoint: Annotated[
        Path, typer.Argument(metavar="CHECKPOINT", help="A checkpoint's folder, such as .../checkpoints/best.")
    ],
    overrides: Overrides = None,
    save: Annotated[
        Path | None,
        typer.Option("--save", metavar="DIR", help="Save each prediction: a 16-bit PNG and a colour overlay."),
    ] = None,
    allow_code: AllowCode = None,
    output: Output = DEFAULT_OUTPUT,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Compute the metrics of a checkpoint on a split, exactly as the trainer does.

    With --json also of each class: IoU, accuracy, and pixels in truth and prediction; and which classes are taken
    for which. Of a vocabulary that has grown, old and new classes apart.

    Examples:

      launch.py evaluate runs/train/textures/checkpoints/best

      launch.py evaluate runs/train/textures/checkpoints/best evaluation.split=test --save predictions

      launch.py evaluate runs/train/camvid/checkpoints/best evaluation.protocol=sliding evaluation.flip=true
    """
    import torch

    from essnet.config import InputError, trial_from_mapping
    from essnet.config.extensions import allow, code_in
    from essnet.config.overrides import parse_overrides
    from essnet.data import build_dataset
    from essnet.training.checkpoint import open_checkpoint
    from essnet.training.device import resolve_device
    from essnet.training.evaluation import Evaluation
    from essnet.training.grown_classes import old_and_new_miou
    from essnet.training.saved_predictions import SavedPredictions
    from essnet.training.trial import load_model

    opened = open_checkpoint(checkpoint)
    allow([*code_in(parse_overrides(overrides or ())), *(allow_code or ())])
    config = trial_from_mapping(opened.config.model_dump(), overrides or (), source=str(checkpoint / "config.yaml"))
    if (config.model, config.objective) != (opened.config.model, opened.config.objective):
        raise InputError("model and objective are the checkpoint's own; only data, evaluation and trainer can change")
    console = people_console(as_json)
    device = resolve_device(config.trainer.device)
    split = config.evaluation.split
    dataset = build_dataset(config.data, split, cache_dir=output / "cache", scan_progress=scan_progress(console))
    if dataset.classes.num_classes != opened.classes.num_classes:
        raise InputError(
            f"data.root: the data set has {dataset.classes.num_classes} classes, but {checkpoint} has "
            f"{opened.classes.num_classes}"
        )
    saved = None
    if save is not None:
        check_writable(save, option="--save")
        crop = config.data.crop_height_width if config.evaluation.protocol == "center_crop" else None
        saved = SavedPredictions(save, dataset, crop=crop)
    if config.trainer.num_threads is not None:
        torch.set_num_threads(config.trainer.num_threads)  # the last digits of a sum depend on it
    model = load_model(opened, device=device)
    evaluation = Evaluation(config, dataset, model=model, device=device)
    console.print(f"{checkpoint} on {split}, {len(dataset)} images", markup=False)
    try:
        with show_progress(console, "images") as progress:
            result = evaluation.run(
                model,
                progress=lambda done, total: progress("evaluating", done, total),
                see=None if saved is None else saved.add,
            )
    except KeyboardInterrupt:
        console.print("interrupted" + ("" if save is None else f"; the predictions in {save} are whole"), markup=False)
        raise typer.Exit(130) from None
    metrics = {**result.metrics, **old_and_new_miou(result.counts, opened.classes.added)}
    for name, value in metrics.items():
        console.print(f"  {name:<20} {value:.4f}", markup=False)
    if save is not None:
        console.print(f"predictions: {save}", markup=False)
    if as_json:
        print_json(
            {
                "metrics": metrics,
                "split": split,
                "checkpoint": str(checkpoint),
                "classes": result.per_class(),
                "confusions": result.confusions,
                "predictions": None if save is None else str(save),
            }
        )
