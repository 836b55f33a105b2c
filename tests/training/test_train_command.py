"""`launch.py train` as people meet it: interrupted, resumed, failing."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from mlflow.entities import Run
from torch import Tensor

from essnet.cli.app import main
from essnet.models import FullSoftmaxOutput
from essnet.tracking import RunStore, default_uri
from essnet.training.checkpoint import open_checkpoint
from tests.training.tiny import tiny_mapping

ROOT = Path(__file__).resolve().parents[2]

pytestmark = pytest.mark.slow


def write_trial(folder: Path, overrides: Mapping[str, Any]) -> Path:
    path = folder / "tiny.yaml"
    path.write_text(yaml.safe_dump(tiny_mapping(overrides)))
    return path


def launch(config: Path, output: Path, *more: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, str(ROOT / "launch.py"), "train", str(config), "--output", str(output), "--json", *more],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        cwd=output.parent,
    )


@pytest.fixture(scope="module")
def output(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One folder for all: making a store takes seconds."""
    return tmp_path_factory.mktemp("commands") / "runs"


def tracked(output: Path, name: str) -> tuple[RunStore, list[Run]]:
    store = RunStore(default_uri(output), "essnet", artifact_root=output / "mlartifacts")
    runs = store.client.search_runs([store.experiment_id], filter_string=f"attributes.run_name = '{name}'")
    return store, list(runs)


def steps_of(store: RunStore, run: Run, key: str) -> list[int]:
    return sorted(point.step for point in store.client.get_metric_history(run.info.run_id, key))


def test_interrupted_and_resumed(tmp_path: Path, output: Path) -> None:
    max_steps = 140
    config = write_trial(
        tmp_path, {"trainer.max_steps": max_steps, "evaluation.every_steps": 20, "trainer.log_every_steps": 10}
    )
    process = launch(config, output)
    last = output / "train" / "tiny" / "checkpoints" / "last"
    deadline = time.monotonic() + 90
    while not last.exists():
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert "interrupted at step" in err
    assert "Traceback" not in err
    first = json.loads(out.splitlines()[-1])
    step = open_checkpoint(last).trainer_state()["step"]
    assert 20 <= step < max_steps
    assert first["last_checkpoint"].endswith(f"step-{step:06d}")
    store, runs = tracked(output, "tiny")
    assert [(run.info.run_id, run.info.status) for run in runs] == [(first["run_id"], "KILLED")]
    assert steps_of(store, runs[0], "train/loss") == list(range(10, step + 1, 10))

    process = launch(config, output, "--resume")
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    result = json.loads(out.splitlines()[-1])
    assert {"run_id", "directory", "best_checkpoint", "last_checkpoint", "metrics"} <= result.keys()
    assert result["run_id"] == first["run_id"]
    assert Path(result["directory"]) == output / "train" / "tiny"
    assert Path(result["last_checkpoint"]).name == f"step-{max_steps:06d}"
    assert Path(result["best_checkpoint"]).is_dir()
    assert 0 <= result["metrics"]["val/miou"] <= 1
    assert "perf/step_ms" in result["metrics"]
    _, runs = tracked(output, "tiny")
    assert [(run.info.run_id, run.info.status) for run in runs] == [(first["run_id"], "FINISHED")]
    assert steps_of(store, runs[0], "train/loss") == list(range(10, max_steps + 1, 10))
    assert steps_of(store, runs[0], "val/miou") == list(range(20, max_steps + 1, 20))
    assert runs[0].data.params["trainer.max_steps"] == str(max_steps)
    assert runs[0].data.tags["essnet.kind"] == "train"
    assert [path.path for path in store.client.list_artifacts(runs[0].info.run_id)] == [
        "config.yaml",
        "first_batch.png",
    ]


def test_fast_dev_run(tmp_path: Path, output: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = write_trial(tmp_path, {"trainer.max_steps": 1000})
    with pytest.raises(SystemExit) as exit_:
        main(["train", str(config), "--output", str(output), "--fast-dev-run", "--json"])
    assert exit_.value.code == 0
    result = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert Path(result["last_checkpoint"]).name == "step-000002"
    _, runs = tracked(output, "tiny-fast-dev-run")
    assert [run.info.status for run in runs] == ["FINISHED"]


def test_a_loss_that_is_no_number_fails_in_one_line(
    tmp_path: Path, output: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(self: FullSoftmaxOutput, outputs: Tensor, targets: Tensor) -> Tensor:
        return outputs.sum() * math.nan

    monkeypatch.setattr(FullSoftmaxOutput, "loss", broken)
    config = write_trial(tmp_path, {"name": "broken"})
    with pytest.raises(SystemExit) as exit_:
        main(["train", str(config), "--output", str(output)])
    assert exit_.value.code == 1
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1
    assert "step 1: the loss is nan" in lines[0]
    _, runs = tracked(output, "broken")
    assert [run.info.status for run in runs] == ["FAILED"]
    assert not (output / "train" / "broken" / "checkpoints").exists()
