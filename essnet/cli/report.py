"""`report`: the comparison of what sweeps tried."""

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from essnet.cli.terminal import DEFAULT_OUTPUT, AllowCode, Debug, Json, Output, people_console, print_json
from essnet.config.errors import InputError
from essnet.file_lock import holder
from essnet.sweep.find_sweep import find_sweep

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

    from essnet.report import Comparison
    from essnet.sweep.folder import SweepFolder


_WIDTH_OF_A_PIPE = 1000
"""More than any table has: a pipe or a file cuts nothing."""


class Format(StrEnum):
    """How the comparison is printed."""

    terminal = "terminal"
    json = "json"
    csv = "csv"
    latex = "latex"
    markdown = "markdown"
    html = "html"


def report(
    sweeps: Annotated[
        list[str], typer.Argument(metavar="SWEEP...", help="Names of sweeps, or their folders.", show_default=False)
    ],
    form: Annotated[Format, typer.Option("--format", help="How to show it.")] = Format.terminal,
    watch: Annotated[
        bool, typer.Option("--watch", help="While the sweeps run, show the table again whenever it has changed.")
    ] = False,
    figure: Annotated[
        list[str] | None,
        typer.Option(
            "--figure",
            metavar="NAME",
            help="A figure of another package, for the page: package.module:attribute, or as that offers it; may be "
            "given again.",
            show_default=False,
        ),
    ] = None,
    allow_code: AllowCode = None,
    output: Output = DEFAULT_OUTPUT,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Compare the configurations of sweeps with their baselines; also while they run.

    Trials that differ in nothing but the seed are one configuration: a mean, with an interval over the seeds. Those of
    several sweeps stand in one table, each beside the baseline of its own sweep.
    --format html writes one file that needs nothing else, comparison.html in the sweep's folder, and prints its path.

    Examples:

      launch.py report textures

      launch.py report textures --format csv > textures.csv

      launch.py report textures --format html

      launch.py report textures --watch
    """
    from essnet.config.extension_names import is_import_path
    from essnet.config.extensions import allow
    from essnet.report import (
        comparison_csv,
        comparison_json,
        comparison_latex,
        comparison_markdown,
        load_comparisons,
    )

    figures = figure or ()
    if figures and form is not Format.html:
        raise InputError(f"--figure: found {figures[0]}, which only the page shows; add --format html")
    allow([*filter(is_import_path, figures), *(allow_code or ())])
    folders = [find_sweep(sweep, output) for sweep in dict.fromkeys(sweeps)]
    console = people_console(as_json)
    if watch:
        _watch(folders, form, output=output, console=console, figures=figures)
    comparisons = load_comparisons(folders)
    texts = {Format.csv: comparison_csv, Format.latex: comparison_latex, Format.markdown: comparison_markdown}
    if form in texts and not as_json:
        sys.stdout.write(texts[form](comparisons))
    elif form is Format.html:
        console.print(str(_write_page(comparisons, output, figures)), markup=False)
    elif form is Format.terminal:
        _show(comparisons, console)
    for folder, comparison in zip(folders, comparisons, strict=True):
        _deliver(folder, done=comparison.done, console=console)
    if as_json or form is Format.json:
        print_json(comparison_json(comparisons))


def _deliver(folder: SweepFolder, *, done: bool, console: Console) -> None:
    """Send MLflow what it could not be told when the sweep ended."""
    from essnet.sweep.ended_runs import is_tracked

    if is_tracked(folder) or holder(folder.path / "lock") is not None:
        return
    from essnet.sweep.parent_run import deliver_leftovers

    if deliver_leftovers(folder, done=done):
        console.print(f"{folder.path}: MLflow has all of it now", markup=False)
    else:
        console.print(f"{folder.path}: MLflow does not answer; what it lacks is kept there", markup=False)


def _show(comparisons: Sequence[Comparison], console: Console) -> None:
    from essnet.report import answers, comparison_table, legend

    if not console.is_terminal:
        console.width = _WIDTH_OF_A_PIPE
    console.print(comparison_table(comparisons))
    console.print(legend(comparisons), markup=False)
    for text in answers(comparisons):
        console.print(text, markup=False)
    for comparison in comparisons:
        for trial in comparison.trials:
            for line in trial.failure_lines:
                console.print(line, markup=False)
        if comparison.best_checkpoint is not None:
            console.print(f"best checkpoint: {comparison.best_checkpoint}", markup=False)


def _watch(
    folders: Sequence[SweepFolder], form: Format, *, output: Path, console: Console, figures: Sequence[str]
) -> None:
    from essnet.cli.report_watch import watch_page, watch_table

    if form is Format.terminal:
        watch_table(folders, console)
    elif form is Format.html:
        console.print(f"writing {_page_path([folder.path for folder in folders], output)} while it runs", markup=False)
        watch_page(folders, lambda comparisons: _write_page(comparisons, output, figures))
    else:
        raise InputError(f"--watch: found --format {form.value}, which is written once; take terminal or html")


def _write_page(comparisons: Sequence[Comparison], output: Path, figures: Sequence[str]) -> Path:
    from essnet.report.page import write_page

    path = _page_path([comparison.directory for comparison in comparisons], output)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_page(comparisons, path, figures=figures)
    return path


def _page_path(folders: Sequence[Path], output: Path) -> Path:
    """Return where the page goes: into a sweep's own folder if that is below `output`, else beside the sweeps there."""
    if len(folders) == 1 and folders[0].resolve().parent == output.resolve():
        return output / folders[0].name / "comparison.html"
    return output / f"comparison-{'-'.join(folder.resolve().name for folder in folders)}.html"
