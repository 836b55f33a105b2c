"""`grow`: more classes for a trained model, without training it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from essnet.cli.terminal import (
    DEFAULT_OUTPUT,
    AllowCode,
    Debug,
    Json,
    Output,
    check_writable,
    people_console,
    print_json,
)


def grow(
    checkpoint: Annotated[
        Path, typer.Argument(metavar="CHECKPOINT", help="A checkpoint's folder, such as .../checkpoints/best.")
    ],
    classes: Annotated[Path, typer.Option("--classes", help="A text file with the name of a new class on each line.")],
    examples: Annotated[
        Path | None,
        typer.Option(
            "--examples",
            help="Folder with images/, masks/ (PNG) and classes.txt, which names what the masks' ids 0, 1, 2, ... are.",
        ),
    ] = None,
    learn: Annotated[
        int, typer.Option("--learn", min=0, help="Steps in which the new rows are learned; 0: their means alone.")
    ] = 0,
    ignore_value: Annotated[
        int, typer.Option("--ignore-value", min=0, help="Value of the masks' pixels that are not labelled.")
    ] = 255,
    device: Annotated[str, typer.Option("--device", help="auto, cpu, cuda, cuda:0, ...")] = "auto",
    allow_code: AllowCode = None,
    output: Output = DEFAULT_OUTPUT,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Add classes to a checkpoint with embeddings; the network and the classes it has stay as they are.

    Each new class needs labelled pixels in --examples. The new checkpoint is OUTPUT/grow/NAME/checkpoints/best; of the
    same name a further one goes to NAME-2, and so on.

    Examples:

      launch.py grow runs/train/city/checkpoints/best --classes new.txt --examples labelled

      launch.py grow runs/train/city/checkpoints/best --classes new.txt --examples labelled --learn 200
    """
    import torch

    from essnet.cli.progress import show_progress
    from essnet.cli.run_folder import free_folder
    from essnet.config import InputError
    from essnet.config.extensions import allow
    from essnet.data import read_class_table
    from essnet.training.checkpoint import open_checkpoint
    from essnet.training.checkpoint_folder import CheckpointFolder
    from essnet.training.device import resolve_device
    from essnet.training.grown_classes import grown_classes
    from essnet.training.growth import check_can_grow, new_rows, write_grown
    from essnet.training.growth_examples import open_examples

    allow(allow_code or ())
    opened = open_checkpoint(checkpoint)
    check_can_grow(opened)
    names = read_class_table(classes).names
    table = grown_classes(opened.classes, names, source=classes)
    if examples is None:
        raise InputError(
            "--examples: is missing; new classes are found from labelled pixels: a folder with images/, masks/ and "
            "classes.txt"
        )
    check_writable(output / "grow")
    data = open_examples(examples, classes=table, ignore_value=ignore_value)
    config = opened.config
    if config.trainer.num_threads is not None:
        torch.set_num_threads(config.trainer.num_threads)
    run_on = resolve_device(device, key="--device")
    console = people_console(as_json)
    with show_progress(console, "done") as progress:
        found = new_rows(opened, data, classes=table, device=run_on, learn_steps=learn, progress=progress)
    directory = free_folder(output / "grow", config.name).absolute()
    folder = CheckpointFolder(directory / "checkpoints")
    write_grown(opened, found.rows, classes=table, name=directory.name, folder=folder)

    added = [
        {"id": index, "name": name, "pixels": int(pixels)}
        for index, (name, pixels) in enumerate(zip(names, found.pixels, strict=True), start=opened.classes.num_classes)
    ]
    for row in added:
        console.print(f"  {row['id']:>5}  {row['name']}: {row['pixels']} example pixels", markup=False)
    console.print(f"{opened.classes.num_classes} classes, now {table.num_classes}: {folder.best()}", markup=False)
    if as_json:
        print_json({"checkpoint": str(folder.best()), "directory": str(directory), "added": added})
