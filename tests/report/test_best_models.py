"""Which models a sweep leaves, from its folder to the store."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from mlflow.entities import LoggedModel

from essnet.config.loop import TrackingConfig
from essnet.report import load_comparison
from essnet.report.best_models import log_sweep_models
from essnet.sweep.folder import SweepFolder
from essnet.tracking import RunStore, default_uri
from essnet.training.trainer import Trainer
from tests.report.sweep_folders import add_trial, make_sweep_folder
from tests.training.tiny import tiny_trial


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> RunStore:
    folder = tmp_path_factory.mktemp("runs")
    return RunStore(default_uri(folder), "essnet", artifact_root=folder / "mlartifacts")


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("trained")
    Trainer(tiny_trial({"trainer.max_steps": 2}), directory=folder).train()
    return folder


@pytest.fixture
def folder(tmp_path: Path, store: RunStore, run_folder: Path) -> SweepFolder:
    """A sweep whose trial 2 is the best of the other arms."""
    folder = make_sweep_folder(tmp_path / "tiny")
    for index, arm, miou in ((0, "full", 0.7), (1, "knn", 0.5), (2, "exact", 0.6)):
        add_trial(folder, index, arm, {2: {"val/miou": miou}})
        checkpoints = folder.trial(f"{index:03d}-{arm}") / "checkpoints"
        shutil.copytree(run_folder / "checkpoints", checkpoints, symlinks=True)
    folder.note(parent_run_id=store.client.create_run(store.experiment_id).info.run_id)
    return folder


def log(folder: SweepFolder, store: RunStore, tracking: TrackingConfig) -> str | None:
    return log_sweep_models(load_comparison(folder), folder, store=store, tracking=tracking)


def models_of(folder: SweepFolder, store: RunStore) -> dict[str, LoggedModel]:
    outputs = store.client.get_run(folder.state()["parent_run_id"]).outputs
    models = [store.client.get_logged_model(one.model_id) for one in (outputs.model_outputs if outputs else ())]
    named = {model.name: model for model in models}
    assert len(named) == len(models)
    return named


def test_the_best_and_the_baseline_are_logged_once(folder: SweepFolder, store: RunStore) -> None:
    address = log(folder, store, TrackingConfig())
    assert log(folder, store, TrackingConfig()) == address
    models = models_of(folder, store)
    assert {name: model.tags["essnet.trial_id"] for name, model in models.items()} == {
        "best": "002-exact",
        "baseline": "000-full",
    }
    assert address == f"models:/{models['best'].model_id}"
    assert models["best"].tags["essnet.arm"] == "exact"
    assert models["best"].params["val/miou"] == "0.6"


def test_the_best_alone_is_registered(folder: SweepFolder, store: RunStore) -> None:
    assert log(folder, store, TrackingConfig(register="street")) == "models:/street/1"
    (version,) = store.client.search_model_versions("name = 'street'")
    assert version.source == models_of(folder, store)["best"].artifact_location
    assert version.tags["essnet.trial_id"] == "002-exact"


def test_no_model_is_wanted(folder: SweepFolder, store: RunStore) -> None:
    assert log(folder, store, TrackingConfig(log_model="none")) is None
    assert models_of(folder, store) == {}


def test_a_checkpoint_that_is_gone_is_only_warned_of(
    folder: SweepFolder, store: RunStore, caplog: pytest.LogCaptureFixture
) -> None:
    shutil.rmtree(folder.trial("002-exact") / "checkpoints")
    assert log(folder, store, TrackingConfig()) is None
    assert models_of(folder, store).keys() == {"baseline"}
    assert "did not take the model best" in caplog.text
    assert "no such checkpoint" in caplog.text
