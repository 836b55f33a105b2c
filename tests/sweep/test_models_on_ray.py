"""What a real sweep leaves in MLflow beside figures: its models, and the data of its trials."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient
from mlflow.entities import LoggedModel

from tests.sweep.sweeps import write_sweep

pytestmark = [pytest.mark.slow, pytest.mark.timeout(2700)]

LAUNCH = Path(__file__).resolve().parents[2] / "launch.py"
ARMS = {
    "full": {"objective.name": "full_softmax"},
    "exact": {"objective.name": "embedding_softmax", "objective.embedding_dim": 4},
}


def run_sweep(folder: Path, *arguments: str) -> tuple[dict[str, Any], str]:
    done = subprocess.run(
        [sys.executable, str(LAUNCH), "sweep", "sweep.yaml", "--json", *arguments],
        cwd=folder, capture_output=True, text=True, timeout=850, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1]), done.stderr


def models_of(client: MlflowClient, run_id: str) -> dict[str, LoggedModel]:
    outputs = client.get_run(run_id).outputs
    assert outputs is not None
    models = [client.get_logged_model(output.model_id) for output in outputs.model_outputs]
    named = {model.name: model for model in models}
    assert len(named) == len(models)
    return named


def test_models_and_data_of_a_sweep(tmp_path: Path) -> None:
    write_sweep(tmp_path, arms=ARMS)
    result, said = run_sweep(tmp_path)
    client = MlflowClient(f"sqlite:///{tmp_path / 'runs' / 'mlflow.db'}")
    parent = result["parent_run_id"]
    models = models_of(client, parent)
    assert {name: model.tags["essnet.trial_id"] for name, model in models.items()} == {
        "best": result["best"],
        "baseline": result["baseline"],
    }
    assert f"model: models:/{models['best'].model_id}" in said

    for trial in result["trials"]:
        inputs = client.get_run(trial["run_id"]).inputs.dataset_inputs
        contexts = {one.tags[0].value: one.dataset.name for one in inputs}
        assert contexts == {"training": "textures train", "evaluation": "textures val"}

    # Going on with what has ended logs nothing again, and can still register.
    _, said = run_sweep(tmp_path, "--resume", "tracking.register=street")
    assert "changed: base.tracking.register: street now, None before" in said
    assert "model: models:/street/1" in said
    _, said = run_sweep(tmp_path, "--resume", "tracking.register=street")
    assert "model: models:/street/1" in said
    assert {name: model.model_id for name, model in models_of(client, parent).items()} == {
        name: model.model_id for name, model in models.items()
    }
    (version,) = client.search_model_versions("name = 'street'")
    assert version.run_id == parent
    assert version.source == models["best"].artifact_location
