"""Names, passwords and tokens come from the environment and go to the server: nowhere else."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.cli.workplace import ROOT, SWEEP, TRIAL
from tests.tracking.secured import (
    PASSWORD,
    SECRETS,
    TOKEN,
    USERNAME,
    Certificates,
    credentials,
    make_certificates,
    secured_server,
)
from tests.tracking.server import Server

pytestmark = pytest.mark.slow
_AS_SENT = base64.b64encode(f"{USERNAME}:{PASSWORD}".encode()).decode()
_SOUGHT = [secret.encode() for secret in (*SECRETS, _AS_SENT)]


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return make_certificates(tmp_path_factory.mktemp("certificates"), "127.0.0.1")


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("served")


@pytest.fixture(scope="module")
def secured(served: Path, certificates: Certificates) -> Iterator[Server]:
    with secured_server(served, certificates) as server:
        yield server


@contextmanager
def watched_titles() -> Iterator[set[str]]:
    """Every process title with a secret in it, of those that were there in the meantime."""
    found: set[str] = set()
    done = threading.Event()

    def watch() -> None:
        while not done.wait(0.5):
            for path in Path("/proc").glob("[0-9]*/cmdline"):
                try:
                    title = path.read_bytes()
                except OSError:  # it is gone
                    continue
                if any(secret in title for secret in _SOUGHT):
                    found.add(title.decode(errors="replace"))

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield found
    finally:
        done.set()
        thread.join()


def files_with_secrets(root: Path) -> list[Path]:
    files = [path for path in root.rglob("*") if path.is_file() and not path.is_symlink()]
    assert files
    return [path for path in files if any(secret in path.read_bytes() for secret in _SOUGHT)]


def launch(folder: Path, environment: dict[str, str], *arguments: str) -> dict[str, object]:
    """Run a command with secrets in its environment alone; its folder, streams and titles are clean afterwards."""
    (folder / "t.yaml").write_text(TRIAL)
    (folder / "s.yaml").write_text(SWEEP)
    with watched_titles() as titles:
        done = subprocess.run(
            [sys.executable, str(ROOT / "launch.py"), *arguments, "trainer.max_steps=2", "--json"],
            cwd=folder,
            env={**os.environ, **environment},
            capture_output=True,
            check=False,
        )
    assert done.returncode == 0, done.stderr.decode()
    assert not any(secret in done.stdout + done.stderr for secret in _SOUGHT)
    assert not titles
    assert not files_with_secrets(folder)
    result = json.loads(done.stdout.splitlines()[-1])
    assert isinstance(result, dict)
    return result


def assert_server_keeps_none(served: Path) -> None:
    """Runs, their params, tags and artifacts; who may look is in the files of users, and is the server's business."""
    for path in (served / "server.db", *(path for path in (served / "artifacts").rglob("*") if path.is_file())):
        content = path.read_bytes()
        assert not any(secret in content for secret in _SOUGHT), path


@pytest.mark.parametrize("given", ["password", "token"])
def test_a_run(secured: Server, served: Path, certificates: Certificates, tmp_path: Path, given: str) -> None:
    environment = credentials(certificates)
    if given == "token":
        del environment["MLFLOW_TRACKING_USERNAME"], environment["MLFLOW_TRACKING_PASSWORD"]
        environment["MLFLOW_TRACKING_TOKEN"] = TOKEN
    result = launch(tmp_path, environment, "train", "t.yaml", "--fast-dev-run", f"tracking.uri={secured.uri}")
    assert result["run_id"]
    assert list((served / "artifacts").rglob(f"{result['run_id']}/artifacts/config.yaml"))
    assert_server_keeps_none(served)


@pytest.mark.timeout(1200)
def test_a_sweep(secured: Server, served: Path, certificates: Certificates, tmp_path: Path) -> None:
    """Ray's workers find the variables: they inherit them."""
    with tempfile.TemporaryDirectory(prefix="r") as ray_folder:  # short: sockets lie in it
        environment = {**credentials(certificates), "MLFLOW_TRACKING_TOKEN": TOKEN, "RAY_TMPDIR": ray_folder}
        result = launch(tmp_path, environment, "sweep", "s.yaml", f"tracking.uri={secured.uri}")
        assert not files_with_secrets(Path(ray_folder))
    trials = result["trials"]
    assert isinstance(trials, list)
    assert [trial["state"] for trial in trials] == ["COMPLETED"] * 3
    # A slow server may have them only after the comparison was made, but before the command ends.
    kept = [tmp_path / "runs" / "s" / "trials" / trial["trial_id"] / "run.json" for trial in trials]
    assert all(json.loads(path.read_text())["run_id"] for path in kept)
    assert_server_keeps_none(served)


def test_an_address_with_a_password_is_not_repeated(tmp_path: Path) -> None:
    (tmp_path / "t.yaml").write_text(f"{TRIAL}tracking: {{uri: 'https://{USERNAME}:{PASSWORD}@127.0.0.1:9'}}\n")
    done = subprocess.run(
        [sys.executable, str(ROOT / "launch.py"), "train", "t.yaml", "--debug"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD" in done.stderr.splitlines()[-1]
    assert not any(secret in done.stdout + done.stderr for secret in SECRETS)
    assert [path.name for path in tmp_path.iterdir()] == ["t.yaml"]
