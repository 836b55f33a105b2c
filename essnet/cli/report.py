"""`report`: the comparison of a sweep's trials."""

from __future__ import annotations

import sys
from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from essnet.cli.terminal import DEFAULT_OUTPUT, Debug, Json, Output, people_console, print_json


class Format(str, Enum):
    """How the comparison is printed."""

    terminal = "terminal"
    json = "json"
    csv = "csv"


def report(
    sweep: Annotated[str, typer.Argument(metavar="SWEEP", help="Name of a sweep, or its folder.", show_default=False)],
    form: Annotated[Format, typer.Option("--format", help="How to print it.")] = Format.terminal,
    output: Output = DEFAULT_OUTPUT,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Compare a sweep's trials with its baseline; also while it runs.

    Examples:

      launch.py report textures

      launch.py report textures --format csv > textures.csv
    """
    from essnet.report import answer, comparison_csv, comparison_table, legend, load_comparison
    from essnet.sweep.folder import SweepFolder

    comparison = load_comparison(SweepFolder(_sweep_path(sweep, output)))
    if form is Format.csv and not as_json:
        sys.stdout.write(comparison_csv(comparison))
        return
    if form is Format.terminal:
        console = people_console(as_json)
        console.print(comparison_table(comparison))
        console.print(legend(comparison), markup=False)
        console.print(answer(comparison))
        for trial in comparison.trials:
            if trial.error:
                console.print(f"failed: {trial.trial_id}: {trial.error}", markup=False)
    if as_json or form is Format.json:
        print_json(comparison.to_json())


def _sweep_path(sweep: str, output: Path) -> Path:
    from essnet.config import InputError, did_you_mean

    for path in (output / sweep, Path(sweep)):
        if (path / "sweep.json").exists():
            return path
    known = [path.parent.name for path in output.glob("*/sweep.json")]
    hint = did_you_mean(sweep, known) if known else f"; there is no sweep in {output}"
    raise InputError(f"{sweep}: no such sweep{hint}")
