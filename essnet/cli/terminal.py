"""Where a command writes, and the options that every command shares."""

from __future__ import annotations

import json
import math
import os
import sys
import time
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from essnet.config.errors import InputError
from essnet.progress import ItemProgress

Output = Annotated[Path, typer.Option("--output", help="Folder below which everything is written.", show_default=True)]
Json = Annotated[bool, typer.Option("--json", help="The last line of standard output is the result as JSON.")]
Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")]
Overrides = Annotated[
    list[str] | None,
    typer.Argument(metavar="[KEY=VALUE]...", help="Overrides, such as trainer.max_steps=50.", show_default=False),
]
AllowCode = Annotated[
    list[str] | None,
    typer.Option(
        "--allow-code",
        metavar="NAME",
        help="Code that is named there, as package.module:attribute, and that you trust; may be given again.",
        show_default=False,
    ),
]
DEFAULT_OUTPUT = Path("runs")
_SCAN_SECONDS = 3.0


def check_writable(folder: Path, *, option: str = "--output") -> None:
    """Check that `folder`, given as `option`, can be made and written, without making it.

    Raises
    ------
    InputError
        If a file is in the way, or there is no permission.
    """
    way = (folder.absolute(), *folder.absolute().parents)
    nearest = next(path for path in way if os.path.lexists(path))  # Path.exists raises for overlong names
    if not nearest.is_dir():
        what = "a file" if nearest.exists() else "a link to nothing"
        raise InputError(f"{option}: cannot write below {nearest}, which is {what}; choose a folder")
    if not os.access(nearest, os.W_OK | os.X_OK):
        raise InputError(f"{option}: {nearest} cannot be written; choose another folder")


def people_console(as_json: bool) -> Console:
    """Return where text for people goes: standard output, or standard error beside `--json`."""
    console = Console(stderr=as_json, highlight=False)
    if not console.is_terminal:
        console.soft_wrap = True  # a log or a pipe has no width; lines are not broken there
    return console


def scan_progress(console: Console) -> ItemProgress:
    """Return a callback that says every few seconds how far the scan of a data set is; a short one stays silent."""
    told = time.monotonic()

    def tell(done: int, total: int) -> None:
        nonlocal told
        if time.monotonic() - told > _SCAN_SECONDS:
            told = time.monotonic()
            console.print(f"checking the data set: {done} of {total} masks", markup=False)

    return tell


def print_json(result: Any) -> None:
    """Print a result as one line of JSON on standard output; what is no number becomes null."""
    sys.stdout.write(json.dumps(_without_nan(result), allow_nan=False) + "\n")
    sys.stdout.flush()


def _without_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nan(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def clock(seconds: float) -> str:
    """Return a duration as 1:02:03 or 2:03, whole seconds."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
