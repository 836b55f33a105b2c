"""Where a command writes, and the options that every command shares."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

Output = Annotated[Path, typer.Option("--output", help="Folder below which everything is written.", show_default=True)]
Json = Annotated[bool, typer.Option("--json", help="The last line of standard output is the result as JSON.")]
Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")]
Overrides = Annotated[
    list[str] | None,
    typer.Argument(metavar="[KEY=VALUE]...", help="Overrides, such as trainer.max_steps=50.", show_default=False),
]
DEFAULT_OUTPUT = Path("runs")


def people_console(as_json: bool) -> Console:
    """Return where text for people goes: standard output, or standard error beside `--json`."""
    console = Console(stderr=as_json, highlight=False)
    if not console.is_terminal:
        console.soft_wrap = True  # a log or a pipe has no width; lines are not broken there
    return console


def print_json(result: Any) -> None:
    """Print a result as one line of JSON on standard output."""
    sys.stdout.write(json.dumps(result) + "\n")
    sys.stdout.flush()

