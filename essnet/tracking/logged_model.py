"""A run's model in MLflow's model format: an output of the run, served by MLflow, and a version in its registry.

MLflow's own `log_model` works on the process's current run and store; here both are named.
"""

from __future__ import annotations

import base64
import json
import tempfile
import warnings
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np
from mlflow.entities import LoggedModel, LoggedModelOutput
from mlflow.exceptions import MlflowException
from mlflow.utils.mlflow_tags import MLFLOW_MODEL_VERSIONS

import essnet
from essnet.tracking.store import RunStore

_DIGEST_TAG = "essnet.weights"
_NEEDED = (
    "mlflow", "numpy", "torch", "torchvision", "segmentation-models-pytorch", "timm", "safetensors", "faiss-gpu",
    "faiss-cpu", "pillow", "simplejpeg", "pydantic", "typing-extensions", "pyyaml", "msgspec", "zlib-ng",
)  # fmt: skip
"""Distributions that a model needs to be loaded and to predict; essnet itself goes with it."""


@dataclass(frozen=True, kw_only=True)
class ModelFiles:
    """A model as it is handed to MLflow."""

    name: str
    """Name among the run's models."""
    data: Path
    """Folder that the loader reads; it becomes a part of the model."""
    loader_module: str
    """Module of essnet whose `_load_pyfunc` returns the model, see `mlflow.pyfunc`."""
    input_name: str
    example: bytes
    """A picture file that the model takes."""
    digest: str
    """Equal for equal models: one is logged once to a run."""
    metadata: Mapping[str, object]
    """What is told of the model to whoever opens it."""
    params: Mapping[str, object]
    """Shown beside it in MLflow's list of models."""
    tags: Mapping[str, str]


def log_model(store: RunStore, run_id: str, model: ModelFiles) -> str:
    """Log a model to a run, unless the run has it, and return its id.

    Raises whatever MLflow and the libraries for where artifacts lie raise; nothing half-logged stays ready for use.
    """
    client = store.client
    known = _find(store, run_id, model)
    if known is not None:
        return known
    logged = client.create_logged_model(
        store.experiment_id,
        name=model.name,
        source_run_id=run_id,
        tags={"essnet.version": essnet.__version__, **model.tags, _DIGEST_TAG: model.digest},
        params={key: str(value) for key, value in model.params.items()},
        model_type="semantic segmentation",
    )
    try:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "model"
            _save(path, model, logged)
            client.log_model_artifacts(logged.model_id, str(path))
        client.finalize_logged_model(logged.model_id, "READY")
        client.log_outputs(run_id, [LoggedModelOutput(logged.model_id, step=0)])
    except BaseException:
        with suppress(Exception):  # the first error counts
            client.finalize_logged_model(logged.model_id, "FAILED")
        raise
    return str(logged.model_id)


def register_model(store: RunStore, model_id: str, *, name: str) -> str:
    """Make a logged model a version of the registered model `name`, unless it is one, and return the version.

    Raises what MLflow raises.
    """
    client = store.client
    try:
        client.create_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    logged = client.get_logged_model(model_id)
    for known in client.search_model_versions(f"name = '{_escaped(name)}'"):
        if known.source == logged.artifact_location:
            return str(known.version)
    made = client.create_model_version(
        name, source=logged.artifact_location, run_id=logged.source_run_id, model_id=model_id, tags=_own_tags(logged)
    )
    # As mlflow.register_model does it, by which the UI shows the version beside the model.
    versions = [*json.loads(logged.tags.get(MLFLOW_MODEL_VERSIONS, "[]")), {"name": name, "version": made.version}]
    client.set_logged_model_tags(model_id, {MLFLOW_MODEL_VERSIONS: json.dumps(versions)})
    return str(made.version)


def pip_requirements() -> list[str]:
    """Return what a model needs to be installed, in the versions that are installed here."""
    found = []
    for distribution in _NEEDED:
        with suppress(PackageNotFoundError):  # one of the two of faiss
            found.append(f"{distribution}=={version(distribution).partition('+')[0]}")
    return found


def _find(store: RunStore, run_id: str, model: ModelFiles) -> str | None:
    """Return the id of the run's model with this name and digest, or None."""
    outputs = store.client.get_run(run_id).outputs
    for output in outputs.model_outputs if outputs is not None else ():
        try:
            logged = store.client.get_logged_model(output.model_id)
        except MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":  # deleted by somebody
                raise
            continue
        if (logged.name, logged.tags.get(_DIGEST_TAG)) == (model.name, model.digest):
            return str(logged.model_id)
    return None


def _save(path: Path, model: ModelFiles, logged: LoggedModel) -> None:
    """Write a folder in MLflow's model format, with essnet's own code in it."""
    with warnings.catch_warnings():  # MLflow warns of type hints of its own
        warnings.simplefilter("ignore")
        # Here, as it takes seconds and nothing else needs it.
        from mlflow.models import Model, ModelSignature
        from mlflow.pyfunc import save_model
        from mlflow.types import Schema, TensorSpec

    # An object stands for an image of any kind: bytes or base64 text of a picture file, or numbers of any shape. As
    # uint8 of shape (-1, -1, -1, 3) a server would take nothing but numbers.
    signature = ModelSignature(
        inputs=Schema([TensorSpec(np.dtype(object), (-1,), model.input_name)]),
        outputs=Schema([TensorSpec(np.dtype(np.uint16), (-1, -1, -1))]),
    )
    save_model(
        path,
        loader_module=model.loader_module,
        data_path=str(model.data),
        code_paths=[str(Path(essnet.__file__).parent)],
        mlflow_model=Model(
            artifact_path=logged.artifact_location,
            run_id=logged.source_run_id,
            model_uuid=logged.model_id,
            model_id=logged.model_id,
        ),
        signature=signature,
        input_example={model.input_name: np.array([base64.b64encode(model.example).decode()], dtype=object)},
        pip_requirements=pip_requirements(),
        metadata=dict(model.metadata),
        model_config={"device": "auto"},
    )


def _own_tags(logged: LoggedModel) -> dict[str, str]:
    return {key: value for key, value in logged.tags.items() if key.startswith("essnet.")}


def _escaped(name: str) -> str:
    return name.replace("'", "''")
