"""`data download`: a published data set, from where it is published to a folder that training reads."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from essnet.cli.progress import show_progress
from essnet.cli.terminal import Debug, Json, check_writable, people_console, print_json
from essnet.config.errors import InputError
from essnet.progress import Progress

if TYPE_CHECKING:
    from essnet.downloads.catalogue import DataSet
    from essnet.downloads.obtaining import Plan

_MIB = 1 << 20


def download(
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME", help="voc, ade20k, cityscapes, coco_stuff10k, coco_stuff or coco_lvis.", show_default=False
        ),
    ],
    root: Annotated[
        Path, typer.Option("--root", help="Folder of the data set: what data.root will be.", show_default=False)
    ],
    year: Annotated[
        int | None, typer.Option("--year", help="voc: 2007 to 2012. Default: 2012.", show_default=False)
    ] = None,
    augmented: Annotated[
        bool, typer.Option("--augmented", help="voc: SBD's labels too, for data.augmented=true.")
    ] = False,
    split: Annotated[
        str | None,
        typer.Option(
            "--split",
            help="coco_stuff: train or val alone. val is 1.4 GiB instead of 19.4 GiB; check it with --split val too.",
            show_default=False,
        ),
    ] = None,
    keep_archives: Annotated[
        bool, typer.Option("--keep-archives", help="Keep the archives in ROOT/downloads when they are unpacked.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say what would be downloaded, its size and its licence.")
    ] = False,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Download a published data set from where it is published, check it, and lay it out for data.root.

    What was downloaded is verified by its published checksum where there is one, else by its size, and by the
    archive's own checksums. After Ctrl-C, a cut connection or a full disk the same command goes on. An archive that
    you put into ROOT/downloads yourself is verified and used. Cityscapes needs an account: the steps are shown, and
    the exit code is 2, as nothing was downloaded.

    Examples:

      launch.py data download voc --root data/VOCdevkit --augmented

      launch.py data download ade20k --root data/ADEChallengeData2016 --dry-run

      launch.py data download coco_stuff --root data/coco --split val
    """
    from essnet.downloads.catalogue import Wanted, data_set
    from essnet.downloads.obtaining import obtain, plan

    wanted = data_set(Wanted(name=name, root=root, year=year, augmented=augmented or None, split=split))
    console = people_console(as_json)
    _print_terms(name, wanted, console)
    if wanted.steps:
        for number, step in enumerate(wanted.steps, start=1):
            console.print(f"{number}. {step}", markup=False, soft_wrap=True)
        raise InputError(f"{name}: needs an account, so nothing was downloaded; the steps are above")
    check_writable(root, option="--root")
    work = plan(wanted, root, keep_archives=keep_archives)
    _print_plan(wanted, work, root, console)
    archives: list[dict[str, Any]]
    if dry_run:
        there = {obtained.archive for obtained in work.there}
        archives = [
            {"address": archive.address, "bytes": archive.size, "verified": None, "skipped": archive in there}
            for archive in wanted.archives
        ]
    else:
        try:
            with show_progress(console, "MiB") as progress:
                done = obtain(
                    wanted,
                    root,
                    keep_archives=keep_archives,
                    progress=_in_mib(progress, named=console.is_terminal),
                    say=lambda line: console.print(line, markup=False, soft_wrap=True),
                )
        except KeyboardInterrupt:
            console.print("interrupted; what has come is kept, the same command goes on")
            raise typer.Exit(130) from None
        archives = [
            {
                "address": one.archive.address,
                "bytes": one.unpacked.bytes,
                "verified": one.unpacked.verified,
                "skipped": one.skipped,
            }
            for one in done
        ]
        _print_done(wanted, root, console)
    if as_json:
        print_json({"name": name, "root": str(root), "archives": archives, "next": wanted.next_command})


def _in_mib(progress: Progress, *, named: bool) -> Progress:
    """Count bytes as mebibytes, the last one only at the end; `named`: with the unit, which a bar does not show."""
    unit = ", MiB" if named else ""

    def tell(what: str, done: int, total: int) -> None:
        whole = -(-total // _MIB)
        progress(what + unit, whole if total and done >= total else done // _MIB, whole)

    return tell


def _print_terms(name: str, wanted: DataSet, console: Console) -> None:
    console.print(f"{name}: {wanted.title}", markup=False, soft_wrap=True)
    for licence in wanted.licences:
        console.print(f"licence: {licence}", markup=False, soft_wrap=True)


def _print_plan(wanted: DataSet, work: Plan, root: Path, console: Console) -> None:
    from essnet.downloads.archive import readable
    from essnet.downloads.disk import free_bytes

    there = {obtained.archive for obtained in work.there}
    for archive in wanted.archives:
        size = readable(archive.planned_bytes) if archive.planned_bytes else "size not published"
        size = size if archive.size or not archive.about else f"about {size}"
        check = archive.checksum.algorithm if archive.checksum else "no checksum published"
        state = "; is there" if archive in there else ""
        console.print(f"{archive.address} ({size}, {check}){state}", markup=False, soft_wrap=True)
    free = free_bytes(root)
    takes = f"takes {readable(work.needed_bytes)} at least" if work.to_do else "nothing to do"
    missing = f", {readable(work.needed_bytes - free)} too few" if work.needed_bytes > free else ""
    console.print(f"{root}: {takes}; {readable(free)} are free{missing}", markup=False, soft_wrap=True)
    if wanted.hint:
        console.print(wanted.hint, markup=False, soft_wrap=True)


def _print_done(wanted: DataSet, root: Path, console: Console) -> None:
    if wanted.next_command is None:
        console.print(f"done; use it with data.root={root}", markup=False, soft_wrap=True)
    else:
        console.print(f"done; next, for data.root={root}:", markup=False, soft_wrap=True)
        console.print(wanted.next_command, markup=False, soft_wrap=True)
