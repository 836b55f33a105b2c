"""A real cluster of two nodes on loopback, kept for all tests here."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import ray
from mlflow import MlflowClient
from ray.cluster_utils import Cluster
from ray.core.generated.autoscaler_pb2 import ClusterConfig

from essnet.config import InputError, extensions
from essnet.config.extension_names import DATA_SETS
from essnet.sweep.autoscaler import node_types
from essnet.sweep.cluster import alive_nodes, joined
from essnet.sweep.cluster_capacity import cluster_capacity
from essnet.sweep.folder import SweepFolder
from essnet.sweep.node_check import _ask, check_nodes
from essnet.sweep.parent_run import end_runs
from essnet.sweep.resources import Capacity, Node, NodeType, plan_placement
from essnet.sweep.runner import run_sweep
from essnet.tracking import RunStore, default_uri
from tests.sweep.loopback_cluster import loopback_cluster
from tests.sweep.sweeps import TINY_TRIAL, tiny_sweep, write_sweep

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]

LAUNCH = Path(__file__).resolve().parents[2] / "launch.py"
SIZES = [(1, 0), (2, 1)]
"""Cores and GPUs of each node; the GPU is only counted."""


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with loopback_cluster(*SIZES) as running:
        yield running


def test_the_nodes(cluster: Cluster) -> None:
    for _ in range(2):  # it runs on when it was left
        with joined(cluster.address) as nodes:
            assert sorted((node.cpus, node.gpus) for node in nodes) == SIZES


def test_what_rays_state_says_of_an_autoscaler(cluster: Cluster) -> None:
    group = {"name": "big", "resources": {"CPU": 64, "GPU": 8}, "max_count": 3}
    endless = {"name": "small", "resources": {"CPU": 4}, "max_count": -1}
    client = ray._raylet.GcsClient(address=cluster.address)
    client.report_cluster_config(ClusterConfig(node_group_configs=[group, endless]).SerializeToString())
    try:
        with joined(cluster.address):
            found = node_types()
    finally:
        client.report_cluster_config(ClusterConfig().SerializeToString())
    assert found == (
        NodeType("big", cpus=64, gpus=8, most=3),
        NodeType("small", cpus=4, gpus=0, most=None),
    )


def test_workers_run_the_code_that_the_driver_runs(
    cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def where() -> tuple[str, str, list[str]]:
        import essnet

        extensions.allow(["mine_r:build"], folder=Path("/not/there"))
        return essnet.__file__, extensions.load("mine_r:build", group=DATA_SETS, key="data.name")(), sys.path

    (tmp_path / "mine_r.py").write_text("def build():\n    return __file__\n")
    monkeypatch.setattr(sys, "path", list(sys.path))
    extensions.allow(["mine_r:build"], folder=tmp_path)
    extensions.load("mine_r:build", group=DATA_SETS, key="data.name")

    # As inside `ray job submit --working-dir .`
    monkeypatch.setenv("RAY_JOB_CONFIG_JSON_ENV_VAR", json.dumps({"runtime_env": {"working_dir": str(LAUNCH.parent)}}))
    with joined(cluster.address):
        file, mine, path = ray.get(ray.remote(num_cpus=0)(where).remote())
    assert "/runtime_resources/working_dir_files/" in file
    assert Path(mine).parent == Path(file).parent.parent
    assert str(LAUNCH.parent) not in path  # where another node may have another checkout


def without_auth_mode() -> dict[str, str]:
    """Return the environment of a terminal: unlike there, this process started the cluster, and said so."""
    return {key: value for key, value in os.environ.items() if key != "RAY_AUTH_MODE"}


def test_another_token(cluster: Cluster, tmp_path: Path) -> None:
    command = [sys.executable, str(LAUNCH), "cluster", "check", "--address", cluster.address]
    environment = {**without_auth_mode(), "RAY_AUTH_TOKEN": "0" * 64}
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path, env=environment)
    assert done.returncode == 2
    assert f"--address: {cluster.address} asks for another token; copy" in done.stderr.splitlines()[-1]
    assert list(tmp_path.iterdir()) == []


def test_each_node_is_asked_itself(cluster: Cluster) -> None:
    def where(*, node_id: str) -> str:
        return str(ray.get_runtime_context().get_node_id())

    with joined(cluster.address) as nodes:
        answers = _ask(nodes, where, {}, seconds=60)
    assert answers == {node.node_id: node.node_id for node in nodes}


def test_every_node_is_looked_at(cluster: Cluster, tmp_path: Path) -> None:
    silent_uri = f"http://127.0.0.1:{free_port()}"
    paths = [str(LAUNCH), str(tmp_path / "none")]
    with joined(cluster.address) as nodes:
        found = check_nodes(nodes, output=tmp_path / "runs", paths=paths, tracking_uri=silent_uri)
    assert list(tmp_path.iterdir()) == []
    for node in nodes:
        findings = {finding.name: finding for finding in found[node.node_id]}
        assert list(findings) == ["versions", "output", "data", "tracking", "disk", "memory", "gpus"]
        assert findings["versions"].ok
        assert findings["output"].ok
        assert findings["data"].text.startswith(f"{tmp_path / 'none'}: No such file or directory")
        assert findings["tracking"].text.startswith("the tracking server does not answer there")
        assert findings["gpus"].ok == (node.gpus == 0)  # torch sees none of those that are only counted


def test_a_folder_that_is_another_one_elsewhere(
    cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    output = Path("/proc/self/cwd/runs")  # the same path for all processes, and another folder for each
    with pytest.raises(InputError, match=r"^--output: [0-9.]+: /proc/self/cwd/runs is another folder there, or none"):
        cluster_capacity(cluster.address, output=output, tracking_uri="http://127.0.0.1:5000")
    assert list(tmp_path.iterdir()) == []


def test_a_node_that_does_not_answer(cluster: Cluster, tmp_path: Path) -> None:
    extra = cluster.add_node(num_cpus=1)
    (raylet,) = extra.all_processes["raylet"]
    try:
        with joined(cluster.address) as nodes:
            os.kill(raylet.process.pid, signal.SIGSTOP)
            silent = [node for node in nodes if node.node_id == extra.node_id]
            (finding,) = check_nodes(silent, output=tmp_path, seconds=3)[extra.node_id]
            os.kill(raylet.process.pid, signal.SIGCONT)
    finally:
        cluster.remove_node(extra, allow_graceful=False)
    assert finding.name == "node"
    assert finding.text.startswith("no answer within 3 s")
    with joined(cluster.address):  # for the tests that follow
        wait_until(lambda: len(alive_nodes()) == len(SIZES), seconds=120)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def answers(uri: str) -> bool:
    try:
        with urllib.request.urlopen(f"{uri}/health", timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def test_a_store_that_is_a_file_is_refused_with_a_command_that_works(cluster: Cluster, tmp_path: Path) -> None:
    output = tmp_path / "runs"
    with pytest.raises(InputError, match=r"^tracking\.uri: sqlite:///.* is a file") as refused:
        cluster_capacity(cluster.address, output=output, tracking_uri=None)
    told = re.search("`(.*)`, and give tracking.uri=(.*)$", str(refused.value))
    assert told is not None
    port = str(free_port())
    command, uri = (text.replace("5000", port) for text in told.groups())
    output.mkdir()
    server = subprocess.Popen(
        shlex.split(command),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"},  # half the time to start
        start_new_session=True,
    )
    try:
        wait_until(lambda: answers(uri), seconds=300)
        capacity = cluster_capacity(cluster.address, output=output, tracking_uri=uri)
        with joined(cluster.address) as nodes:
            found = check_nodes(nodes, output=output, tracking_uri=uri)
    finally:
        os.killpg(server.pid, signal.SIGKILL)
        server.wait()
    assert capacity.is_cluster
    assert sorted((node.cpus, node.gpus) for node in capacity.nodes) == SIZES
    told_of_it = [finding for of_node in found.values() for finding in of_node if finding.name == "tracking"]
    assert [finding.text for finding in told_of_it] == ["the tracking server answers"] * 2
    assert {path.name for path in output.iterdir()} <= {"mlflow.db", "mlartifacts"}


def test_the_command(cluster: Cluster, tmp_path: Path) -> None:
    command = [sys.executable, str(LAUNCH), "cluster", "check", str(write_sweep(tmp_path)), "--json",
               "--address", cluster.address, "--output", str(tmp_path / "runs")]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path, env=without_auth_mode())
    result = json.loads(done.stdout.splitlines()[-1])  # Ray may have said something before
    findings = [result["all"]["tracking"], *(one for node in result["nodes"] for one in node["findings"].values())]
    assert [(line[:4], line.split(maxsplit=3)[3]) for line in done.stderr.splitlines()] == [
        ("ok  " if finding["ok"] else "DO  ", finding["text"]) for finding in findings
    ]
    assert [node["findings"]["gpus"]["ok"] for node in result["nodes"]].count(False) == 1
    assert "start a server on this machine with" in result["all"]["tracking"]["text"]
    assert (done.returncode, result["ok"]) == (1, False)
    assert [path.name for path in tmp_path.iterdir()] == ["sweep.yaml"]


LONG = {**TINY_TRIAL, "trainer": {**TINY_TRIAL["trainer"], "max_steps": 30}, "evaluation": {"every_steps": 5}}


def test_a_node_is_lost_while_its_trial_runs(cluster: Cluster, tmp_path: Path) -> None:
    asked = tiny_sweep(
        tmp_path,
        base=LONG,
        arms={
            "full": {"objective.name": "full_softmax"},
            "exact": {"objective.name": "embedding_softmax", "objective.embedding_dim": {"choice": [2, 4]}},
        },
        resources={"gpus": 0.0, "cpus": 2.0},  # one trial a node, none on the head
    )
    lost = cluster.add_node(num_cpus=2)
    (raylet,) = lost.all_processes["raylet"]
    with joined(cluster.address) as nodes:
        capacity = Capacity(nodes=tuple(Node(node.cpus, node.gpus) for node in nodes), is_cluster=True)
    placement = plan_placement(asked.config.resources, num_trials=3, capacity=capacity)
    assert placement.concurrent == 2
    output = tmp_path / "runs"
    folder = SweepFolder(output / "tiny")
    store = RunStore(default_uri(output), "essnet", artifact_root=output / "mlartifacts")
    retried: list[str] = []

    def lose_the_node() -> None:
        wait_until(lambda: trials_below(raylet.process.pid, folder), seconds=180)
        retried.extend(trials_below(raylet.process.pid, folder))
        cluster.remove_node(lost, allow_graceful=False)

    loser = threading.Thread(target=lose_the_node)
    loser.start()
    run_sweep(
        asked,
        folder,
        store=store,
        placement=placement,
        cache_dir=output / "cache",
        say=lambda _: None,
        address=cluster.address,
    )
    loser.join()
    assert end_runs(folder, done=True)

    assert {record.trial_id: record.state for record in folder.records()} == dict.fromkeys(
        ("000-full", "001-exact", "002-exact"), "COMPLETED"
    )
    (trial,) = retried
    began = re.findall(r"step (\d+) of 30: training begins", (folder.trial(trial) / "log.txt").read_text())
    assert [int(step) > 0 for step in began] == [False, True]
    client = MlflowClient(store.uri)
    runs = client.search_runs([store.experiment_id], filter_string="tags.`essnet.kind` = 'trial'")
    assert Counter(run.data.tags["essnet.trial_id"] for run in runs) == dict.fromkeys(
        ("000-full", "001-exact", "002-exact"), 1
    )
    assert {run.info.status for run in runs} == {"FINISHED"}
    for run in runs:
        steps = [point.step for point in client.get_metric_history(run.info.run_id, "train/loss")]
        assert sorted(steps) == list(range(1, 31))


def trials_below(raylet: int, folder: SweepFolder) -> list[str]:
    """Return the trials with a checkpoint whose process a node's raylet started."""
    found = []
    for link in folder.path.glob("trials/*/checkpoints/last"):
        trial = link.parent.parent
        pid = json.loads((trial / "progress.json").read_text())["pid"]
        if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1] == str(raylet):
            found.append(trial.name)
    return found


def wait_until(condition: Callable[[], object], *, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.2)
