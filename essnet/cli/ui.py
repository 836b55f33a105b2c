"""`ui`: MLflow's own UI on the project's store, or on a sweep's."""

from __future__ import annotations

import errno
import os
import signal
import sys
import webbrowser
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from essnet.cli.mlflow_server import Credentials, is_loopback, mlflow_server, take_port
from essnet.cli.terminal import DEFAULT_OUTPUT, Debug, Output
from essnet.config.errors import InputError

if TYPE_CHECKING:
    from essnet.sweep.folder import SweepFolder

_SERVERS = ("http://", "https://")
_USER, _PASSWORD = "MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD"
_SHORTEST_PASSWORD = 12


def ui(
    sweep: Annotated[
        str | None,
        typer.Argument(metavar="[SWEEP]", help="Name of a sweep, or its folder: opens on its comparison."),
    ] = None,
    output: Output = DEFAULT_OUTPUT,
    host: Annotated[
        str, typer.Option("--host", help="Address to listen on; 0.0.0.0: all of this machine.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="0 takes a free one.")] = 0,
    open_browser: Annotated[bool, typer.Option("--open", help="Open it in a browser, too.")] = False,
    yes_without_password: Annotated[
        bool, typer.Option("--yes-without-password", help="Let in everybody who reaches --host.")
    ] = False,
    debug: Debug = False,
) -> None:
    """Show the runs in OUTPUT, or those of a sweep, in MLflow's UI; Ctrl-C ends it.

    The page of a sweep has the searched parameters and the metric as parallel coordinates, the metric over memory and
    time, and the curves. A sweep on a tracking server is looked at there: its address is printed.

    Beyond this machine (--host) it asks for the user and password in MLFLOW_TRACKING_USERNAME and
    MLFLOW_TRACKING_PASSWORD.

    Examples:

      launch.py ui

      launch.py ui textures --open

      launch.py ui textures --host 0.0.0.0 --port 5000
    """
    folder = None if sweep is None else _find(sweep, output)
    store = _store(output) if folder is None else str(folder.state()["tracking_uri"])
    if store.startswith(_SERVERS):
        assert folder is not None
        _tell(store + _page(folder), f"the sweep's runs are on the server {store}", open_browser=open_browser)
        return
    _check_file(store)
    credentials = None if is_loopback(host) else _credentials(host, without=yes_without_password)
    chosen = _take_port(host, port)
    page = "" if folder is None else _page(folder)

    # Before the server is there to be ended. The terminal's end is one, too: the server has a session of its own.
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)
    try:
        typer.echo("MLflow's server starts ...", err=True)
        with mlflow_server(
            store, host=host, port=chosen, artifacts=output / "mlartifacts", credentials=credentials
        ) as server:
            _tell(server.address + page, "ready; Ctrl-C ends it", open_browser=open_browser)
            code = server.process.wait()
            raise RuntimeError(f"MLflow's server ended by itself, with exit code {code}")
    except KeyboardInterrupt:
        typer.echo("ended", err=True)


def _find(sweep: str, output: Path) -> SweepFolder:
    from essnet.sweep.find_sweep import find_sweep

    return find_sweep(sweep, output)


def _store(output: Path) -> str:
    from essnet.tracking import default_uri

    return default_uri(output)


def _check_file(store: str) -> None:
    """Check that a database that is a file is there: MLflow would make an empty one."""
    path = Path(store.removeprefix("sqlite:///"))
    if store.startswith("sqlite:///") and not path.exists():
        raise InputError(f"{path}: no such store; a train or sweep with --output {path.parent} makes it")


def _page(folder: SweepFolder) -> str:
    """Return what follows the server's address to open the comparison of a sweep."""
    from essnet.tracking.comparison_view import publish_view

    state = folder.state()
    if state["parent_run_id"] is None:
        raise InputError(f"{folder.path}: has no run in MLflow yet; wait until the sweep has begun")
    return publish_view(
        state["tracking_uri"],
        state["parent_run_id"],
        title=f"sweep {state['name']}",
        metric=state["metric"],
        mode=state["mode"],
        axes=_searched([record.point for record in folder.records()]),
    )


def _searched(points: list[dict[str, Any]]) -> list[list[str]]:
    """Return the groups of parameters that trials of one arm search together, the largest first."""
    groups = {tuple(sorted(point)) for point in points if point}
    return [list(group) for group in sorted(groups, key=lambda group: (-len(group), group))]


def _credentials(host: str, *, without: bool) -> Credentials | None:
    user, password = os.environ.get(_USER), os.environ.get(_PASSWORD)
    if user and password:
        if len(password) < _SHORTEST_PASSWORD:
            raise InputError(
                f"{_PASSWORD}: found {len(password)} characters; MLflow wants {_SHORTEST_PASSWORD} or more"
            )
        return Credentials(user, password)
    question = f"Everybody who reaches {host} will be able to read, change and delete all runs. Go on?"
    if without or (sys.stdin.isatty() and typer.confirm(question)):
        return None
    raise InputError(
        f"--host: {host} is beyond this machine and nobody would be asked for a password; set {_USER} and {_PASSWORD} "
        "in the environment, or say --yes-without-password"
    )


def _take_port(host: str, port: int) -> int:
    try:
        return take_port(host, port)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise InputError(f"--port: {port} is in use; choose another, or leave it out for a free one") from None
        raise InputError(
            f"--host: cannot listen on {host}, port {port} ({str(error.strerror).partition(' (while')[0]})"
        ) from None


def _tell(address: str, sentence: str, *, open_browser: bool) -> None:
    typer.echo(address)
    typer.echo(sentence, err=True)
    if open_browser and not webbrowser.open(address):
        typer.echo("there is no browser here to open it", err=True)
