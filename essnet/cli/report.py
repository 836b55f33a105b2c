"""`report`: the comparison of what a sweep tried."""

from __future__ import annotations

import sys
from enum import Enum
from typing import Annotated

import typer

from essnet.cli.terminal import DEFAULT_OUTPUT, Debug, Json, Output, people_console, print_json
from essnet.sweep.find_sweep import find_sweep


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
    """Compare a sweep's configurations with its baseline; also while it runs.

    Trials that differ in nothing but the seed are one configuration: a mean, with an interval over the seeds.

    Examples:

      launch.py report textures

      launch.py report textures --format csv > textures.csv
    """
    from essnet.report import answer, comparison_csv, comparison_table, legend, load_comparison
    from essnet.sweep.folder import FAILED

    comparison = load_comparison(find_sweep(sweep, output))
    if form is Format.csv and not as_json:
        sys.stdout.write(comparison_csv(comparison))
        return
    if form is Format.terminal:
        console = people_console(as_json)
        console.print(comparison_table(comparison))
        console.print(legend(comparison), markup=False)
        console.print(answer(comparison), markup=False)
        for trial in comparison.trials:
            if trial.state == FAILED:
                console.print(trial.failure_line, markup=False)
    if as_json or form is Format.json:
        print_json(comparison.to_json())
