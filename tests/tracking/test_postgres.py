"""A team's tracking server: MLflow on PostgreSQL, with a folder of artifacts, and many who write at once."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from essnet.config import InputError
from essnet.tracking import RunStore
from tests.cli.workplace import ROOT
from tests.tracking.postgres import Database, postgres
from tests.tracking.server import Server

pytestmark = pytest.mark.slow
WRITERS = 16
STEPS = 20
METRICS = ("train/loss", "train/lr", "val/miou", "perf/step_ms")

_WRITE = """
import sys
from pathlib import Path
from essnet.tracking import MlflowTracker, RunSpec

uri, folder, parent, name, steps, *metrics = sys.argv[1:]
print("ready", flush=True)
sys.stdin.readline()
spec = RunSpec(
    uri=uri,
    experiment="crowd",
    artifact_root=folder,
    name=name,
    identity={"essnet.trial_id": name, "mlflow.parentRunId": parent},
    tags={"essnet.kind": "trial"},
    params={"objective.embedding_dim": "12", "name": name, **{f"block.key_{index}": "0" for index in range(150)}},
)
tracker = MlflowTracker(Path(folder) / name, spec)
for step in range(1, int(steps) + 1):
    tracker.log(step, {metric: step + 1000 * index for index, metric in enumerate(metrics)})
    tracker.flush()
picture = Path(folder) / f"{name}.png"
picture.write_bytes(name.encode())
tracker.log_artifact(picture, "predictions")
tracker.end("FINISHED")
assert tracker.close(wait_seconds=400)
"""


@pytest.fixture(scope="module")
def database() -> Iterator[Database]:
    with postgres() as found:
        yield found


@pytest.fixture(scope="module")
def team(tmp_path_factory: pytest.TempPathFactory, database: Database) -> Iterator[Server]:
    server = Server(
        tmp_path_factory.mktemp("team"),
        backend=database.uri,
        options=("--workers", "2"),
        environment={"PGPASSWORD": database.password},
    )
    server.start()
    yield server
    server.stop()


@pytest.mark.timeout(600)
def test_sixteen_writers_at_once(team: Server, tmp_path: Path) -> None:
    store = RunStore(team.uri, "crowd", artifact_root=tmp_path)
    parent = store.find_or_make("sweep", identity={"essnet.kind": "sweep"}, tags={}, params={})
    names = [f"{index:03d}-knn" for index in range(WRITERS)]
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", _WRITE, team.uri, str(tmp_path), parent, name, str(STEPS), *METRICS],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
        for name in names
    ]
    for writer in writers:  # all have begun before one writes
        assert writer.stdout is not None
        assert writer.stdout.readline() == "ready\n"
    for writer in writers:
        assert writer.stdin is not None
        writer.stdin.write("go\n")
        writer.stdin.flush()
    for writer in writers:
        _, err = writer.communicate(timeout=500)
        assert writer.returncode == 0, err

    runs = store.children(parent)
    assert sorted(run.info.run_name for run in runs) == names
    for run in runs:
        run_id, name = run.info.run_id, run.info.run_name
        assert run.info.status == "FINISHED"
        assert run.data.params["name"] == name
        assert len(run.data.params) == 152
        for index, metric in enumerate(METRICS):
            history = store.client.get_metric_history(run_id, metric)
            points = sorted((point.step, point.value) for point in history)
            assert points == [(step, step + 1000.0 * index) for step in range(1, STEPS + 1)], (name, metric)
        assert run.info.artifact_uri.startswith("mlflow-artifacts:")
        fetched = store.client.download_artifacts(run_id, f"predictions/{name}.png", str(tmp_path))
        assert Path(fetched).read_bytes() == name.encode()


def test_a_database_without_a_server_before_it(
    database: Database, team: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its password comes from the environment, and artifacts lie in the output folder."""
    monkeypatch.setenv("PGPASSWORD", database.password)
    store = RunStore(database.uri, "direct", artifact_root=tmp_path)
    run_id = store.find_or_make("a run", identity={"essnet.trial_id": "a"}, tags={}, params={"seed": 0})
    (tmp_path / "picture.png").write_bytes(b"x")
    store.client.log_artifact(run_id, str(tmp_path / "picture.png"), "predictions")
    assert (tmp_path / "direct" / run_id / "artifacts" / "predictions" / "picture.png").exists()
    seen = RunStore(team.uri, "direct", artifact_root=tmp_path)
    assert seen.client.get_run(run_id).data.params == {"seed": "0"}


def test_a_database_with_another_password(database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGPASSWORD", "another-secret")
    with pytest.raises(InputError, match="password authentication failed") as caught:
        RunStore(database.uri, "refused", artifact_root=tmp_path)
    assert "\n" not in str(caught.value)
    assert "another-secret" not in str(caught.value)
