"""The files in `cluster/`: what can be said of them without a cloud, a Kubernetes and a Slurm."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import ray
import yaml
from jsonschema import ValidationError
from ray.autoscaler._private.util import prepare_config, validate_config

from essnet.atomic_files import read_json
from tests.sweep.sweeps import TINY_TRIAL, write_sweep
from tests.tracking.server import Server

ROOT = Path(__file__).resolve().parents[2]
RECIPES = ROOT / "cluster"
SLURM = RECIPES / "slurm.sbatch"


@pytest.mark.parametrize("name", ["aws.yaml", "on_premise.yaml"])
def test_ray_up_takes_the_file(name: str) -> None:
    config = yaml.safe_load((RECIPES / name).read_text())
    prepared = prepare_config(config)
    validate_config(prepared)
    workers = [one for one in prepared["available_node_types"].values() if one["max_workers"]]
    assert [one["min_workers"] for one in workers] == [one["max_workers"] for one in workers]
    with pytest.raises(ValidationError, match="'setup_command' was unexpected"):
        validate_config({**prepared, "setup_command": []})


def test_all_nodes_are_of_the_ray_that_is_installed() -> None:
    assert f"rayproject/ray:{ray.__version__}-py3" in (RECIPES / "Dockerfile").read_text()
    (job,) = [one for one in yaml.safe_load_all((RECIPES / "kuberay.yaml").read_text()) if one["kind"] == "RayJob"]
    assert job["spec"]["rayClusterSpec"]["rayVersion"] == ray.__version__


def test_the_image_has_all_that_is_run() -> None:
    lines = (RECIPES / "Dockerfile").read_text().splitlines()
    copied = [line.split()[1] for line in lines if line.startswith("COPY")]
    assert sorted(copied) == ["essnet", "experiments", "launch.py", "requirements.txt"]
    assert all((ROOT / path).exists() for path in copied)


def test_the_job_and_what_it_needs_have_the_same_names() -> None:
    claim, service, server, job = yaml.safe_load_all((RECIPES / "kuberay.yaml").read_text())
    entrypoint = job["spec"]["entrypoint"]
    address = f"{service['metadata']['name']}:{service['spec']['ports'][0]['port']}"
    assert entrypoint.count(f"tracking.uri=http://{address} ") == 2
    assert service["spec"]["selector"] == server["spec"]["template"]["metadata"]["labels"]
    (container,) = server["spec"]["template"]["spec"]["containers"]
    assert f"--allowed-hosts={address},localhost:5000" in container["command"]
    cluster = job["spec"]["rayClusterSpec"]
    pods = [group["template"]["spec"] for group in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"])]
    for pod in (*pods, server["spec"]["template"]["spec"]):
        shared = {volume["name"]: volume.get("persistentVolumeClaim") for volume in pod["volumes"]}["shared"]
        assert shared == {"claimName": claim["metadata"]["name"]}
        assert {"name": "shared", "mountPath": "/shared"} in pod["containers"][0]["volumeMounts"]
    assert claim["spec"]["accessModes"] == ["ReadWriteMany"]
    assert (ROOT / "experiments/ade20k/sweep.yaml").exists()
    assert "experiments/ade20k/sweep.yaml" in entrypoint


def test_the_slurm_script_is_bash() -> None:
    subprocess.run(["bash", "-n", str(SLURM)], check=True)
    if shutil.which("shellcheck"):
        subprocess.run(["shellcheck", str(SLURM)], check=True)
    options = [line for line in SLURM.read_text().splitlines() if line.startswith("#SBATCH")]
    assert {"#SBATCH --signal=B:TERM@120", "#SBATCH --requeue", "#SBATCH --open-mode=append"} <= set(options)


STUBS = {
    # Runs here what it would run on other nodes.
    "srun": '#!/bin/sh\nwhile [ "${1#--}" != "$1" ]; do shift; done\nexec "$@"\n',
    "scontrol": '#!/bin/sh\necho "$@" >> "$STUB_FOLDER/scontrol.txt"\n',
}


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_slurm_script_ends_the_sweep_in_order_and_goes_on_with_it(tmp_path: Path) -> None:
    trainer = {**TINY_TRIAL["trainer"], "max_steps": 40}
    sweep = write_sweep(
        tmp_path,
        base={**TINY_TRIAL, "trainer": trainer, "evaluation": {"every_steps": 5}},
        arms={"full": {"objective.name": "full_softmax"}, "exact": {"objective.embedding_dim": 4}},
    )
    for name, text in STUBS.items():
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
    server = Server(tmp_path)
    server.start()
    environment = {
        **os.environ,
        "PATH": f"{tmp_path}:{os.environ['PATH']}",
        "STUB_FOLDER": str(tmp_path),
        "ESSNET_BIN": str(Path(sys.executable).parent),
        "SLURM_JOB_ID": str(os.getpid()),
        "SLURM_JOB_NUM_NODES": "2",
        "SLURM_CPUS_PER_TASK": "1",
        "SLURMD_NODENAME": "here",
    }
    command = ["bash", str(SLURM), str(sweep), f"tracking.uri={server.uri}", "--output", str(tmp_path / "runs")]
    log = tmp_path / "slurm.log"

    def start() -> subprocess.Popen[bytes]:
        with log.open("ab") as output:
            return subprocess.Popen(
                command, cwd=ROOT, env=environment, stdout=output, stderr=output, start_new_session=True
            )

    try:
        job = start()
        wait_for_checkpoint(tmp_path, job, log)
        os.kill(job.pid, signal.SIGTERM)  # to the script alone, as B: in --signal says
        assert job.wait(timeout=120) == 130, log.read_text()
        assert (tmp_path / "scontrol.txt").read_text() == f"requeue {os.getpid()}\n"
        assert "interrupted; go on with --resume" in log.read_text()

        again = start()
        assert again.wait(timeout=300) == 0, log.read_text()
    finally:
        server.stop()
        shutil.rmtree(f"/tmp/ray-{os.getpid()}", ignore_errors=True)
    records = [read_json(path) for path in tmp_path.glob("runs/tiny/trials/*/trial.json")]
    assert [record["state"] for record in records] == ["COMPLETED"] * 2
    assert (tmp_path / "scontrol.txt").read_text().count("requeue") == 1


def wait_for_checkpoint(folder: Path, job: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 300
    while not list(folder.glob("runs/tiny/trials/*/checkpoints/last")):
        assert job.poll() is None, log.read_text()
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.2)
