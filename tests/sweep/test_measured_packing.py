from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import ray
from ray.util import placement_group, remove_placement_group

from essnet.config import InputError, ResourcesConfig, Sweep
from essnet.sweep import measured_packing
from essnet.sweep.folder import SweepFolder
from essnet.sweep.measured_packing import measure_packing
from essnet.sweep.measurement import Device, Measurement
from essnet.sweep.packing import Packing
from essnet.sweep.resources import Capacity, Node, Placement, plan_placement
from tests.sweep.sweeps import tiny_sweep

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]

NODE = Node(cpus=2, gpus=2)
"""Ray takes our word for the GPUs: nothing here opens one."""


@pytest.fixture(scope="module", autouse=True)
def _ray() -> Iterator[None]:
    ray.init(
        address="local",
        num_cpus=NODE.cpus,
        num_gpus=NODE.gpus,
        include_dashboard=False,
        log_to_driver=False,
        logging_level=logging.ERROR,
    )
    yield
    ray.shutdown()


def placement_with(gpus: float) -> Placement:
    config = ResourcesConfig(packing="measured", gpus=gpus)
    return plan_placement(config, num_trials=9, capacity=Capacity(nodes=(NODE,)))


def measured(sweep: Sweep, folder: Path, *, gpus: float = 0.0, calls: list[tuple[int, int]] | None = None) -> Packing:
    return measure_packing(
        sweep,
        placement_with(gpus),
        folder=SweepFolder(folder / "sweep"),
        cache_dir=folder / "cache",
        progress=None if calls is None else lambda number, total: calls.append((number, total)),
    )


def test_real_trials_on_a_cpu(tmp_path: Path) -> None:
    arms = {
        "full": {"objective.name": "full_softmax", "optimizer.lr": {"choice": [0.001, 0.004]}},
        "broken": {"model.encoder": "resnet1"},
    }
    sweep = tiny_sweep(tmp_path, arms=arms, resources={"packing": "measured", "memory_margin": 0.5})
    calls: list[tuple[int, int]] = []
    packing = measured(sweep, tmp_path, calls=calls)
    assert calls == [(1, 2), (2, 2)]
    assert packing.margin == 0.5

    full, broken = (sweep.trial_config({**arm.fixed, **arm.first_point()}) for arm in sweep.arms)
    share = packing.share(full, arm="full")
    assert (share.cpus, share.gpus, share.threads) == (1.0, 0.0, 1)
    assert 0.05 < share.params["placement.measured_busy_cores"] < NODE.cpus + 0.5
    failed = packing.share(broken, arm="broken")
    assert (failed.cpus, failed.threads) == (2.0, 2)
    assert "model.encoder" in failed.params["placement.not_measured"]

    # What the whole trial takes, in a process without Ray.
    code = (
        "import sys, yaml; from pathlib import Path\n"
        "from essnet.config import TrialConfig; from essnet.training.trainer import Trainer\n"
        "import torch; from essnet.training.memory import PeakMemory\n"
        "config = TrialConfig.model_validate(yaml.safe_load(sys.stdin.read()))\n"
        "peak = PeakMemory(torch.device('cpu'))\n"
        "Trainer(config, directory=Path(sys.argv[1])).train()\n"
        "print(peak.mib())"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "whole")],
        input=json.dumps(full.model_dump()),
        capture_output=True,
        text=True,
        check=True,
    )
    ratio = share.params["placement.measured_memory_mib"] / float(done.stdout)
    assert 0.75 < ratio < 1.5

    # Resumed: what is known stays, what failed is tried again.
    calls.clear()
    again = measured(sweep, tmp_path, calls=calls)
    assert calls == [(1, 1)]
    assert again.share(full, arm="full") == share


def on_fakes(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """Let workers note what Ray gave them, and answer at once."""
    notes = str(folder / "notes.txt")

    def look(*, gpu: bool) -> Device:
        return Device("a GPU" if gpu else "a machine", host_memory_mib=64_000, gpu_memory_mib=24_000 * gpu)

    def measure(*, trial: dict[str, Any], cache_dir: str, code: Sequence[str], code_folder: str) -> Measurement:
        ids = ray.get_runtime_context().get_accelerator_ids()["GPU"]
        cores = ray.get_runtime_context().get_assigned_resources()["CPU"]
        line = {"gpus": len(ids), "cores": cores, "pid": os.getpid(), "device": trial["trainer"]["device"]}
        with open(notes, "a") as file:
            file.write(json.dumps({**line, "waits": os.environ["OMP_WAIT_POLICY"]}) + "\n")
        dim = trial["objective"]["embedding_dim"]
        if dim == 3:
            os._exit(1)
        if dim == 4:
            time.sleep(100)
        return Measurement(gpu_memory_mib=1_000 * dim, host_memory_mib=1_000, busy_cores=1.0)

    monkeypatch.setattr(measured_packing, "look_at_device", look)
    monkeypatch.setattr(measured_packing, "measure_trial", measure)


def notes_in(folder: Path) -> list[dict[str, Any]]:
    path = folder / "notes.txt"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def sweep_over(folder: Path, *dims: int, **blocks: Any) -> Sweep:
    return tiny_sweep(
        folder,
        arms={
            "full": {"objective.name": "full_softmax"},
            "exact": {"objective.embedding_dim": {"choice": list(dims)}, "seed": {"choice": [1, 2]}},
        },
        resources={"packing": "measured"},
        **blocks,
    )


def test_each_class_is_alone_on_a_device(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    on_fakes(monkeypatch, tmp_path)
    sweep = sweep_over(tmp_path, 5, 10)
    packing = measured(sweep, tmp_path, gpus=1.0)
    notes = notes_in(tmp_path)
    assert len(notes) == len({note["pid"] for note in notes}) == 3
    assert {(note["gpus"], note["cores"], note["device"]) for note in notes} == {(1, 2.0, "auto")}
    assert {note["waits"] for note in notes} == {"PASSIVE"}
    exact = sweep.arms[1]
    shares = [packing.share(sweep.trial_config({**exact.fixed, **p}), arm="exact") for p in exact.probe_points()]
    # 5 GB and a fifth of it go four times into 24 GB, but there is a core per GPU.
    assert {share.gpus for share in shares} == {1.0}
    assert {share.params["placement.measured_memory_mib"] for share in shares} == {5_000, 10_000}
    assert packing.concurrent == 2


def test_on_a_cpu_no_gpu_is_taken(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    on_fakes(monkeypatch, tmp_path)
    measured(sweep_over(tmp_path, 5), tmp_path, gpus=0.0)
    notes = notes_in(tmp_path)
    assert {(note["gpus"], note["cores"], note["device"]) for note in notes} == {(0, 2.0, "cpu")}
    assert len(notes) == len({note["pid"] for note in notes}) == 2  # a fresh process each


def test_ranges_are_measured_at_their_ends(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    on_fakes(monkeypatch, tmp_path)
    arms = {"full": {"objective.name": "full_softmax"}, "exact": {"objective.embedding_dim": {"int": [6, 20]}}}
    sweep = tiny_sweep(tmp_path, arms=arms, search={"algorithm": "random", "num_trials": 4})
    packing = measured(sweep, tmp_path)
    assert len(notes_in(tmp_path)) == 4  # the full softmax; 6, 7 and 20
    assert set(packing.arms) == {"full", "exact"}


def test_a_worker_that_dies_is_no_end(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    on_fakes(monkeypatch, tmp_path)
    sweep = sweep_over(tmp_path, 3, 5)
    packing = measured(sweep, tmp_path, gpus=1.0)
    died = packing.share(sweep.trial_config({"objective.embedding_dim": 3}), arm="exact")
    assert died.params["placement.not_measured"] == "the worker process died"
    whole = packing.share(sweep.trial_config({"objective.embedding_dim": 5}), arm="exact")
    assert whole.params["placement.measured_memory_mib"] == 5_000


def test_interrupted_and_resumed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    on_fakes(monkeypatch, tmp_path)

    def interrupt() -> None:
        while len(notes_in(tmp_path)) < 3:  # the one that sleeps
            time.sleep(0.1)
        os.kill(os.getpid(), signal.SIGINT)

    watching = threading.Thread(target=interrupt)
    watching.start()
    with pytest.raises(KeyboardInterrupt):
        measured(sweep_over(tmp_path, 5, 4, 6), tmp_path)
    watching.join()
    assert len(json.loads((tmp_path / "sweep" / "measured.json").read_text())) == 2
    sleeping = notes_in(tmp_path)[-1]["pid"]
    deadline = time.monotonic() + 120
    while Path(f"/proc/{sleeping}").exists():
        assert time.monotonic() < deadline, "the worker goes on"
        time.sleep(0.1)

    calls: list[tuple[int, int]] = []
    measured(sweep_over(tmp_path, 5, 6), tmp_path, calls=calls)
    assert calls == [(1, 1)]


def test_a_damaged_file_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    on_fakes(monkeypatch, tmp_path)
    path = tmp_path / "sweep" / "measured.json"
    path.parent.mkdir()
    for text in ("[]", '{"a": 1}', '{"a": {"b": 1}}', "{"):
        path.write_text(text)
        with pytest.raises(InputError, match=r"measured\.json: damaged"):
            measured(sweep_over(tmp_path, 5), tmp_path)


@pytest.mark.parametrize(
    ("cpus", "gpus"), [(0.01, 0.3), (0.01, 0.4), (0.01, 0.3333), (0.01, 0.1428), (0.01, 1.0), (0.01, 2.0), (0.57, 0.0)]
)
def test_ray_counts_as_we_do(cpus: float, gpus: float) -> None:
    bundle = {name: amount for name, amount in (("CPU", cpus), ("GPU", gpus)) if amount}
    groups = [placement_group([bundle])]
    try:
        # One after the other: of several at once Ray does not place the first first.
        while groups[-1].wait(30 if len(groups) <= NODE.holds(cpus=cpus, gpus=gpus) else 1):
            groups.append(placement_group([bundle]))
        assert len(groups) - 1 == NODE.holds(cpus=cpus, gpus=gpus)
    finally:
        for group in groups:
            remove_placement_group(group)
