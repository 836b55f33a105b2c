"""Models in MLflow's format: logged once, registered, loaded and served elsewhere to the ids of `predict`."""

from __future__ import annotations

import base64
import io
import json
import logging
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import packages_distributions, requires
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import url2pathname

import numpy as np
import pytest
import torch
from mlflow.entities import LoggedModelStatus
from PIL import Image

from essnet.config.loop import TrackingConfig
from essnet.report.best_models import log_best_model
from essnet.tracking import RunStore
from essnet.tracking.logged_model import pip_requirements
from essnet.training.checkpoint import open_checkpoint
from essnet.training.prediction import predict_image
from essnet.training.result import TrainResult
from essnet.training.trainer import Trainer
from essnet.training.trial import load_model
from tests.tracking.conftest import Place
from tests.training.tiny import NUM_CLASSES, tiny_trial

BEST = TrackingConfig()
PIXELS = np.random.default_rng(0).integers(0, 256, (2, 29, 43, 3), dtype=np.uint8)


def train(folder: Path, **overrides: Any) -> TrainResult:
    trial = tiny_trial({"objective.name": "knn_softmax", "trainer.max_steps": 2, "name": "tiny", **overrides})
    return Trainer(trial, directory=folder).train()


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> TrainResult:
    return train(tmp_path_factory.mktemp("trained"))


@pytest.fixture(scope="session")
def expected(trained: TrainResult) -> np.ndarray[Any, np.dtype[np.uint16]]:
    """What `launch.py predict` computes."""
    model = load_model(open_checkpoint(checkpoint(trained)), device=torch.device("cpu"))
    return np.stack([predict_image(model, pixels) for pixels in PIXELS])


def checkpoint(result: TrainResult) -> Path:
    assert result.best_checkpoint is not None
    return result.best_checkpoint


def start(store: RunStore) -> str:
    return str(store.client.create_run(store.experiment_id).info.run_id)


def log(store: RunStore, run_id: str, result: TrainResult, tracking: TrackingConfig = BEST) -> str | None:
    return log_best_model(store, run_id, checkpoint(result), tracking=tracking, metrics=result.metrics)


def models_of(store: RunStore, run_id: str) -> list[str]:
    outputs = store.client.get_run(run_id).outputs
    return [] if outputs is None else [output.model_id for output in outputs.model_outputs]


def test_a_model_is_logged_once(store: RunStore, trained: TrainResult) -> None:
    run_id = start(store)
    address = log(store, run_id, trained)
    assert log(store, run_id, trained) == address
    (model_id,) = models_of(store, run_id)
    assert address == f"models:/{model_id}"
    logged = store.client.get_logged_model(model_id)
    assert (logged.name, logged.status, logged.source_run_id) == ("best", LoggedModelStatus.READY, run_id)
    assert logged.params["objective.name"] == "knn_softmax"
    assert float(logged.params["val/miou"]) == trained.metrics["val/miou"]
    assert len(store.client.search_logged_models([store.experiment_id])) == 1


def files_below(store: RunStore, model_id: str, folder: str | None = None) -> Iterator[str]:
    for entry in store.client.list_logged_model_artifacts(model_id, folder):
        if entry.is_dir:
            yield from files_below(store, model_id, entry.path)
        else:
            yield entry.path


def test_what_a_model_consists_of(store: RunStore, trained: TrainResult) -> None:
    run_id = start(store)
    log(store, run_id, trained)
    (model_id,) = models_of(store, run_id)
    files = set(files_below(store, model_id))
    assert {"MLmodel", "requirements.txt", "input_example.json", "code/essnet/__init__.py"} <= files
    assert {path for path in files if path.startswith("data/")} == {
        "data/model/model.safetensors",
        "data/model/config.yaml",
        "data/model/classes.json",
        "data/model/checksums.json",
    }
    assert not [path for path in files if "__pycache__" in path or path.endswith((".pkl", ".pt", ".pyc"))]


def test_what_a_model_says_of_itself(database: Place, experiment: str, trained: TrainResult) -> None:
    store = database.store(experiment)
    run_id = start(store)
    address = log(store, run_id, trained)
    (model_id,) = models_of(store, run_id)
    from mlflow.models import Model  # not before the model is logged: MLflow warns of itself

    location = store.client.get_logged_model(model_id).artifact_location
    info = Model.load(url2pathname(urlsplit(location).path))
    assert address == f"models:/{info.model_id}"
    assert info.run_id == run_id
    assert info.metadata is not None
    assert info.metadata["classes"] == [f"texture {index}" for index in range(NUM_CLASSES)]
    assert [spec.name for spec in info.signature.inputs] == ["image"]
    assert info.signature.outputs.to_dict() == [
        {"type": "tensor", "tensor-spec": {"dtype": "uint16", "shape": (-1, -1, -1)}}
    ]


def test_another_best_is_another_model(store: RunStore, trained: TrainResult, tmp_path: Path) -> None:
    run_id = start(store)
    name = f"street {run_id}"
    registered = TrackingConfig(register=name)
    assert log(store, run_id, trained, registered) == f"models:/{name}/1"
    assert log(store, run_id, trained, registered) == f"models:/{name}/1"
    other = train(tmp_path, seed=7)
    assert log(store, run_id, other, registered) == f"models:/{name}/2"
    assert len(models_of(store, run_id)) == 2
    versions = store.client.search_model_versions(f"name = '{name}'")
    locations = [store.client.get_logged_model(model_id).artifact_location for model_id in models_of(store, run_id)]
    assert {version.source for version in versions} == set(locations)
    assert {version.run_id for version in versions} == {run_id}


def test_a_logged_model_can_be_registered_later(database: Place, experiment: str, trained: TrainResult) -> None:
    store = database.store(experiment)
    run_id = start(store)
    log(store, run_id, trained)
    assert log(store, run_id, trained, TrackingConfig(register="o'brien's")) == "models:/o'brien's/1"
    assert len(models_of(store, run_id)) == 1


def test_no_model_is_wanted(database: Place, experiment: str, trained: TrainResult) -> None:
    store = database.store(experiment)
    run_id = start(store)
    assert log(store, run_id, trained, TrackingConfig(log_model="none")) is None
    assert models_of(store, run_id) == []


def test_a_store_that_does_not_take_it_gets_it_the_next_time(
    database: Place,
    experiment: str,
    trained: TrainResult,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    store = database.store(experiment)
    run_id = start(store)

    def refuse(*_: object) -> None:
        raise OSError("No space left on device")

    with monkeypatch.context() as broken, caplog.at_level(logging.WARNING):
        broken.setattr(store.client, "log_model_artifacts", refuse)
        assert log(store, run_id, trained) is None
    assert "did not take the model best: No space left on device; --resume tries again" in caplog.text
    assert models_of(store, run_id) == []
    (half,) = store.client.search_logged_models([store.experiment_id])
    assert half.status == LoggedModelStatus.FAILED
    assert log(store, run_id, trained) is not None
    assert len(models_of(store, run_id)) == 1


_PREDICT = """
import ast, json, sys
from pathlib import Path
import mlflow, numpy as np
model = mlflow.pyfunc.load_model(sys.argv[1], model_config={"device": "cpu"})
np.save("ids.npy", model.predict(np.load("pixels.npy")))
import essnet
imported = set()
for name, module in list(sys.modules.items()):
    if name.split(".")[0] == "essnet" and getattr(module, "__file__", None):
        for node in ast.walk(ast.parse(Path(module.__file__).read_text())):
            if isinstance(node, ast.Import):
                imported |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                imported.add(node.module.split(".")[0])
known = sorted(name for name in imported if name in sys.modules and name not in sys.stdlib_module_names)
Path("facts.json").write_text(json.dumps({"essnet": essnet.__file__, "imported": known}))
"""


def environment(uri: str) -> dict[str, str]:
    """An environment in which essnet is found in a model alone."""
    own = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    return {**own, "MLFLOW_TRACKING_URI": uri, "MLFLOW_DISABLE_TELEMETRY": "true", "OMP_NUM_THREADS": "1"}


@pytest.mark.slow
def test_another_process_loads_it_and_predicts_the_same(
    store: RunStore, place: Place, trained: TrainResult, expected: np.ndarray[Any, Any], tmp_path: Path
) -> None:
    address = log(store, start(store), trained)
    assert address is not None
    np.save(tmp_path / "pixels.npy", PIXELS)
    done = subprocess.run(
        [sys.executable, "-c", _PREDICT, address],
        cwd=tmp_path, env=environment(place.uri), capture_output=True, text=True, timeout=280, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    np.testing.assert_array_equal(np.load(tmp_path / "ids.npy"), expected)
    facts = json.loads((tmp_path / "facts.json").read_text())
    assert Path(facts["essnet"]).parts[-3:-1] == ("code", "essnet")
    assert_required(facts["imported"])


def assert_required(imported: list[str]) -> None:
    """Each package is among the requirements, or comes with one of them."""
    required = {requirement.partition("==")[0] for requirement in pip_requirements()}
    brought = {
        entry.split(";")[0].split("[")[0].strip(" ()").split(" ")[0].split(">")[0].split("=")[0].split("<")[0].lower()
        for name in required
        for entry in requires(name) or ()
    }
    distributions = packages_distributions()
    for package in set(imported) - {"essnet"}:
        names = {name.lower().replace("_", "-") for name in distributions[package]}
        assert names & (required | {name.replace("_", "-") for name in brought}), package


@contextmanager
def serving(address: str, uri: str, folder: Path) -> Iterator[str]:
    """Serve a model on loopback as the README says, and yield the URL that answers."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "mlflow", "models", "serve", "-m", address, "--env-manager", "local"]
    with (folder / "serve.log").open("w") as output:
        server = subprocess.Popen(
            [*command, "--host", "127.0.0.1", "--port", str(port)],
            cwd=folder, env={**environment(uri), "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"},
            stdout=output, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
    try:
        deadline = time.monotonic() + 240
        while not _answers(f"http://127.0.0.1:{port}/ping"):
            assert server.poll() is None, (folder / "serve.log").read_text()
            assert time.monotonic() < deadline, (folder / "serve.log").read_text()
            time.sleep(0.5)
        yield f"http://127.0.0.1:{port}/invocations"
    finally:
        os.killpg(server.pid, signal.SIGKILL)
        server.wait()


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def ask(url: str, question: object) -> list[Any]:
    body = json.dumps(question).encode()
    request = urllib.request.Request(url, data=body, headers={"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=120) as answer:
        return list(json.load(answer)["predictions"])


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_server_answers_with_the_ids_of_predict(
    store: RunStore, place: Place, trained: TrainResult, expected: np.ndarray[Any, Any], tmp_path: Path
) -> None:
    address = log(store, start(store), trained)
    assert address is not None
    files = []
    for pixels in PIXELS:
        file = io.BytesIO()
        Image.fromarray(pixels).save(file, format="png")
        files.append(base64.b64encode(file.getvalue()).decode())
    with serving(address, place.uri, tmp_path) as url:
        for question in (
            {"inputs": files},
            {"inputs": {"image": files}},
            {"dataframe_split": {"columns": ["image"], "data": [[text] for text in files]}},
            {"dataframe_records": [{"image": text} for text in files]},
            {"inputs": PIXELS.tolist()},
        ):
            assert ask(url, question) == expected.tolist()
        with pytest.raises(urllib.error.HTTPError) as refused:
            ask(url, {"inputs": ["no picture"]})
        assert refused.value.code == 400
        assert b"found text that is no base64" in refused.value.read()
