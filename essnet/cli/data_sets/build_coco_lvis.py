"""`data build-coco-lvis`: the 1,284-class masks out of LVIS and COCO-Stuff."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from essnet.cli.progress import show_progress
from essnet.cli.terminal import Debug, Json, check_writable, clock, people_console, print_json
from essnet.cores import available_cores

if TYPE_CHECKING:
    from essnet.coco_lvis.results import BuildResult

_IDS_SHOWN = 5


def build_coco_lvis(
    images: Annotated[
        Path, typer.Option("--images", help="Folder of COCO's images: train2017/ and val2017/.", show_default=False)
    ],
    lvis_train: Annotated[
        Path | None, typer.Option("--lvis-train", help="lvis_v1_train.json; without it there is no train split.")
    ] = None,
    lvis_val: Annotated[
        Path | None, typer.Option("--lvis-val", help="lvis_v1_val.json; without it there is no val split.")
    ] = None,
    stuff_train: Annotated[
        Path | None, typer.Option("--stuff-train", help="stuff_train2017.json; both splits need it.")
    ] = None,
    stuff_val: Annotated[
        Path | None, typer.Option("--stuff-val", help="stuff_val2017.json; the val split needs it.")
    ] = None,
    output: Annotated[Path, typer.Option("--output", help="Folder of the data set.")] = Path("runs/coco_lvis"),
    workers: Annotated[
        int | None,
        typer.Option("--workers", min=0, help="Processes that paint; 0: only this one. Default: one for each core."),
    ] = None,
    verify: Annotated[
        bool, typer.Option("--verify", help="Afterwards paint every mask once more, the plain way, and compare.")
    ] = False,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Make the 1,284-class data set out of LVIS v1 and COCO-Stuff: a 16-bit mask for each image.

    0 is ignored, 1 to 1203 are LVIS's categories and the ten stuff classes that are the same, 1204 to
    1284 the other stuff. LVIS lies over stuff, and of one file's annotations the first lies on top.
    Bad annotations are listed and passed over. Masks appear whole or not at all: after Ctrl-C or a
    crash the same command goes on.

    Examples:

      launch.py data build-coco-lvis --images coco --lvis-train lvis_v1_train.json
      --stuff-train stuff_train2017.json

      launch.py data build-coco-lvis --images coco --lvis-val lvis_v1_val.json
      --stuff-train stuff_train2017.json --stuff-val stuff_val2017.json --output data/coco_lvis
    """
    check_writable(output)
    from essnet.coco_lvis.builder import BuildRequest, build

    request = BuildRequest(
        images=images,
        output=output,
        lvis=_given(train=lvis_train, val=lvis_val),
        stuff=_given(stuff_train=stuff_train, stuff_val=stuff_val),
    )
    console = people_console(as_json)
    try:
        with show_progress(console, "masks") as progress:
            result = build(
                request, workers=available_cores() if workers is None else workers, verify=verify, progress=progress
            )
    except KeyboardInterrupt:
        console.print("interrupted; what is done is kept, the same command goes on")
        raise typer.Exit(130) from None
    _print_result(result, console)
    if as_json:
        print_json(result.to_json())
    if result.differing:
        raise typer.Exit(1)


def _given(**files: Path | None) -> dict[str, Path]:
    return {name: path for name, path in files.items() if path is not None}


def _print_result(result: BuildResult, console: Console) -> None:
    summary = result.to_json()
    for name, split in result.splits.items():
        selection = split.selection
        left_out = {
            "without annotation": selection.without_annotations,
            "without stuff record": selection.without_stuff_record,
            "without image file": selection.missing_images,
        }
        reasons = ", ".join(f"{count} {reason}" for reason, count in left_out.items() if count) or "none"
        line = f"{name}: {len(split.facts)} masks, {split.written} written now; images left out: {reasons}"
        example = f" (such as {selection.first_missing})" if selection.first_missing else ""
        console.print(line + example, markup=False)
    for source, bad in summary["bad_annotations"].items():
        _print_bad(source, bad, console)
    speed = f", {result.images_per_second:.0f} masks a second" if result.images_per_second else ""
    console.print(
        f"{result.output}: {summary['classes_present']} of {len(result.classes)} classes occur; "
        f"{clock(result.seconds)} in all{speed}",
        markup=False,
    )
    for mask in result.differing[:_IDS_SHOWN]:
        console.print(f"{mask}: is not what its annotations say", markup=False)
    if result.differing:
        what = (
            "1 mask differs; delete it"
            if len(result.differing) == 1
            else f"{len(result.differing)} masks differ; delete them"
        )
        console.print(f"{what} and run the same command again", markup=False)
    elif summary["verified"]:
        console.print(f"verified: {summary['verified']} masks are what their annotations say")


def _print_bad(source: str, bad: Mapping[str, list[Any]], console: Console) -> None:
    for reason, ids in bad.items():
        shown = ", ".join(map(str, ids[:_IDS_SHOWN])) + (", ..." if len(ids) > _IDS_SHOWN else "")
        console.print(f"{source}: {len(ids)} annotations {reason.replace('_', ' ')}: {shown}", markup=False)
