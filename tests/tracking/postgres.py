"""A PostgreSQL of a test's own, from Debian's package, on loopback."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest

_INSTALLED = Path("/usr/lib/postgresql")


@dataclass(frozen=True)
class Database:
    """An address without its password, and the password: as PGPASSWORD in the environment."""

    uri: str
    password: str


@contextmanager
def postgres() -> Iterator[Database]:
    """Start a server with an empty database; skip the test where PostgreSQL is not installed."""
    versions = sorted(_INSTALLED.glob("*/bin/initdb"), key=lambda path: float(path.parents[1].name))
    if not versions:
        pytest.skip("there is no PostgreSQL on this machine (Debian: apt-get install postgresql)")
    programs = versions[-1].parent
    # Below /tmp itself: PostgreSQL refuses to run as root, and its own user may not enter pytest's folders.
    folder = Path(tempfile.mkdtemp(prefix="essnet-postgres-", dir="/tmp"))
    user = "postgres" if os.geteuid() == 0 else None
    password = secrets.token_hex()
    try:
        (folder / "password").write_text(password)
        if user is not None:
            for path in (folder, folder / "password"):
                shutil.chown(path, user, user)
        make = [programs / "initdb", "-D", folder / "data", "-U", "essnet", "--encoding=UTF8", "--no-sync",
                "--auth=scram-sha-256", f"--pwfile={folder / 'password'}"]  # fmt: skip
        made = subprocess.run(make, user=user, group=user, cwd=folder, capture_output=True, text=True, check=False)
        assert made.returncode == 0, made.stderr
        with socket.create_server(("127.0.0.1", 0)) as probe:
            port = probe.getsockname()[1]
        with (folder / "log").open("wb") as log:
            serve = [programs / "postgres", "-D", folder / "data", "-h", "127.0.0.1", "-p", str(port), "-k", folder]
            process = subprocess.Popen(
                serve, user=user, group=user, cwd=folder, stdout=log, stderr=log, start_new_session=True
            )
        try:
            _wait(process, port, password, folder / "log")
            yield Database(f"postgresql://essnet@127.0.0.1:{port}/postgres", password)
        finally:
            process.send_signal(signal.SIGINT)  # who is still connected is sent away
            process.wait(60)
    finally:
        shutil.rmtree(folder)


def _wait(process: subprocess.Popen[bytes], port: int, password: str, log: Path) -> None:
    deadline = time.monotonic() + 60
    while True:
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < deadline, log.read_text()
        try:
            psycopg.connect(host="127.0.0.1", port=port, user="essnet", password=password, dbname="postgres").close()
        except psycopg.OperationalError:
            time.sleep(0.1)
        else:
            return
