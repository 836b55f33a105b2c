"""`evaluate`: the metrics of a checkpoint."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from essnet.cli.terminal import (
    DEFAULT_OUTPUT,
    Debug,
    Json,
    Output,
    Overrides,
    people_console,
    print_json,
)


def evaluate(
    checkpoint: Annotated[
        Path, typer.Argument(metavar="CHECKPOINT", help="A checkpoint's folder, such as .../checkpoints/best.")
    ],
    overrides: Overrides = None,
    output: Output = DEFAULT_OUTPUT,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Compute the metrics of a checkpoint on a split, exactly as the trainer does.

    Examples:

      launch.py evaluate runs/train/textures/checkpoints/best

      launch.py evaluate runs/train/textures/checkpoints/best evaluation.split=test
    """
    import torch

    from essnet.config import InputError, trial_from_mapping
    from essnet.data import build_dataset, eval_loader
    from essnet.training import evaluate as compute
    from essnet.training import load_model, open_checkpoint, resolve_device

    opened = open_checkpoint(checkpoint)
    config = trial_from_mapping(opened.config.model_dump(), overrides or (), source=str(checkpoint / "config.yaml"))
    if (config.model, config.objective) != (opened.config.model, opened.config.objective):
        raise InputError("model and objective are the checkpoint's own; only data, evaluation and trainer can change")
    device = resolve_device(config.trainer.device)
    dataset = build_dataset(config.data, config.evaluation.split, cache_dir=output / "cache")
    if dataset.classes.num_classes != opened.classes.num_classes:
        raise InputError(
            f"data.root: the data set has {dataset.classes.num_classes} classes, but {checkpoint} has "
            f"{opened.classes.num_classes}"
        )
    if config.trainer.num_threads is not None:
        torch.set_num_threads(config.trainer.num_threads)  # the last digits of a sum depend on it
    model = load_model(opened, device=device)
    batches = eval_loader(
        dataset,
        batch_size=config.evaluation.batch_size,
        num_workers=config.data.num_workers,
        multiple=model.stride_multiple,
        minimum_side=model.minimum_side,
    )
    split = config.evaluation.split
    metrics = compute(model, batches, num_classes=opened.classes.num_classes, device=device)
    console = people_console(as_json)
    console.print(f"{checkpoint} on {split}, {len(dataset)} images", markup=False)
    for name, value in metrics.items():
        console.print(f"  {name:<20} {value:.4f}", markup=False)
    if as_json:
        print_json({"metrics": metrics, "split": split, "checkpoint": str(checkpoint)})
