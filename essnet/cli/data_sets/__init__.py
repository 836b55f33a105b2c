"""`data`: the commands for data sets, one module each."""

import typer

from essnet.cli.data_sets.build_coco_lvis import build_coco_lvis
from essnet.cli.data_sets.check import check
from essnet.cli.data_sets.download import download

app = typer.Typer(help="Data sets: fetch, check, make.", context_settings={"help_option_names": ["-h", "--help"]})
app.command("download")(download)
app.command("check")(check)
app.command("build-coco-lvis")(build_coco_lvis)


@app.callback(invoke_without_command=True)
def _data(context: typer.Context) -> None:
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())
