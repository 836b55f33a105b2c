"""`predict`: label images and pictures for people from a checkpoint."""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from essnet.cli.progress import show_progress
from essnet.cli.terminal import AllowCode, Debug, Json, check_writable, people_console, print_json
from essnet.config.errors import InputError

if TYPE_CHECKING:
    from rich.console import Console

    from essnet.data.video_frames import VideoFrames
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
    overlay_video: Annotated[
        bool, typer.Option("--overlay-video", help="Of a video also its overlay, every frame of it, as an MP4.")
    ] = False,
    skip_existing: Annotated[
        bool, typer.Option("--skip-existing", help="Leave images alone of which all files are there.")
    ] = False,
    every: Annotated[
        float, typer.Option("--every", metavar="SECONDS", min=0, help="Between two frames of a video that have files.")
    ] = 1.0,
    batch_size: Annotated[int, typer.Option("--batch-size", min=1, help="Images that are predicted at once.")] = 8,
    device: Annotated[str, typer.Option("--device", help="auto, cpu, cuda, cuda:0, ...")] = "auto",
    allow_code: AllowCode = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Segment images: for each a 16-bit PNG of class indices, and pictures for people.

    STEM.png holds the class index of each pixel (names in the checkpoint's classes.json), STEM_overlay.png the
    classes' colours over the image and their names. Results of a folder or a pattern keep the folders below it;
    those of a video lie in a folder of its name, and its overlay as a video beside that.

    Examples:

      launch.py predict runs/train/camvid/checkpoints/best street.jpg --output predictions

      launch.py predict runs/train/camvid/checkpoints/best photos 'more/*/*.png' --side-by-side --uncertainty

      launch.py predict runs/train/camvid/checkpoints/best drive.mp4 --every 0.5 --overlay-video
    """
    from essnet.config.extensions import allow
    from essnet.training.checkpoint import open_checkpoint
    from essnet.training.device import resolve_device
    from essnet.training.free_memory import keep_heap
    from essnet.training.overlay_videos import OverlayVideos
    from essnet.training.prediction_files import PredictionFiles
    from essnet.training.prediction_inputs import find_inputs, with_all_frames
    from essnet.training.prediction_stream import PredictionStream
    from essnet.training.trial import load_model
    from essnet.training.uncertainty import uncertainty_scale

    check_writable(output)
    allow(allow_code or ())
    opened = open_checkpoint(checkpoint)
    inputs = find_inputs(images, output=output, seconds=every)
    keep_heap()
    model = load_model(opened, device=resolve_device(device, key="--device"))
    files = PredictionFiles(
        classes=opened.classes,
        side_by_side=side_by_side,
        uncertainty=uncertainty_scale(model.output_layer) if uncertainty else None,
        uncertainty_array=uncertainty_array,
    )
    overlays = _overlays(inputs, output) if overlay_video else {}
    _check_overwriting(inputs, files, output, overlays)
    there = {item for item in inputs if skip_existing and _all_there(files, output / item.stem)}
    wanted = {video: path for video, path in overlays.items() if not (skip_existing and path.is_file())}
    left = with_all_frames([item for item in inputs if item not in there], wanted)
    skipped = [item for item in inputs if item in there and item.video not in wanted]
    console = people_console(as_json)
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C: no half of a video stays
    try:
        with (
            show_progress(console, "images") as show,
            OverlayVideos(wanted, classes=opened.classes, side_by_side=side_by_side) as videos,
        ):
            stream = PredictionStream(
                model,
                files=files,
                output=output,
                batch_size=batch_size,
                videos=videos,
                progress=lambda done, total: show("predicting", done, total),
            )
            done = stream.run(left)
    except KeyboardInterrupt:
        console.print(f"interrupted; the files in {output} are whole, --skip-existing goes on", markup=False)
        raise typer.Exit(130) from None
    finally:
        signal.signal(signal.SIGTERM, before)
    _tell(console, done, videos.done, skipped=len(skipped), output=output)
    if as_json:
        outputs = [
            {"image": str(item), **{kind: str(path) for kind, path in done.saved[item].items()}}
            for item in left
            if item in done.saved
        ]
        print_json(
            {
                "outputs": outputs,
                "videos": [{"video": str(video.path), "overlay": str(path)} for video, path in videos.done.items()],
                "skipped": [str(item) for item in skipped],
                "unreadable": [str(item) for item in done.unreadable],
                "seconds": done.seconds,
            }
        )
    if done.unreadable:
        first = next(iter(done.unreadable.values()))
        if done.predicted + len(skipped) == 0 and len(done.unreadable) == 1:
            raise first
        total = done.predicted + len(done.unreadable) + len(skipped)
        raise InputError(f"{first}; {len(done.unreadable)} of {total} images could not be read")


def _overlays(inputs: Sequence[PredictionInput], output: Path) -> dict[VideoFrames, Path]:
    """Return of each video where its overlay goes: beside the folder of its frames."""
    folders = {item.video: output / item.stem.parent for item in inputs if item.video is not None}
    return {video: folder.with_name(f"{folder.name}_overlay.mp4") for video, folder in folders.items()}


def _check_overwriting(
    inputs: Sequence[PredictionInput], files: PredictionFiles, output: Path, overlays: Mapping[VideoFrames, Path]
) -> None:
    """Raise InputError if a result would take the place of another one or of an image."""
    sources = {os.path.realpath(item.path): item.path for item in inputs}  # Path.resolve raises for links in a circle
    owners: dict[Path, str] = {}
    results = [(str(item), list(files.paths(output / item.stem).values())) for item in inputs]
    results += [(str(video.path), [path]) for video, path in overlays.items()]
    for owner, paths in results:
        for path in paths:
            name = path.relative_to(output)
            if path in owners:
                raise InputError(f"{owner}: its result {name} would overwrite that of {owners[path]}; rename one")
            owners[path] = owner
            overwritten = sources.get(os.path.realpath(path))
            if overwritten is not None:
                raise InputError(f"--output: the result {name} would overwrite the image {overwritten}; choose another")


def _all_there(files: PredictionFiles, stem: Path) -> bool:
    return all(path.is_file() for path in files.paths(stem).values())


def _tell(
    console: Console, done: PredictionsDone, videos: Mapping[VideoFrames, Path], *, skipped: int, output: Path
) -> None:
    if len(done.saved) <= _MOST_LINES:
        for item, paths in done.saved.items():
            console.print(f"{item} -> {', '.join(map(str, paths.values()))}", markup=False)
    for video, path in videos.items():
        console.print(f"{video.path} -> {path}", markup=False)
    there = f", {skipped} were there" if skipped else ""
    pace = f" in {done.seconds:.1f} s, {done.predicted / done.seconds:.1f} images/s" if done.predicted else ""
    total = done.predicted + len(done.unreadable) + skipped
    console.print(f"predicted {done.predicted} of {total} images{pace}{there}: {output}", markup=False)
