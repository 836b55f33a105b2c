"""Metrics and pictures of a model on a split."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TypeAlias

import torch
from PIL import Image
from torch import Tensor

from essnet.config import TrialConfig
from essnet.data import ClassTable, SegmentationDataset, eval_loader, prediction_sheet
from essnet.data.loading import Batch
from essnet.labels import IGNORE_INDEX
from essnet.metrics import Confusion, ConfusionCounts, ConfusionPairs
from essnet.models import EmbeddingOutput, SegmentationModel
from essnet.progress import ItemProgress
from essnet.training.center_crop import CenterCroppedDataset
from essnet.training.pixel_sample import PixelEmbeddings, PixelSample
from essnet.training.views import Views, averaged_outputs, views_of

SeeBatch: TypeAlias = Callable[[Tensor, Tensor, Tensor], None]
"""Called with a batch's images (B, 3, H, W) uint8, targets and predictions (B, H, W) int64."""
Row: TypeAlias = tuple[Tensor, Tensor, Tensor]

_CONFUSIONS = 100


@dataclass(frozen=True)
class EvaluationResult:
    """What came out of a split."""

    metrics: dict[str, float]
    """`val/` and: `loss`, `miou`, `mean_accuracy`, `pixel_accuracy`, `fw_iou`; where the data set groups its classes
    by frequency, also `miou_<group>`."""
    counts: ConfusionCounts
    """How often each class was true, predicted, and both."""
    confusions: list[Confusion]
    """The pairs of classes with the most wrong pixels, the largest first, 100 at most."""
    classes: ClassTable
    groups: Sequence[str | None]
    """For each class its group by frequency; empty where the data set has none."""
    rows: list[Row]
    """Image, truth and prediction of the first images, as `SeeBatch` has them, padding included."""
    pixels: PixelEmbeddings | None
    """Embeddings of some pixels of each class; None where none were asked for, or the objective has none."""

    def picture(self) -> Image.Image | None:
        """Draw image, truth and prediction of the first images; None where none was asked for."""
        return prediction_sheet(self.rows, self.classes) if self.rows else None

    def per_class(self) -> list[dict[str, object]]:
        """Return a row for each class.

        Its `id`, `name`, `iou` and `accuracy` (NaN where undefined), `pixels` in the truth, how often it was
        `predicted`, and its `group` by frequency, or None.
        """
        counts = self.counts
        figures = (counts.per_class_iou(), counts.per_class_accuracy(), counts.true(), counts.predicted())
        groups = self.groups or [None] * self.classes.num_classes
        rows = zip(self.classes.names, *(values.tolist() for values in figures), groups, strict=True)
        keys = ("name", "iou", "accuracy", "pixels", "predicted", "group")
        return [{"id": index, **dict(zip(keys, row, strict=True))} for index, row in enumerate(rows)]


class Evaluation:
    """A split, how its images are read and cut, and which views of them are averaged: the `evaluation` block.

    Parameters
    ----------
    config
        The trial.
    data
        The split.
    model
        Whose sizes of images the batches get.
    device
        Where the model is when it is evaluated.

    Raises
    ------
    InputError
        If the network does not take windows of the crop's size.
    """

    def __init__(
        self, config: TrialConfig, data: SegmentationDataset, *, model: SegmentationModel, device: torch.device
    ) -> None:
        self._views = views_of(config, model)
        self._groups: Sequence[str | None] = getattr(data, "frequency_groups", ())
        self._device = device
        if config.evaluation.protocol == "center_crop":
            data = CenterCroppedDataset(data, config.data.crop_height_width)
        self.data = data
        """The images as they are evaluated, whole or cropped."""
        self._batches = eval_loader(
            data,
            batch_size=config.evaluation.batch_size,
            num_workers=config.data.num_workers,
            multiple=model.stride_multiple,
            minimum_side=model.minimum_side,
            pin_memory=device.type == "cuda",
        )

    def run(
        self,
        model: SegmentationModel,
        *,
        max_batches: int | None = None,
        num_pictures: int = 0,
        sample_pixels: bool = False,
        progress: ItemProgress | None = None,
        see: SeeBatch | None = None,
    ) -> EvaluationResult:
        """Evaluate a model of the same kind: all of the split, or its first `max_batches`.

        Parameters
        ----------
        num_pictures
            How many images, the first ones, the picture shows.
        sample_pixels
            Whether embeddings of some pixels are kept.
        progress
            Called after each batch; its items are images.
        see
            Called with each batch, all of it on the device.
        """
        rows: list[Row] = []
        done = 0

        def note(images: Tensor, targets: Tensor, predictions: Tensor) -> None:
            nonlocal done
            for row in islice(zip(images, targets, predictions, strict=True), num_pictures - len(rows)):
                rows.append((row[0].cpu(), row[1].cpu(), row[2].cpu()))
            pairs.update(predictions, targets)
            if see is not None:
                see(images, targets, predictions)
            done += len(images)
            if progress is not None:
                progress(done, len(self.data))

        classes, layer = self.data.classes, model.output_layer
        counts, pairs = ConfusionCounts(classes.num_classes), ConfusionPairs(classes.num_classes)
        sample = PixelSample(layer) if sample_pixels and isinstance(layer, EmbeddingOutput) else None
        batches = islice(self._batches, max_batches)
        loss = count_batches(
            model, batches, counts=counts, device=self._device, views=self._views, see=note, sample=sample
        )
        metrics = counts.compute(self._groups)
        return EvaluationResult(
            metrics={"val/loss": loss, **{f"val/{name}": value for name, value in metrics.items()}},
            counts=counts,
            confusions=pairs.largest(_CONFUSIONS),
            classes=classes,
            groups=self._groups,
            rows=rows,
            pixels=None if sample is None else sample.read(),
        )


@torch.no_grad()
def count_batches(
    model: SegmentationModel,
    batches: Iterable[Batch],
    *,
    counts: ConfusionCounts,
    device: torch.device,
    views: Views | None = None,
    see: SeeBatch | None = None,
    sample: PixelSample | None = None,
) -> float:
    """Add a model's predictions to `counts`, and return its loss.

    The loss is the mean over all batches' pixels. For images of one size nothing depends on how they are
    batched, but for the negatives that `sampled_softmax` draws for a batch; an image that is padded to the
    size of a larger one in its batch is another input to the network. Random generators are left as they
    were, and what is drawn is the same every time.

    Parameters
    ----------
    model
        Set to evaluation mode, and back to the mode it had.
    batches
        Pairs of images (B, 3, H, W) uint8 and targets (B, H, W) int64, of a size that the network takes.
    views
        What is averaged; None: the images as they are.
    see
        Called with each batch.
    sample
        Given each batch's outputs and labels.
    """
    was_training = model.training
    model.eval()
    loss_sum = torch.zeros((), dtype=torch.float64, device=device)
    pixels = torch.zeros((), dtype=torch.int64, device=device)
    try:
        with torch.random.fork_rng(devices=[]):  # sampled_softmax draws its negatives on the CPU
            torch.default_generator.manual_seed(0)
            for images, labels in batches:
                images = images.to(device, non_blocking=True)
                targets = labels.to(device, non_blocking=True)
                outputs = averaged_outputs(model, images, Views() if views is None else views)
                valid = (targets != IGNORE_INDEX).sum()
                loss_sum += model.output_layer.loss(outputs, targets).double() * valid
                pixels += valid
                predictions = model.output_layer.predict(outputs, (targets.shape[-2], targets.shape[-1]))
                counts.update(predictions, targets)
                if sample is not None:
                    sample.update(outputs, labels)
                if see is not None:
                    see(images, targets, predictions)
    finally:
        model.train(was_training)
    return float(loss_sum / pixels.clamp(min=1))
