"""The models that a run and a sweep leave in MLflow: the best one, and a sweep's baseline beside it."""

from __future__ import annotations

import io
import logging
import tempfile
from collections.abc import Mapping
from pathlib import Path

from PIL import Image

from essnet.checksums import sha256_of
from essnet.config import TexturesData, TrialConfig
from essnet.config.errors import first_line
from essnet.config.loop import TrackingConfig
from essnet.config.overrides import flatten
from essnet.data import build_dataset
from essnet.data.textures import TexturesDataset
from essnet.report.comparison import Comparison
from essnet.sweep.folder import SweepFolder
from essnet.tracking import RunStore
from essnet.tracking.logged_model import ModelFiles, log_model, register_model
from essnet.training import served_model
from essnet.training.checkpoint import copy_model, open_checkpoint

_EXAMPLE_SIDE = 128
_logger = logging.getLogger(__name__)


def log_best_model(
    store: RunStore, run_id: str, checkpoint: Path, *, tracking: TrackingConfig, metrics: Mapping[str, float]
) -> str | None:
    """Log a run's best checkpoint as its model, as `tracking` says, and return the model's address in MLflow.

    What the run has already is not logged again. A store that does not take it is only warned of; None is returned.
    """
    if tracking.log_model == "none":
        return None
    return _log(store, run_id, checkpoint, name="best", metrics=metrics, tags={}, register=tracking.register)


def log_sweep_models(
    comparison: Comparison, folder: SweepFolder, *, store: RunStore, tracking: TrackingConfig
) -> str | None:
    """Log the models of a sweep's best configuration and of its baseline to its parent run.

    Returns the best one's address in MLflow; else as `log_best_model`.
    """
    if tracking.log_model == "none" or comparison.parent_run_id is None:
        return None
    addresses = {}
    for name, configuration in (("best", comparison.best), ("baseline", comparison.baseline)):
        if configuration is not None:
            trial = configuration.first
            addresses[name] = _log(
                store,
                comparison.parent_run_id,
                folder.trial(trial.trial_id) / "checkpoints" / "best",
                name=name,
                metrics=trial.metrics,
                tags={"essnet.sweep": comparison.sweep, "essnet.arm": trial.arm, "essnet.trial_id": trial.trial_id},
                register=tracking.register if name == "best" else None,
            )
    return addresses.get("best")


def _log(
    store: RunStore,
    run_id: str,
    checkpoint: Path,
    *,
    name: str,
    metrics: Mapping[str, float],
    tags: Mapping[str, str],
    register: str | None,
) -> str | None:
    try:
        with tempfile.TemporaryDirectory() as folder:
            files = _model_files(checkpoint, Path(folder) / "model", name=name, metrics=metrics, tags=tags)
            model_id = log_model(store, run_id, files)
        if register is not None:
            return f"models:/{register}/{register_model(store, model_id, name=register)}"
    except Exception as error:  # whatever MLflow and the libraries for where artifacts lie raise
        _logger.warning("MLflow did not take the model %s: %s; --resume tries again", name, first_line(error))
        return None
    return f"models:/{model_id}"


def _model_files(
    checkpoint: Path, data: Path, *, name: str, metrics: Mapping[str, float], tags: Mapping[str, str]
) -> ModelFiles:
    opened = open_checkpoint(checkpoint)
    copy_model(checkpoint, data)
    config = opened.config
    return ModelFiles(
        name=name,
        data=data,
        loader_module=served_model.__name__,
        input_name=served_model.INPUT_NAME,
        example=_example(config),
        digest=sha256_of(data / "model.safetensors"),
        metadata={
            "classes": list(opened.classes.names),
            "input": "images: uint8 (N, H, W, 3) in RGB, or picture files, as bytes or base64 text",
            "output": "class ids: uint16 (N, H, W); the position of a name in `classes` is its id",
        },
        params={
            "data.name": config.data.name,
            "model.architecture": config.model.architecture,
            "model.encoder": config.model.encoder,
            **dict(flatten(config.objective.model_dump(), "objective.")),
            **{key: value for key, value in metrics.items() if key.startswith("val/")},
        },
        tags=tags,
    )


def _example(config: TrialConfig) -> bytes:
    """Return a PNG that the model takes: a generated scene, so that no image of anybody's leaves with a model."""
    if isinstance(config.data, TexturesData):
        scene, _ = build_dataset(config.data, "test")[0]
    else:
        height, width = (min(side, _EXAMPLE_SIDE) for side in config.data.crop_height_width)
        scene, _ = TexturesDataset(split="test", size=(height, width), length=1)[0]
    file = io.BytesIO()
    Image.fromarray(scene.permute(1, 2, 0).numpy()).save(file, format="png")
    return file.getvalue()
