"""Metrics and pictures of a model on a split."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice

import torch
from PIL import Image
from torch import Tensor

from essnet.data import ClassTable, prediction_sheet
from essnet.labels import IGNORE_INDEX
from essnet.metrics import ConfusionCounts
from essnet.models import SegmentationModel

Batches = Iterable[tuple[Tensor, Tensor]]


@torch.no_grad()
def evaluate(model: SegmentationModel, batches: Batches, *, num_classes: int, device: torch.device) -> dict[str, float]:
    """Compute the loss and the metrics of a split; the counts are over the whole split, in int64.

    The loss is the mean over the split's pixels. For images of one size nothing depends on how they are
    batched, but for the negatives that `sampled_softmax` draws for a batch; an image that is padded to the
    size of a larger one in its batch is another input to the network. Random generators are left as they
    were, and what is drawn is the same every time.

    Parameters
    ----------
    model
        Set to evaluation mode, and back to the mode it had.
    batches
        Pairs of images (B, 3, H, W) uint8 and targets (B, H, W) int64.

    Returns
    -------
    dict
        `val/` and: `loss`, `miou`, `mean_accuracy`, `pixel_accuracy`, `fw_iou`.
    """
    was_training = model.training
    model.eval()
    counts = ConfusionCounts(num_classes)
    loss_sum = torch.zeros((), dtype=torch.float64, device=device)
    pixels = torch.zeros((), dtype=torch.int64, device=device)
    with torch.random.fork_rng(devices=[]):  # sampled_softmax draws its negatives on the CPU
        torch.default_generator.manual_seed(0)
        for images, targets in batches:
            images = images.to(device, non_blocking=True)
            targets = targets.to(device, non_blocking=True)
            outputs = model(images)
            valid = (targets != IGNORE_INDEX).sum()
            loss_sum += model.output_layer.loss(outputs, targets).double() * valid
            pixels += valid
            predictions = model.output_layer.predict(outputs, (targets.shape[-2], targets.shape[-1]))
            counts.update(predictions, targets)
    model.train(was_training)
    loss = float(loss_sum / pixels.clamp(min=1))
    return {"val/loss": loss, **{f"val/{name}": value for name, value in counts.compute().items()}}


@torch.no_grad()
def prediction_picture(
    model: SegmentationModel, batches: Batches, *, classes: ClassTable, device: torch.device, count: int
) -> Image.Image:
    """Draw image, truth and prediction of the first `count` images."""
    was_training = model.training
    model.eval()
    rows = []
    pairs = ((image, target) for images, targets in batches for image, target in zip(images, targets, strict=True))
    for image, target in islice(pairs, count):
        outputs = model(image[None].to(device))
        predicted = model.output_layer.predict(outputs, (target.shape[-2], target.shape[-1]))[0]
        rows.append((image, target, predicted.cpu()))
    model.train(was_training)
    return prediction_sheet(rows, classes)
