from __future__ import annotations

import os
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from essnet.config import InputError
from essnet.tracking import MlflowTracker, RunSpec, RunStore
from tests.cli.workplace import ROOT, SWEEP, TRIAL, tree
from tests.tracking.secured import (
    PASSWORD,
    SECRETS,
    TOKEN,
    Certificates,
    credentials,
    make_certificates,
    secured_server,
)
from tests.tracking.server import Server

pytestmark = pytest.mark.slow
CERTIFICATE = "MLFLOW_TRACKING_SERVER_CERT_PATH"


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return make_certificates(tmp_path_factory.mktemp("certificates"), "127.0.0.1")


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory, certificates: Certificates) -> Iterator[Server]:
    with secured_server(tmp_path_factory.mktemp("secured"), certificates) as server:
        yield server


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch, certificates: Certificates) -> None:
    for name in ("MLFLOW_TRACKING_TOKEN", "REQUESTS_CA_BUNDLE", *credentials(certificates)):
        monkeypatch.delenv(name, raising=False)


def set_all(monkeypatch: pytest.MonkeyPatch, changes: dict[str, str]) -> None:
    for name, value in changes.items():
        monkeypatch.setenv(name, value)


def log_a_run(uri: str, folder: Path, name: str) -> str:
    RunStore(uri, "secured", artifact_root=folder)  # raises where it is not let in
    tracker = MlflowTracker(
        folder / name, RunSpec(uri, "secured", str(folder), name=name, identity={"essnet.trial_id": name})
    )
    tracker.log(1, {"train/loss": 0.5})
    (folder / "picture.png").write_bytes(b"x")
    tracker.log_artifact(folder / "picture.png", "predictions")
    tracker.end("FINISHED")
    assert tracker.close(wait_seconds=60)
    assert tracker.run_id is not None
    return tracker.run_id


@pytest.mark.parametrize("given", ["password", "token", "bundle"])
def test_who_is_let_in(
    secured: Server, certificates: Certificates, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: str
) -> None:
    changes = credentials(certificates)
    if given == "token":
        changes = {CERTIFICATE: str(certificates.authority), "MLFLOW_TRACKING_TOKEN": TOKEN}
    if given == "bundle":
        changes["REQUESTS_CA_BUNDLE"] = changes.pop(CERTIFICATE)
    set_all(monkeypatch, changes)
    run_id = log_a_run(secured.uri, tmp_path, given)
    client = RunStore(secured.uri, "secured", artifact_root=tmp_path).client
    assert [point.value for point in client.get_metric_history(run_id, "train/loss")] == [0.5]
    assert [file.path for file in client.list_artifacts(run_id, "predictions")] == ["predictions/picture.png"]


@pytest.mark.parametrize(
    ("changes", "scheme", "expected"),
    [
        (
            {"MLFLOW_TRACKING_PASSWORD": "secret"},
            "https",
            "it does not accept what is in MLFLOW_TRACKING_USERNAME and MLF",
        ),
        ({"MLFLOW_TRACKING_PASSWORD": ""}, "https", "it wants to know who asks; set MLFLOW_TRACKING_USERNAME and "),
        (
            {"MLFLOW_TRACKING_PASSWORD": "", "MLFLOW_TRACKING_TOKEN": "secret"},
            "https",
            "it does not accept what is in MLFLOW_TRACKING_TOKEN)",
        ),
        (
            {CERTIFICATE: None},
            "https",
            "its certificate is from an authority that is not trusted here; set MLFLOW_TRACK",
        ),
        ({CERTIFICATE: "/no/such/file"}, "https", f"{CERTIFICATE}, or REQUESTS_CA_BUNDLE, names a file that is not"),
        ({}, "http", "it closes the connection; the address may have to begin with https://"),
    ],
)
def test_who_is_not_let_in(
    secured: Server,
    certificates: Certificates,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    changes: dict[str, str | None],
    scheme: str,
    expected: str,
) -> None:
    merged = {**credentials(certificates), **changes}
    set_all(monkeypatch, {name: value for name, value in merged.items() if value is not None})
    uri = secured.uri.replace("https", scheme)
    assert_refused(uri, tmp_path, expected)


def assert_refused(uri: str, folder: Path, expected: str) -> None:
    with pytest.raises(InputError) as caught:
        RunStore(uri, "refused", artifact_root=folder)
    text = str(caught.value)
    assert text.startswith(f"tracking.uri: {uri} does not answer as an MLflow store ({expected}")
    assert "\n" not in text
    assert not any(secret in text for secret in (*SECRETS, "secret"))
    assert not list(folder.iterdir())


def test_tls_where_there_is_none(server: Server, tmp_path: Path) -> None:
    assert_refused(server.uri.replace("http", "https"), tmp_path, "it does not speak TLS there")


def test_a_certificate_for_another_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    certificates = make_certificates(tmp_path, "tracking.example.org", "10.9.8.7")
    monkeypatch.setenv(CERTIFICATE, str(certificates.authority))
    folder = tmp_path / "runs"
    folder.mkdir()
    with tls_listener(certificates) as uri:
        assert_refused(uri, folder, "its certificate is for another name than that in the address")


@contextmanager
def tls_listener(certificates: Certificates) -> Iterator[str]:
    """A server that shakes hands and says no more: who does not like its certificate does not come further."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificates.certificate, certificates.key)
    server = HTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"https://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.mark.parametrize(
    ("command", "changes", "expected"),
    [
        (
            "train t.yaml",
            {"MLFLOW_TRACKING_PASSWORD": f"not {PASSWORD}"},
            "does not accept what is in MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD",
        ),
        ("sweep s.yaml", {"MLFLOW_TRACKING_PASSWORD": ""}, "it wants to know who asks"),
        # MLflow alone would trust any certificate
        ("train t.yaml", {CERTIFICATE: ""}, "its certificate is from an authority that is not trusted here"),
    ],
)
def test_who_is_not_let_in_leaves_nothing_behind(
    secured: Server,
    certificates: Certificates,
    tmp_path: Path,
    command: str,
    changes: dict[str, str],
    expected: str,
) -> None:
    (tmp_path / "t.yaml").write_text(TRIAL)
    (tmp_path / "s.yaml").write_text(SWEEP)
    before = tree(tmp_path)
    done = subprocess.run(
        [
            *(sys.executable, str(ROOT / "launch.py"), *command.split()),
            *(f"tracking.uri={secured.uri}", "trainer.max_steps=2"),
        ],
        cwd=tmp_path,
        env={**os.environ, **credentials(certificates), **changes},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2, done.stderr
    line = done.stderr.splitlines()[-1]
    assert expected in line
    assert "Traceback" not in done.stderr
    assert PASSWORD not in done.stdout + done.stderr
    assert tree(tmp_path) == before
