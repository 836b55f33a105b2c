"""Whether several nodes can write to a tracking store."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from urllib.parse import urlsplit

from essnet.config import InputError

_OF_ONE_MACHINE = ("", "file", "sqlite")
_PORT = 5000


def is_file(uri: str) -> bool:
    """Return whether a store is a file of one machine, or a folder of files."""
    return urlsplit(uri).scheme.partition("+")[0] in _OF_ONE_MACHINE


def check_store(uri: str | None, *, output: Path, host: str) -> None:
    """Check that a store is one that several nodes can write to at once.

    Parameters
    ----------
    uri
        The sweep's `tracking.uri`; None: the database in the output folder.
    output
        The output folder.
    host
        Address of this machine, as the other nodes know it.

    Raises
    ------
    InputError
        If it is a file; says how a server is started that keeps its runs there.
    """
    store = uri or f"sqlite:///{output.absolute() / 'mlflow.db'}"
    if not is_file(store):
        return
    artifacts = output.absolute() / "mlartifacts"
    server = f"{host}:{_PORT}"
    command = [sys.executable, "-m", "mlflow", "server", "--host", host, "--port", str(_PORT),
               "--allowed-hosts", server, "--backend-store-uri", store,
               "--artifacts-destination", str(artifacts)]  # fmt: skip
    raise InputError(
        f"tracking.uri: {store} is a file, and several nodes cannot write to it at once; start a server on this "
        f"machine with `{shlex.join(command)}`, and give tracking.uri=http://{server}"
    )
