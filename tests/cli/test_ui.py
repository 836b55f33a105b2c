"""`launch.py ui`: a real process with MLflow's real server."""

from __future__ import annotations

import base64
import os
import re
import signal
import socket
import time
import urllib.error
import urllib.request
from pathlib import Path

import psutil
import pytest

from essnet.cli.app import main
from essnet.cli.mlflow_server import is_loopback
from tests.cli.running_ui import running_ui
from tests.cli.test_status import COMPLETED, make_sweep
from tests.cli.tracked_sweep import make_tracked_sweep
from tests.sockets import listening
from tests.tracking.server import Server

USER, PASSWORD = "someone", "long-enough-a-password"
SCRATCH = "essnet-ui-*"
"""The folders of servers' logs and users."""
CREDENTIALS = {"MLFLOW_TRACKING_USERNAME": USER, "MLFLOW_TRACKING_PASSWORD": PASSWORD}


@pytest.fixture(scope="module")
def output(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs")
    make_tracked_sweep(folder)
    return folder


def refusal(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    with pytest.raises(SystemExit) as exited:
        main(["ui", *arguments])
    assert exited.value.code == 2
    written = capsys.readouterr()
    assert written.out == ""
    (line,) = written.err.splitlines()
    return line


def test_a_folder_without_a_store(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert f"{tmp_path / 'mlflow.db'}: no such store" in refusal(capsys, "--output", str(tmp_path))
    assert not list(tmp_path.iterdir())


def test_wrong_sweeps(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "mlflow.db").touch()
    make_sweep(tmp_path, {"full": [COMPLETED]}, name="textures")
    assert "texture: no such sweep; did you mean textures?" in refusal(capsys, "texture", "--output", str(tmp_path))
    assert "no such store" in refusal(capsys, "textures", "--output", str(tmp_path))  # it names sqlite:///x


def test_a_port_in_use(output: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        line = refusal(capsys, "--output", str(output), "--port", str(port))
    assert f"--port: {port} is in use; choose another" in line


def test_an_address_of_another_machine(output: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line = refusal(capsys, "--output", str(output), "--host", "192.0.2.1", "--yes-without-password")
    assert "--host: cannot listen on 192.0.2.1" in line


def test_beyond_this_machine_a_password_or_a_yes_is_needed(
    output: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in CREDENTIALS:
        monkeypatch.delenv(name, raising=False)
    arguments = ("--output", str(output), "--host", "0.0.0.0")
    assert "set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD" in refusal(capsys, *arguments)
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", USER)
    assert "or say --yes-without-password" in refusal(capsys, *arguments)
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "short")
    line = refusal(capsys, *arguments)
    assert "MLFLOW_TRACKING_PASSWORD: found 5 characters" in line
    assert "short" not in line


@pytest.mark.parametrize(
    ("host", "expected"), [("127.0.0.1", True), ("::1", True), ("localhost", True), ("0.0.0.0", False), ("box", False)]
)
def test_what_only_this_machine_reaches(host: str, expected: bool) -> None:
    assert is_loopback(host) is expected


def status_of(address: str, *, user: str = "", password: str = "") -> int:
    request = urllib.request.Request(address.partition("#")[0])
    if user:
        request.add_header("Authorization", "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode())
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        error.close()
        return error.code


def descendants(pid: int) -> set[int]:
    children = {int(word) for path in Path(f"/proc/{pid}/task").glob("*/children") for word in path.read_text().split()}
    return children.union(*(descendants(child) for child in children))


def alive(pid: int) -> bool:
    try:
        return not re.search(r"^State:\s+Z", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    except FileNotFoundError:
        return False


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_it_answers_when_it_says_so_and_ends_with_all_its_processes(
    output: Path, tmp_path: Path, number: signal.Signals
) -> None:
    with running_ui(output, TMPDIR=str(tmp_path)) as (process, address):
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+", address)
        assert status_of(address) == 200
        started = descendants(process.pid)
        assert len(started) >= 2  # mlflow's command, and the server that it starts
        assert listening([psutil.Process(pid) for pid in (process.pid, *started)]) == {"127.0.0.1"}
        process.send_signal(number)
        _, err = process.communicate(timeout=120)
        assert process.returncode == 0, err
        assert err == "ended\n"
    wait_for_the_end_of(started)
    assert not list(tmp_path.glob(SCRATCH))


def wait_for_the_end_of(processes: set[int]) -> None:
    deadline = time.monotonic() + 60
    while any(alive(pid) for pid in processes):
        assert time.monotonic() < deadline, [pid for pid in processes if alive(pid)]
        time.sleep(0.05)


@pytest.mark.slow
def test_a_server_that_is_killed_is_said(output: Path) -> None:
    with running_ui(output) as (process, _):
        (server,) = (pid for pid in descendants(process.pid) if Path(f"/proc/{pid}/cmdline").read_bytes()
                     .split(b"\0")[2:4] == [b"mlflow", b"server"])  # fmt: skip
        os.kill(server, signal.SIGKILL)
        _, err = process.communicate(timeout=120)
        assert process.returncode == 1
        assert "MLflow's server ended by itself" in err


@pytest.mark.slow
def test_beyond_this_machine_it_asks_for_the_password_and_killed_it_leaves_neither_server_nor_user(
    output: Path, tmp_path: Path
) -> None:
    with running_ui(output, "--host", "0.0.0.0", **CREDENTIALS, TMPDIR=str(tmp_path)) as (process, address):
        port = address.rpartition(":")[2]
        here = f"http://127.0.0.1:{port}/"
        assert status_of(here) == 401
        assert status_of(here, user=USER, password="another-long-password") == 401
        assert status_of(here, user=USER, password=PASSWORD) == 200
        started = descendants(process.pid)
        for pid in {process.pid, *started}:
            assert PASSWORD.encode() not in Path(f"/proc/{pid}/cmdline").read_bytes()
        assert list(tmp_path.glob(SCRATCH))
        process.kill()
        wait_for_the_end_of(started)
    assert not list(tmp_path.glob(SCRATCH))
    assert not [path for path in output.rglob("*") if path.is_file() and PASSWORD.encode() in path.read_bytes()]


@pytest.mark.slow
def test_beyond_this_machine_with_a_yes(output: Path) -> None:
    with running_ui(output, "--host", "0.0.0.0", "--yes-without-password") as (_, address):
        assert status_of(f"http://127.0.0.1:{address.rpartition(':')[2]}/") == 200


@pytest.mark.slow
def test_a_sweep_on_a_server_is_looked_at_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "served").mkdir()
    server = Server(tmp_path / "served")
    server.start()
    try:
        folder = make_tracked_sweep(tmp_path, uri=server.uri)
        with pytest.raises(SystemExit) as exited:
            main(["ui", "s", "--output", str(tmp_path)])
    finally:
        server.stop()
    assert exited.value.code == 0
    written = capsys.readouterr()
    parent = folder.state()["parent_run_id"]
    experiment = f"{server.uri}/#/experiments/1/runs"
    assert written.out == f"{experiment}?viewStateShareKey={parent}&compareRunsMode=CHART\n"
    assert f"the sweep's runs are on the server {server.uri}" in written.err
    line = refusal(capsys, "s", "--output", str(tmp_path))
    assert line.startswith(f"essnet: {server.uri}: the sweep cannot be looked at there (")
