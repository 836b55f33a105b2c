"""`data check`: what a data set holds, and everything that is wrong with it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from essnet.cli.progress import show_progress
from essnet.cli.terminal import DEFAULT_OUTPUT, Debug, Json, Output, check_writable, people_console, print_json

if TYPE_CHECKING:
    from essnet.config import DataConfig
    from essnet.data.checking import DataCheck

_SHOWN_OF_A_KIND = 5
_PROBLEMS_IN_JSON = 10_000
_PICTURES = 3
_SPLITS = ("train", "val", "test")


def check(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The data set, as data.name has it.", show_default=False)],
    overrides: Annotated[
        list[str] | None,
        typer.Argument(metavar="[KEY=VALUE]...", help="Overrides, such as data.year=2007.", show_default=False),
    ] = None,
    root: Annotated[
        Path | None, typer.Option("--root", help="Folder of the data set; textures has none.", show_default=False)
    ] = None,
    split: Annotated[
        list[str] | None,
        typer.Option("--split", help="train, val or test; may be given again. Default: all that have labels."),
    ] = None,
    preview: Annotated[
        Path | None,
        typer.Option("--preview", help="Draw images and their labels into this .png or .jpg.", show_default=False),
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(
            "--workers", min=0, help="Processes; 0: only this one. Default: one for each core, for many images."
        ),
    ] = None,
    output: Output = DEFAULT_OUTPUT,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Look a data set through: every file is read, everything that is wrong is listed, labels are counted.

    Exit code 0: nothing is wrong; 1: problems were found; 2: there is no such data set or folder.
    With --json "problems" holds at most 10,000 lines, "problem_count" says how many there are.
    The counts are kept below OUTPUT/cache, where data.sampling.repeat_factor finds them.

    Examples:

      launch.py data check voc --root VOCdevkit --preview voc.png

      launch.py data check voc --root VOCdevkit data.year=2007 --split train --split test

      launch.py data check coco_lvis --root runs/coco_lvis --json
    """
    config = _data_block(name, root, overrides or ())
    splits = _checked_splits(split or ())
    _check_preview(preview)
    check_writable(output)
    from essnet.data.checking import check_data
    from essnet.data.kept_histogram import keep_histogram

    console = people_console(as_json)
    try:
        with show_progress(console, "images") as progress:
            result = check_data(config, splits=splits, workers=workers, progress=progress)
    except KeyboardInterrupt:
        console.print("interrupted")
        raise typer.Exit(130) from None
    for found in result.splits.values():
        if not found.faulty:
            keep_histogram(found.histogram, found.dataset, cache_dir=output / "cache")
    _print_counts(result, console)
    _print_problems(result, console)
    drawn = preview is not None and _draw(result, preview)
    if drawn:
        console.print(f"preview: {preview}", markup=False)
    if as_json:
        print_json(
            {
                "ok": not result.problems,
                "name": name,
                "root": None if root is None else str(root),
                "splits": {split: found.to_json() for split, found in result.splits.items()},
                "problems": [problem.text for problem in result.problems[:_PROBLEMS_IN_JSON]],
                "problem_count": len(result.problems),
                "preview": str(preview) if drawn else None,
            }
        )
    if result.problems:
        raise typer.Exit(1)


def _data_block(name: str, root: Path | None, overrides: Sequence[str]) -> DataConfig:
    from essnet.config import InputError, trial_from_mapping
    from essnet.config.data import ExtensionData
    from essnet.config.extension_names import DATA_SETS
    from essnet.config.extensions import allow, code_in, load

    data: dict[str, Any] = {"name": name} if root is None else {"name": name, "root": str(root)}
    for override in overrides:
        if not override.startswith("data."):
            raise InputError(f"{override}: expected an override of data, such as data.year=2007")
    # A trial around it, so that the block is checked by the rules and in the words of every other command.
    mapping = {"name": "check", "data": data, "objective": {"name": "full_softmax"}}
    config = trial_from_mapping(mapping, overrides, source="").data
    allow(code_in({"data": config.model_dump()}))
    if isinstance(config, ExtensionData):
        load(config.name, group=DATA_SETS, key="data.name")
    folder = getattr(config, "root", None)
    if folder is not None and not Path(folder).is_dir():
        raise InputError(f"--root: {folder}: no such folder")
    return config


def _checked_splits(splits: Sequence[str]) -> Sequence[str]:
    from essnet.config import InputError, did_you_mean

    for split in splits:
        if split not in _SPLITS:
            raise InputError(f"--split: found {split!r}{did_you_mean(split, _SPLITS)}")
    return list(dict.fromkeys(splits))


def _check_preview(preview: Path | None) -> None:
    from essnet.config import InputError

    if preview is None:
        return
    if preview.suffix.lower() not in (".png", ".jpg", ".jpeg"):
        raise InputError(f"--preview: found {preview}; expected a file that ends in .png or .jpg")
    if not preview.parent.is_dir():
        raise InputError(f"--preview: {preview.parent}: no such folder")
    if preview.is_dir():
        raise InputError(f"--preview: {preview} is a folder; expected the name of a picture")
    check_writable(preview.parent, option="--preview")


def _print_counts(result: DataCheck, console: Console) -> None:
    from essnet.cli.data_sets.class_counts import class_counts, describe_split

    for split, found in result.splits.items():
        for line in describe_split(split, found):
            console.print(line, markup=False)
    if result.splits:
        console.print(class_counts(result.splits))


def _print_problems(result: DataCheck, console: Console) -> None:
    from essnet.data.checking import KINDS

    for kind, what in KINDS.items():
        lines = [problem.text for problem in result.problems if problem.kind == kind]
        if lines:
            console.print(f"{what}: {len(lines)}", style="bold", markup=False)
        for line in lines[:_SHOWN_OF_A_KIND]:
            console.print(f"  {line}", markup=False, soft_wrap=True)
        if len(lines) > _SHOWN_OF_A_KIND:
            console.print(f"  and {len(lines) - _SHOWN_OF_A_KIND} more (--json lists them)")
    count = len(result.problems)
    console.print("nothing is wrong" if not count else "1 problem" if count == 1 else f"{count} problems")


def _draw(result: DataCheck, path: Path) -> bool:
    """Draw a few images of each split; without one that can be read there is nothing to draw."""
    from essnet.atomic_files import write_atomically
    from essnet.data.pictures import label_sheet

    rows = [
        (f"{split}: {found.dataset.describe(index)}", *item)
        for split, found in result.splits.items()
        for index, item in found.examples(_PICTURES)
    ]
    if not rows:
        return False
    sheet = label_sheet(rows, next(iter(result.splits.values())).dataset.classes)
    kind = "png" if path.suffix.lower() == ".png" else "jpeg"
    write_atomically(path, lambda temporary: sheet.save(temporary, format=kind, quality=92))
    return True
