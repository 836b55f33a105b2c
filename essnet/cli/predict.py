"""`predict`: label images and pictures for people from a checkpoint."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from essnet.cli.progress import show_progress
from essnet.cli.terminal import Debug, Json, check_writable, people_console, print_json
from essnet.config.errors import InputError

if TYPE_CHECKING:
    from rich.console import Console

    from essnet.training.prediction_files import PredictionFiles
    from essnet.training.prediction_inputs import PredictionInput
    from essnet.training.prediction_stream import PredictionsDone

_MOST_LINES = 20
"""More images than this have a line for all, not one for each."""


def predict(
    checkpoint: Annotated[
        Path, typer.Argument(metavar="CHECKPOINT", help="A checkpoint's folder, such as .../checkpoints/best.")
    ],
    images: Annotated[
        list[Path],
        typer.Argument(metavar="IMAGE...", help="Images, folders, quoted patterns, videos.", show_default=False),
    ],
    output: Annotated[Path, typer.Option("--output", help="Folder for the results.")] = Path("runs/predictions"),
    side_by_side: Annotated[
        bool, typer.Option("--side-by-side", help="The overlay's picture shows the image beside it.")
    ] = False,
    uncertainty: Annotated[
        bool, typer.Option("--uncertainty", help="Also a picture of how little each pixel is like its class.")
    ] = False,
    uncertainty_array: Annotated[
        bool, typer.Option("--uncertainty-array", help="Also these numbers, as a float32 .npy file.")
    ] = False,
    skip_existing: Annotated[
        bool, typer.Option("--skip-existing", help="Leave images alone of which all files are there.")
    ] = False,
    every: Annotated[
        float, typer.Option("--every", metavar="SECONDS", min=0, help="Between two frames of a video.")
    ] = 1.0,
    batch_size: Annotated[int, typer.Option("--batch-size", min=1, help="Images that are predicted at once.")] = 8,
    device: Annotated[str, typer.Option("--device", help="auto, cpu, cuda, cuda:0, ...")] = "auto",
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Segment images: for each a 16-bit PNG of class indices, and pictures for people.

    STEM.png holds the class index of each pixel (names in the checkpoint's classes.json), STEM_overlay.png the
    classes' colours over the image and their names. Results of a folder or a pattern keep the folders below it;
    those of a video lie in a folder of its name.

    Examples:

      launch.py predict runs/train/camvid/checkpoints/best street.jpg --output predictions

      launch.py predict runs/train/camvid/checkpoints/best photos 'more/*/*.png' --side-by-side --uncertainty

      launch.py predict runs/train/camvid/checkpoints/best drive.mp4 --every 0.5 --skip-existing
    """
    from essnet.training.checkpoint import open_checkpoint
    from essnet.training.device import resolve_device
    from essnet.training.prediction_files import PredictionFiles
    from essnet.training.prediction_inputs import find_inputs
    from essnet.training.prediction_stream import PredictionStream
    from essnet.training.trial import load_model
    from essnet.training.uncertainty import uncertainty_scale

    check_writable(output)
    opened = open_checkpoint(checkpoint)
    inputs = find_inputs(images, output=output, seconds=every)
    model = load_model(opened, device=resolve_device(device, key="--device"))
    files = PredictionFiles(
        classes=opened.classes,
        side_by_side=side_by_side,
        uncertainty=uncertainty_scale(model.output_layer) if uncertainty else None,
        uncertainty_array=uncertainty_array,
    )
    _check_overwriting(inputs, files, output)
    skipped = [item for item in inputs if skip_existing and _all_there(files, output / item.stem)]
    there = set(skipped)
    left = [item for item in inputs if item not in there]
    console = people_console(as_json)
    try:
        with show_progress(console, "images") as show:
            stream = PredictionStream(
                model,
                files=files,
                output=output,
                batch_size=batch_size,
                progress=lambda done, total: show("predicting", done, total),
            )
            done = stream.run(left)
    except KeyboardInterrupt:
        console.print(f"interrupted; the files in {output} are whole, --skip-existing goes on", markup=False)
        raise typer.Exit(130) from None
    _tell(console, done, skipped=len(skipped), output=output)
    if as_json:
        outputs = [
            {"image": str(item), **{kind: str(path) for kind, path in done.saved[item].items()}}
            for item in left
            if item in done.saved
        ]
        print_json(
            {
                "outputs": outputs,
                "skipped": [str(item) for item in skipped],
                "unreadable": [str(item) for item in done.unreadable],
                "seconds": done.seconds,
            }
        )
    if done.unreadable:
        first = next(iter(done.unreadable.values()))
        if len(done.saved) + len(skipped) == 0 and len(done.unreadable) == 1:
            raise first
        raise InputError(f"{first}; {len(done.unreadable)} of {len(inputs)} images could not be read")


def _check_overwriting(inputs: Sequence[PredictionInput], files: PredictionFiles, output: Path) -> None:
    """Raise InputError if a result would take the place of another one or of an image."""
    sources = {os.path.realpath(item.path): item.path for item in inputs}  # Path.resolve raises for links in a circle
    owners: dict[Path, PredictionInput] = {}
    for item in inputs:
        for path in files.paths(output / item.stem).values():
            name = path.relative_to(output)
            if path in owners:
                raise InputError(f"{item}: its result {name} would overwrite that of {owners[path]}; rename one")
            owners[path] = item
            overwritten = sources.get(os.path.realpath(path))
            if overwritten is not None:
                raise InputError(f"--output: the result {name} would overwrite the image {overwritten}; choose another")


def _all_there(files: PredictionFiles, stem: Path) -> bool:
    return all(path.is_file() for path in files.paths(stem).values())


def _tell(console: Console, done: PredictionsDone, *, skipped: int, output: Path) -> None:
    if len(done.saved) <= _MOST_LINES:
        for item, paths in done.saved.items():
            console.print(f"{item} -> {', '.join(map(str, paths.values()))}", markup=False)
    there = f", {skipped} were there" if skipped else ""
    pace = f" in {done.seconds:.1f} s, {len(done.saved) / done.seconds:.1f} images/s" if done.saved else ""
    total = len(done.saved) + len(done.unreadable) + skipped
    console.print(f"predicted {len(done.saved)} of {total} images{pace}{there}: {output}", markup=False)
