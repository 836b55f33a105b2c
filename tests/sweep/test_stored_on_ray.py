"""Sweeps that are kept in a bucket: real Ray, a real S3 server, workers, drivers and nodes that are killed."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from mlflow import MlflowClient

from essnet.config import load_sweep
from essnet.sweep.cluster import joined
from essnet.sweep.cluster_capacity import cluster_capacity
from essnet.sweep.folder import SweepFolder
from essnet.sweep.node_check import check_nodes
from essnet.sweep.resources import Capacity, Node, plan_placement
from essnet.sweep.runner import run_sweep
from essnet.sweep.snapshots import Snapshots
from essnet.sweep.storage import Storage
from essnet.sweep.stored_sweep import StoredSweep
from essnet.tracking import RunStore
from essnet.training.checkpoint import open_checkpoint
from tests.sweep.loopback_cluster import loopback_cluster
from tests.sweep.s3_server import BUCKET, s3_server
from tests.sweep.sweeps import TINY_TRIAL, write_sweep

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]

LAUNCH = Path(__file__).resolve().parents[2] / "launch.py"
LONG = {**TINY_TRIAL, "trainer": {**TINY_TRIAL["trainer"], "max_steps": 60}, "evaluation": {"every_steps": 5}}
ARMS = {
    "full": {"objective.name": "full_softmax"},
    "exact": {"objective.name": "embedding_softmax", "objective.embedding_dim": {"choice": [2, 4]}},
}
TRIALS = ("000-full", "001-exact", "002-exact")


@pytest.fixture(scope="module", autouse=True)
def server() -> Iterator[None]:
    with s3_server():
        yield


@pytest.fixture
def address(tmp_path: Path) -> str:
    return f"s3://{BUCKET}/{tmp_path.name}"


def write(folder: Path, address: str, **blocks: Any) -> Path:
    tracking = {"uri": f"sqlite:///{folder / 'tracked.db'}"}
    return write_sweep(folder, **{"base": LONG, "arms": ARMS, "storage": address, "tracking": tracking, **blocks})


def command(folder: Path, output: str, *arguments: str) -> list[str]:
    sweep = [sys.executable, str(LAUNCH), "sweep", str(folder / "sweep.yaml")]
    return [*sweep, "--output", str(folder / output), *arguments]


def trial_snapshots(address: str, trial_id: str) -> Snapshots:
    return Snapshots(Storage(address), f"tiny/trials/{trial_id}")


def last_stored(address: str, trial_id: str) -> str:
    """Return the name of the newest checkpoint of a trial that the storage has; empty where there is none."""
    snapshot = trial_snapshots(address, trial_id).newest()
    return snapshot.links.get("checkpoints/last", "") if snapshot is not None else ""


def process_of(output: Path, trial_id: str, *, temporary: Path) -> int | None:
    """Return the process that runs a trial, found by the folder in which it works."""
    scratch = temporary / f"essnet-{os.getuid()}" / SweepFolder(output / "tiny").state()["sweep_id"] / trial_id
    try:
        return int(json.loads((scratch / "progress.json").read_text())["pid"])
    except OSError:
        return None


def wait_until(condition: Callable[[], object], *, seconds: float = 400.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.2)


def begun_at(log: Path) -> list[int]:
    return [int(step) for step in re.findall(r"step (\d+) of \d+: training begins", log.read_text())]


def assert_each_run_once(uri: str, max_steps: int) -> None:
    client = MlflowClient(uri)
    experiment = client.get_experiment_by_name("essnet")
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id], filter_string="tags.`essnet.kind` = 'trial'")
    assert Counter(run.data.tags["essnet.trial_id"] for run in runs) == dict.fromkeys(TRIALS, 1)
    assert {run.info.status for run in runs} == {"FINISHED"}
    for run in runs:
        steps = [point.step for point in client.get_metric_history(run.info.run_id, "train/loss")]
        assert sorted(steps) == list(range(1, max_steps + 1))


def test_a_worker_and_the_driver_are_killed_and_another_machine_goes_on(tmp_path: Path, address: str) -> None:
    write(tmp_path, address)
    temporary = Path(tempfile.gettempdir())
    with subprocess.Popen(
        command(tmp_path, "first"), cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as driver:
        wait_until(lambda: last_stored(address, "000-full") or driver.poll() is not None)
        assert driver.poll() is None
        worker = process_of(tmp_path / "first", "000-full", temporary=temporary)
        assert worker is not None
        os.kill(worker, signal.SIGKILL)
        wait_until(lambda: process_of(tmp_path / "first", "000-full", temporary=temporary) not in (None, worker))
        wait_until(lambda: last_stored(address, "001-exact"))
        driver.kill()

    # Another machine has no output folder, and this storage.
    refused = subprocess.run(command(tmp_path, "second"), capture_output=True, text=True, check=False, cwd=tmp_path)
    assert refused.returncode == 2
    assert f"{address}: has a sweep tiny; go on with --resume" in refused.stderr
    resumed = subprocess.run(
        command(tmp_path, "second", "--resume", "--json"), capture_output=True, text=True, check=False, cwd=tmp_path
    )
    assert resumed.returncode == 0, resumed.stderr
    trials = json.loads(resumed.stdout.splitlines()[-1])["trials"]
    assert [(trial["trial_id"], trial["state"], trial["steps"]) for trial in trials] == [
        (trial_id, "COMPLETED", 60) for trial_id in TRIALS
    ]
    folder = SweepFolder(tmp_path / "second" / "tiny")
    for trial_id in TRIALS:
        best = open_checkpoint(folder.trial(trial_id) / "checkpoints" / "best")
        best.load()
        assert best.config.name == trial_id
    first, *later = begun_at(folder.trial("000-full") / "log.txt")
    assert first == 0
    assert later
    assert min(later) > 0  # from the checkpoint that was in the storage
    assert_each_run_once(f"sqlite:///{tmp_path / 'tracked.db'}", 60)

    # The first machine is back: it takes what the second one did.
    behind = command(tmp_path, "first", "--resume", "--json")
    again = subprocess.run(behind, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert again.returncode == 0, again.stderr
    assert [trial["metrics"] for trial in json.loads(again.stdout.splitlines()[-1])["trials"]] == [
        trial["metrics"] for trial in trials
    ]
    assert not list((temporary / f"essnet-{os.getuid()}" / folder.state()["sweep_id"]).glob("*/log.txt"))


def test_a_storage_that_does_not_answer_is_refused(tmp_path: Path) -> None:
    write(tmp_path, "s3://nothing/here")
    done = subprocess.run(command(tmp_path, "runs"), capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith("essnet: storage: s3://nothing/here: NO_SUCH_BUCKET")
    assert [path.name for path in tmp_path.iterdir()] == ["sweep.yaml"]


@pytest.fixture
def places() -> Iterator[list[Path]]:
    """Folders for temporary files of two nodes; with short names, as sockets may lie there."""
    made = [Path(tempfile.mkdtemp(prefix=f"node{number}-")) for number in range(2)]
    yield made
    for place in made:
        shutil.rmtree(place, ignore_errors=True)


def test_a_node_is_lost_and_no_folder_is_shared(tmp_path: Path, address: str, places: list[Path]) -> None:
    base = {**LONG, "trainer": {**LONG["trainer"], "max_steps": 30}}
    asked = load_sweep(write(tmp_path, address, base=base, resources={"gpus": 0.0, "cpus": 2.0}))
    uri = f"sqlite:///{tmp_path / 'tracked.db'}"
    output = tmp_path / "runs"
    folder = SweepFolder(output / "tiny")
    store = RunStore(uri, "essnet", artifact_root=tmp_path / "artifacts")
    with loopback_cluster((1, 0)) as cluster:
        *_, lost = [cluster.add_node(num_cpus=2, env_vars={"TMPDIR": str(place)}) for place in places]
        with joined(cluster.address) as nodes:
            found = check_nodes(nodes, output=output, storage=address)
            capacity = Capacity(nodes=tuple(Node(node.cpus, node.gpus) for node in nodes), is_cluster=True)
        for findings in found.values():
            names = {finding.name: finding for finding in findings}
            assert "output" not in names
            assert names["storage"].ok
            assert names["storage"].text == f"{address} can be read and written there"
        cluster_capacity(cluster.address, output=output, tracking_uri="http://127.0.0.1:1", storage=address)
        assert Storage(address).names("") == []
        placement = plan_placement(asked.config.resources, num_trials=3, capacity=capacity)
        assert placement.concurrent == 2
        on_lost: list[str] = []

        def lose_the_node() -> None:
            def stored_there() -> list[str]:
                if not (folder.path / "sweep.json").exists():
                    return []
                there = [name for name in TRIALS if process_of(output, name, temporary=places[1]) is not None]
                return [name for name in there if last_stored(address, name)]

            wait_until(stored_there)
            on_lost.extend(stored_there())
            cluster.remove_node(lost, allow_graceful=False)

        loser = threading.Thread(target=lose_the_node)
        loser.start()
        stored = StoredSweep(address, folder)
        assert not stored.is_there()
        with stored.kept(lambda line: None):
            run_sweep(
                asked, folder, store=store, placement=placement, cache_dir=output / "cache", say=lambda _: None,
                address=cluster.address, stored=stored,
            )  # fmt: skip
        loser.join()

    assert {record.trial_id: record.state for record in folder.records()} == dict.fromkeys(TRIALS, "COMPLETED")
    (trial,) = on_lost
    began = begun_at(folder.trial(trial) / "log.txt")
    assert [step > 0 for step in began] == [False, True]
    for trial_id in TRIALS:
        open_checkpoint(folder.trial(trial_id) / "checkpoints" / "best").load()
    assert yaml.safe_load((folder.trial(trial) / "config.yaml").read_text())["name"] == trial
