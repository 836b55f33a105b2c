"""The parts of a trial, built from its configuration; also the check that they can be built at all."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from essnet.config import InputError, TrialConfig
from essnet.data import SegmentationDataset, build_dataset, build_transform
from essnet.data.kept_histogram import label_histogram
from essnet.data.label_histogram import LabelHistogram
from essnet.data.loading import Transform
from essnet.models import SegmentationModel, build_model
from essnet.progress import ItemProgress
from essnet.training.checkpoint import Checkpoint
from essnet.training.device import resolve_device
from essnet.training.image_sizes import check_crop_size
from essnet.training.initial_weights import load_initial_weights

_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Trial:
    """What the loop needs."""

    config: TrialConfig
    device: torch.device
    model: SegmentationModel
    train_data: SegmentationDataset
    eval_data: SegmentationDataset
    transform: Transform
    train_labels: LabelHistogram | None
    """Labels of the training data; None where nothing in the configuration asks for them."""


def build_trial(
    config: TrialConfig,
    *,
    cache_dir: Path | None,
    pretrained: bool = True,
    scan_progress: ItemProgress | None = None,
) -> Trial:
    """Build device, data sets and model of a trial.

    Parameters
    ----------
    cache_dir
        Where scans of data sets and counts of their labels are kept.
    pretrained
        Whether the weights that training begins with are read, the encoder's or those of `model.initial_weights`; not
        needed where a checkpoint's follow.
    scan_progress
        Called while a folder is scanned, or labels are counted; its items are files.

    Raises
    ------
    InputError
        If the device is not there, the data set has a fault, there is no such model, or its weights do not fit.
    """
    device = resolve_device(config.trainer.device)
    train_data, eval_data = (
        build_dataset(config.data, split, cache_dir=cache_dir, scan_progress=scan_progress)
        for split in ("train", config.evaluation.split)
    )
    initial_weights = config.model.initial_weights if pretrained else None
    torch.manual_seed(config.seed)  # the initial weights
    model = build_model(
        model=config.model,
        objective=config.objective,
        num_classes=train_data.classes.num_classes,
        pretrained=pretrained and initial_weights is None,
    )
    if initial_weights is not None:
        left_out = load_initial_weights(model, initial_weights, classes=train_data.classes)
        if left_out is not None:
            _logger.warning(left_out)
    check_crop_size(config, model)
    if config.trainer.batch_size < model.minimum_batch:
        raise InputError(
            f"trainer.batch_size: found {config.trainer.batch_size}; {config.model.architecture} normalises over the "
            f"images of a batch and needs at least {model.minimum_batch}"
        )
    train_labels = None
    if config.data.sampling.repeat_factor is not None:
        train_labels = label_histogram(train_data, cache_dir=cache_dir, progress=scan_progress)
    return Trial(
        config=config,
        device=device,
        # Channels last: a tenth to a fifth off a step on CPU, and what tensor cores want.
        model=model.to(device).to(memory_format=torch.channels_last),
        train_data=train_data,
        eval_data=eval_data,
        transform=build_transform(config.data),
        train_labels=train_labels,
    )


def load_model(checkpoint: Checkpoint, *, device: torch.device) -> SegmentationModel:
    """Build a checkpoint's model with its weights, in evaluation mode.

    Raises
    ------
    InputError
        If the weights are damaged or do not fit the configuration beside them.
    """
    config = checkpoint.config
    model = build_model(
        model=config.model,
        objective=config.objective,
        num_classes=checkpoint.classes.num_classes,
        pretrained=False,
    )
    load_weights(model, checkpoint.weights(), source=checkpoint.path)
    return model.to(device).to(memory_format=torch.channels_last).eval()


def load_weights(model: SegmentationModel, weights: Mapping[str, Tensor], *, source: Path) -> None:
    """Load the weights of the checkpoint `source` into a model.

    Raises
    ------
    InputError
        If the weights are another model's.
    """
    try:
        model.load_state_dict(weights)
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:200]
        raise InputError(f"{source}: the weights do not fit its config.yaml ({reason})") from None
