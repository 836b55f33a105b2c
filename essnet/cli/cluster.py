"""`cluster`: whether the nodes of a Ray cluster have what a sweep needs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from essnet.cli.terminal import (
    DEFAULT_OUTPUT,
    Debug,
    Json,
    Output,
    Overrides,
    check_writable,
    people_console,
    print_json,
)
from essnet.config.errors import InputError

if TYPE_CHECKING:
    from essnet.config import Sweep, TrialConfig
    from essnet.sweep.node_findings import Finding

Address = Annotated[
    str, typer.Option("--address", help="host:port of the cluster's head, or auto: the cluster on this machine.")
]

app = typer.Typer(help="Look at a Ray cluster.", no_args_is_help=True)


@app.callback()
def _cluster() -> None:
    """Look at a Ray cluster."""


@app.command("check")
def check(
    config: Annotated[
        Path | None, typer.Argument(metavar="[SWEEP.yaml]", help="A sweep that is to run there.", show_default=False)
    ] = None,
    overrides: Overrides = None,
    address: Address = "auto",
    output: Output = DEFAULT_OUTPUT,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Say of every node whether it has what a sweep needs, a line for each finding; ok or what to do.

    That essnet, torch, ray and mlflow are those of this machine, OUTPUT is the same folder, with locks, and disk,
    memory and GPUs are there; of SWEEP.yaml, that the data can be read, the tracking server answers, and, in place of
    OUTPUT, its storage can be written.

    Examples:

      launch.py cluster check --address auto

      launch.py cluster check experiments/ade20k/sweep.yaml data.root=/shared/ade20k --address 10.0.0.1:6379
      --output /shared/runs tracking.uri=http://10.0.0.1:5000
    """
    from essnet.config import load_sweep

    asked = load_sweep(config, overrides or ()) if config is not None else None
    check_writable(output)

    from essnet.sweep.cluster import joined, own_address
    from essnet.sweep.node_check import check_nodes
    from essnet.sweep.node_findings import Finding
    from essnet.sweep.shared_store import check_store, is_file

    trials = _trials(asked) if asked is not None else []
    uri = trials[0].tracking.uri if trials else None
    server = uri if uri is not None and not is_file(uri) else None
    of_all: list[Finding] = []
    with joined(address) as nodes:
        if trials and len(nodes) > 1:
            try:
                check_store(uri, output=output, host=own_address())
            except InputError as error:
                of_all.append(Finding("tracking", False, str(error)))
        of_nodes = check_nodes(
            nodes,
            output=output,
            paths=_paths(trials),
            tracking_uri=server,
            storage=asked.config.storage if asked is not None else None,
        )

    console = people_console(as_json)
    for place, findings in [("all", of_all), *((node.address, of_nodes[node.node_id]) for node in nodes)]:
        for finding in findings:
            mark = "ok  " if finding.ok else "DO  "
            console.print(f"{mark} {place:<15} {finding.name:<8} {finding.text}", markup=False)
    well = all(finding.ok for findings in (of_all, *of_nodes.values()) for finding in findings)
    if as_json:
        described = [
            {"address": node.address, "node_id": node.node_id, "findings": _by_name(of_nodes[node.node_id])}
            for node in nodes
        ]
        print_json({"ok": well, "all": _by_name(of_all), "nodes": described})
    if not well:
        raise typer.Exit(1)


def _trials(sweep: Sweep) -> list[TrialConfig]:
    """Return trials at the ends of the search spaces: they read whatever any trial reads."""
    return [sweep.trial_config({**arm.fixed, **point}) for arm in sweep.arms for point in arm.probe_points()]


def _paths(trials: Sequence[TrialConfig]) -> list[str]:
    """Return the files and folders that trials read: all absolute paths in them, and `load_sweep` made all absolute."""
    from essnet.config.overrides import flatten

    values = {value for trial in trials for _, value in flatten(trial.model_dump()) if isinstance(value, str)}
    return sorted(value for value in values if Path(value).is_absolute())


def _by_name(findings: Sequence[Finding]) -> dict[str, Any]:
    return {finding.name: {"ok": finding.ok, "text": finding.text} for finding in findings}
