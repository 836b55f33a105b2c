"""A new sqlite store is there whole or not at all, whenever its maker is killed."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from essnet.tracking import RunStore, default_uri, sqlite_file

MAKE = "import sys; from pathlib import Path; from essnet.tracking import RunStore; "
OPEN = "RunStore(sys.argv[1], 'essnet', artifact_root=Path(sys.argv[2]))"


def test_a_new_store_leaves_its_file_and_lock_alone(tmp_path: Path) -> None:
    RunStore(default_uri(tmp_path), "essnet", artifact_root=tmp_path / "artifacts")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mlflow.db", "mlflow.db.lock"]


def test_what_an_attempt_that_died_left_is_of_no_account(tmp_path: Path) -> None:
    (tmp_path / ".mlflow.db.partial").write_bytes(b"SQLite format 3\0 and no more")
    (tmp_path / ".mlflow.db.partial-journal").write_bytes(b"x")
    (tmp_path / "mlflow.db").touch()  # sqlite makes an empty file as it opens one
    store = RunStore(default_uri(tmp_path), "essnet", artifact_root=tmp_path / "artifacts")
    assert store.client.get_experiment_by_name("essnet") is not None
    assert not list(tmp_path.glob(".mlflow.db.partial*"))


def test_ctrl_c_while_it_is_made_leaves_nothing_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*, tracking_uri: str) -> None:
        partial = Path(tracking_uri.removeprefix("sqlite:///"))
        partial.touch()
        partial.with_name(f"{partial.name}-journal").touch()
        raise KeyboardInterrupt

    monkeypatch.setattr(sqlite_file, "MlflowClient", interrupted)
    with pytest.raises(KeyboardInterrupt):
        RunStore(default_uri(tmp_path), "essnet", artifact_root=tmp_path / "artifacts")
    assert [path.name for path in tmp_path.iterdir()] == ["mlflow.db.lock"]


@pytest.mark.slow
@pytest.mark.parametrize("part", [0.1, 0.35, 0.6])
def test_killed_while_it_is_made(part: float, tmp_path: Path) -> None:
    """A part of the time in which the tables are made, from when their file is begun."""
    process = subprocess.Popen([sys.executable, "-c", MAKE + OPEN, default_uri(tmp_path), str(tmp_path / "artifacts")])
    try:
        deadline = time.monotonic() + 120
        partial = tmp_path / ".mlflow.db.partial"
        # All tables are there at some 900 kB.
        while not (partial.exists() and partial.stat().st_size > part * 900_000) and time.monotonic() < deadline:
            if process.poll() is not None:
                break
            time.sleep(0.001)
    finally:
        process.kill()
        process.wait()
    assert partial.exists()  # killed in time
    store = RunStore(default_uri(tmp_path), "essnet", artifact_root=tmp_path / "artifacts")
    assert store.client.get_experiment_by_name("essnet") is not None
