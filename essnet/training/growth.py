"""Adding classes to a trained model: rows behind the table of class embeddings, and nothing else changes.

The network emits an embedding per pixel, and a class is a row of a table: a new class needs a row only. It is found
from pixels that somebody labelled, either from their mean embedding, or learned while all else is frozen.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.data import Dataset, Subset
from torchvision import tv_tensors

from essnet.config import InputError, TrialConfig
from essnet.config.data import PicturesData
from essnet.data import ClassTable, PairedFilesDataset, eval_loader
from essnet.data.loading import Batch, BatchLoader, Sample
from essnet.labels import IGNORE_INDEX
from essnet.losses import embedding_softmax_loss
from essnet.models import EmbeddingOutput, SegmentationModel
from essnet.progress import Progress
from essnet.training.checkpoint import Checkpoint
from essnet.training.checkpoint_folder import CheckpointFolder
from essnet.training.trial import load_model

_TABLE = "output_layer.class_embeddings"
_LEARNING_RATE = 0.1
"""Of a row's learned numbers, relative to their root mean square; it falls to 0 over the steps."""
_LEAST_DIFFERENCE = 0.05
"""From what examples show on average, relative to a class's own mean embedding."""


@dataclass(frozen=True)
class NewRows:
    """Rows of new classes, (N, D) float32 on the CPU, and the number of example pixels of each, (N,) int64."""

    rows: Tensor
    pixels: Tensor


def check_can_grow(checkpoint: Checkpoint) -> None:
    """Raise InputError unless the checkpoint's classes are a table of embeddings."""
    if checkpoint.config.objective.name == "full_softmax":
        raise InputError(
            f"{checkpoint.path}: is a full_softmax, which cannot grow: its output layer is a convolution with a "
            "channel for each class, trained together with the network; train one with all classes, or one of the "
            "objectives with embeddings"
        )


def new_rows(
    checkpoint: Checkpoint,
    examples: PairedFilesDataset,
    *,
    classes: ClassTable,
    device: torch.device,
    learn_steps: int = 0,
    progress: Progress | None = None,
) -> NewRows:
    """Find rows for the classes that `classes` has behind the checkpoint's.

    A row points from what the examples show on average, labelled or not, to the mean of the class's own pixel
    embeddings (for `dot`: to that mean as it is), and is as long as the checkpoint's rows are on average. With
    `learn_steps` it is then moved by gradients of the exact softmax over all classes, while every other number stays.

    Parameters
    ----------
    examples
        Items labelled with class indices of `classes`.
    learn_steps
        Steps of `evaluation.batch_size` images each.

    Raises
    ------
    InputError
        If a new class has no pixel in the examples, if they show nothing to tell one from, if they are to be learned
        from and have no pixel of an old class, or if a file of theirs is wrong.
    """
    model = load_model(checkpoint, device=device)
    layer = model.output_layer
    if not isinstance(layer, EmbeddingOutput):  # another package's
        raise InputError(f"{checkpoint.path}: cannot grow; {checkpoint.config.objective.name} has no class embeddings")
    tell = progress if progress is not None else _silent
    old = checkpoint.classes.num_classes
    sums, pixels = _sums(model, examples, layer=layer, num_classes=classes.num_classes, progress=tell)
    _check_pixels(pixels, classes, old=old, learn=learn_steps > 0)
    means = sums[old:-1] / pixels[old:-1, None]
    if layer.similarity == "dot":
        directions = means
    else:
        # Pixels of all classes have much in common, and rows learned to leave that out: a plain mean is near to too
        # many pixels.
        directions = means - sums.sum(dim=0) / pixels.sum()
        for name, difference, mean in zip(classes.names[old:], directions, means, strict=True):
            if difference.norm() < _LEAST_DIFFERENCE * mean.norm():
                raise InputError(
                    f"--examples: to the network, pixels of {name!r} look like what the examples show on average; "
                    "show other things as well, labelled or not"
                )
    length = layer.class_embeddings.detach().double().norm(dim=1).mean()
    rows = (F.normalize(directions, dim=1) * length).float()
    if learn_steps:
        batches = _shuffled_batches(model, examples, config=checkpoint.config)
        rows = _learned(rows, model, batches, layer=layer, steps=learn_steps, progress=tell)
    return NewRows(rows=rows.cpu(), pixels=pixels[old:-1].cpu())


def write_grown(
    checkpoint: Checkpoint,
    rows: Tensor,
    *,
    classes: ClassTable,
    name: str,
    folder: CheckpointFolder,
) -> None:
    """Write the checkpoint of a run called `name`, with `rows` (N, D) behind its table of class embeddings.

    All else is as it was, but for what further training would go on from: that begins anew. A number of classes that
    the configuration states of files is set to the new one. Scenes of `textures` would look another way with more
    classes, so that theirs stays.
    """
    weights = checkpoint.weights()
    weights[_TABLE] = torch.cat([weights[_TABLE], rows.to(weights[_TABLE].dtype)])
    step = int(checkpoint.trainer_state()["step"])
    folder.save(
        step,
        best_step=step,
        weights=weights,
        trainer_state={"step": step},
        config=_grown_config(checkpoint.config, name=name, num_classes=classes.num_classes),
        classes=classes,
    )


def _grown_config(config: TrialConfig, *, name: str, num_classes: int) -> TrialConfig:
    data = config.data
    if isinstance(data, PicturesData) and data.num_classes is not None:
        data = data.model_copy(update={"num_classes": num_classes})
    return config.model_copy(update={"name": name, "data": data})


@torch.no_grad()
def _sums(
    model: SegmentationModel,
    examples: PairedFilesDataset,
    *,
    layer: EmbeddingOutput,
    num_classes: int,
    progress: Progress,
) -> tuple[Tensor, Tensor]:
    """Sums of pixel embeddings (C + 1, D) float64, and numbers of pixels (C + 1,): the last are those without label."""
    device = layer.class_embeddings.device
    sums = torch.zeros((num_classes + 1, layer.class_embeddings.shape[1]), dtype=torch.float64, device=device)
    pixels = torch.zeros(num_classes + 1, dtype=torch.int64, device=device)
    for done, (images, targets) in enumerate(_loader(model, _UnlabelledAsAClass(examples, num_classes), batch_size=1)):
        images, targets = images.to(device), targets.to(device).flatten()
        embeddings = layer.comparable_embeddings(model(images), tuple(images.shape[-2:]))
        flat = embeddings.permute(0, 2, 3, 1).flatten(0, 2).double()
        seen = targets != IGNORE_INDEX  # all but padding
        sums.index_add_(0, targets[seen], flat[seen])
        pixels += torch.bincount(targets[seen], minlength=num_classes + 1)
        progress("reading examples", done + 1, len(examples))
    return sums, pixels


def _check_pixels(pixels: Tensor, classes: ClassTable, *, old: int, learn: bool) -> None:
    without = [classes.names[index] for index in range(old, classes.num_classes) if pixels[index] == 0]
    if without:
        more = f" (and {len(without) - 1} more)" if len(without) > 1 else ""
        raise InputError(f"--examples: no pixel is labelled {without[0]!r}{more}; each new class needs some")
    if learn and not pixels[:old].any():
        raise InputError(
            "--learn: the examples have no pixel of a class that the checkpoint knows, and rows learned without would "
            "take such pixels too; label some, or leave --learn out"
        )


def _learned(
    rows: Tensor,
    model: SegmentationModel,
    batches: Iterator[Batch],
    *,
    layer: EmbeddingOutput,
    steps: int,
    progress: Progress,
) -> Tensor:
    device = rows.device
    old = layer.comparable_class_embeddings().detach()
    scale = torch.as_tensor(layer.logit_scale).detach()
    learned = torch.nn.Parameter(rows.clone())
    optimizer = torch.optim.Adam([learned], lr=_LEARNING_RATE * float(rows.square().mean().sqrt()))
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1 - step / steps)
    for step in range(steps):
        images, targets = next(batches)
        targets = targets.to(device)
        with torch.no_grad():
            pixel_embeddings = layer.comparable_embeddings(model(images.to(device)), tuple(targets.shape[-2:]))
        new = learned if layer.similarity == "dot" else F.normalize(learned, dim=1)
        loss = embedding_softmax_loss(
            pixel_embeddings=pixel_embeddings,
            class_embeddings=torch.cat([old, new]),
            targets=targets,
            similarity=layer.similarity,
            logit_scale=scale,
        )
        optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        optimizer.step()
        schedule.step()
        progress("learning", step + 1, steps)
    return learned.detach()


def _shuffled_batches(
    model: SegmentationModel, examples: PairedFilesDataset, *, config: TrialConfig
) -> Iterator[Batch]:
    """All examples in a new order again and again, without end."""
    generator = torch.Generator().manual_seed(config.seed)
    while True:
        order = torch.randperm(len(examples), generator=generator).tolist()
        yield from _loader(model, Subset(examples, order), batch_size=config.evaluation.batch_size)


def _loader(model: SegmentationModel, dataset: Dataset[Sample], *, batch_size: int) -> BatchLoader:
    return eval_loader(
        dataset,  # type: ignore[arg-type]  # what it needs of a data set: its items and their number
        batch_size=batch_size,
        multiple=model.stride_multiple,
        minimum_side=model.minimum_side,
    )


class _UnlabelledAsAClass(Dataset[Sample]):
    """Gives pixels without label an index of their own, which tells them from padding."""

    def __init__(self, dataset: PairedFilesDataset, index: int) -> None:
        self._dataset = dataset
        self._index = index

    def __len__(self) -> int:
        return len(self._dataset)

    def __getitem__(self, item: int) -> Sample:
        image, targets = self._dataset[item]
        return image, tv_tensors.Mask(torch.where(targets == IGNORE_INDEX, self._index, targets))


def _silent(what: str, done: int, total: int) -> None:
    """Tell nobody."""
