"""`predict`: label images and overlays from a checkpoint."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from essnet.cli.terminal import Debug, Json, check_writable, people_console, print_json
from essnet.config.errors import InputError


def predict(
    checkpoint: Annotated[
        Path, typer.Argument(metavar="CHECKPOINT", help="A checkpoint's folder, such as .../checkpoints/best.")
    ],
    images: Annotated[list[Path], typer.Argument(metavar="IMAGE...", help="Image files.", show_default=False)],
    output: Annotated[Path, typer.Option("--output", help="Folder for the pictures.")] = Path("runs/predictions"),
    device: Annotated[str, typer.Option("--device", help="auto, cpu, cuda, cuda:0, ...")] = "auto",
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Segment images: for each a 16-bit PNG of class indices and a colour overlay.

    STEM.png holds the class index of each pixel (names in the checkpoint's classes.json), STEM_overlay.png is for
    people.

    Examples:

      launch.py predict runs/train/camvid/checkpoints/best street.jpg --output predictions
    """
    from essnet.data import read_image
    from essnet.training.checkpoint import open_checkpoint
    from essnet.training.device import resolve_device
    from essnet.training.prediction import predict_image, save_prediction
    from essnet.training.trial import load_model

    check_writable(output)
    opened = open_checkpoint(checkpoint)
    _check_overwriting(images, output)
    # All are read before anything is written: a bad one leaves nothing half-done.
    pictures = [read_image(path) for path in images]
    model = load_model(opened, device=resolve_device(device, key="--device"))
    output.mkdir(parents=True, exist_ok=True)
    outputs = []
    console = people_console(as_json)
    for path, picture in zip(images, pictures, strict=True):
        ids = predict_image(model, picture)
        labels, overlay = save_prediction(picture, ids, opened.classes, output / path.stem)
        outputs.append({"image": str(path), "labels": str(labels), "overlay": str(overlay)})
        console.print(f"{path} -> {labels}, {overlay}", markup=False)
    if as_json:
        print_json({"outputs": outputs})


def _check_overwriting(images: Sequence[Path], output: Path) -> None:
    """Check that no result takes the place of another one or of an image."""
    from essnet.training.prediction import result_names

    sources = {path.resolve(): path for path in images}
    owners: dict[str, Path] = {}
    for image in images:
        for name in result_names(image.stem):
            if name in owners:
                raise InputError(f"{image}: its result {name} would overwrite that of {owners[name]}; rename one")
            owners[name] = image
            overwritten = sources.get((output / name).resolve())
            if overwritten is not None:
                raise InputError(f"--output: the result {name} would overwrite the image {overwritten}; choose another")
