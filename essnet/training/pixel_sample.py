"""Embeddings of a few pixels of each class, drawn over all images of an evaluation."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from essnet.labels import IGNORE_INDEX
from essnet.models import EmbeddingOutput

MOST_PIXELS = 1000


@dataclass(frozen=True)
class PixelEmbeddings:
    """Pixels with their true classes, in the order of these."""

    embeddings: Tensor
    """(N, D) float32, as they are compared with the class embeddings."""
    classes: Tensor
    """(N,) int64."""


class PixelSample:
    """Draws of each image one pixel of each of its classes, and keeps the same number of each class, if they are there.

    Of classes in few images all that was drawn is kept, so that rare ones are in the sample; with more classes than
    `most` pixels, some classes, by chance, have none. What is kept depends on seed and images alone, not on how they
    are batched, and no global generator is drawn from. Pixels are chosen on the host, by its own labels, so that a
    GPU is not waited for.

    Parameters
    ----------
    layer
        Whose outputs are sampled.
    most
        How many pixels are kept.
    seed
        Of the draws.
    """

    def __init__(self, layer: EmbeddingOutput, *, most: int = MOST_PIXELS, seed: int = 0) -> None:
        self._layer = layer
        self._most = most
        self._seed = seed
        self._images = 0
        self._classes = np.empty(0, np.int64)
        self._priorities = np.empty(0)
        self._embeddings: Tensor | None = None

    @torch.no_grad()
    def update(self, outputs: Tensor, labels: Tensor) -> None:
        """Draw from a batch: outputs (B, D, h, w) on the device, labels (B, H, W) int64 in main memory."""
        places: list[list[int]] = []
        for image, ids in enumerate(labels.numpy()):
            self._draw(image, ids.ravel(), width=labels.shape[2], places=places)
        at = torch.tensor(places, dtype=torch.int64).view(-1, 3)
        if outputs.is_cuda:
            at = at.pin_memory()
        drawn = embeddings_at(
            self._layer, outputs, at.to(outputs.device, non_blocking=True), size=(labels.shape[1], labels.shape[2])
        )
        self._embeddings = drawn if self._embeddings is None else torch.cat([self._embeddings, drawn])
        if len(self._classes) > self._most:
            self._keep(self._within_classes()[: self._most])

    def read(self) -> PixelEmbeddings | None:
        """Return what was kept; None where no pixel was labelled."""
        if self._embeddings is None or not len(self._classes):
            return None
        self._keep(np.lexsort((self._priorities, self._classes)))
        return PixelEmbeddings(embeddings=self._embeddings.cpu(), classes=torch.from_numpy(self._classes))

    def _draw(self, image: int, ids: npt.NDArray[np.int64], *, width: int, places: list[list[int]]) -> None:
        order = np.argsort(ids, kind="stable")
        classes, first, counts = np.unique(ids[order], return_index=True, return_counts=True)
        if len(classes) and classes[0] == IGNORE_INDEX:
            classes, first, counts = classes[1:], first[1:], counts[1:]
        random = np.random.default_rng((self._seed, self._images))
        chosen = order[first + random.integers(counts)]
        places += [[image, *divmod(pixel, width)] for pixel in chosen.tolist()]
        self._classes = np.concatenate([self._classes, classes])
        self._priorities = np.concatenate([self._priorities, random.random(len(classes))])
        self._images += 1

    def _within_classes(self) -> npt.NDArray[np.intp]:
        """Return the pixels' order: the first of each class, then the second of each, and so on."""
        by_class = np.lexsort((self._priorities, self._classes))
        _, first, counts = np.unique(self._classes[by_class], return_index=True, return_counts=True)
        rank = np.empty(len(by_class), np.int64)
        rank[by_class] = np.arange(len(by_class)) - np.repeat(first, counts)
        return np.lexsort((self._priorities, rank))

    def _keep(self, kept: npt.NDArray[np.intp]) -> None:
        assert self._embeddings is not None
        self._classes, self._priorities = self._classes[kept], self._priorities[kept]
        rows = torch.from_numpy(kept)
        if self._embeddings.is_cuda:
            rows = rows.pin_memory()
        self._embeddings = self._embeddings[rows.to(self._embeddings.device, non_blocking=True)]


@torch.no_grad()
def embeddings_at(layer: EmbeddingOutput, outputs: Tensor, places: Tensor, *, size: tuple[int, int]) -> Tensor:
    """Return what `layer.comparable_embeddings` has at a few places, without the other ones.

    Shapes: outputs (B, D, h, w); places (N, 3) int64, each an image and a row and a column of `size` (H, W); result
    (N, D) float32.
    """
    image, row, column = places.unbind(dim=1)
    top, bottom, down = _neighbours(row, length=size[0], small=outputs.shape[-2])
    left, right, along = _neighbours(column, length=size[1], small=outputs.shape[-1])

    def corner(rows: Tensor, columns: Tensor) -> Tensor:
        embeddings = outputs[image, :, rows, columns].float()
        return embeddings if layer.similarity == "dot" else F.normalize(embeddings, dim=1)

    upper = torch.lerp(corner(top, left), corner(top, right), along)
    lower = torch.lerp(corner(bottom, left), corner(bottom, right), along)
    found = torch.lerp(upper, lower, down)
    return F.normalize(found, dim=1) if layer.renormalise else found


def _neighbours(position: Tensor, *, length: int, small: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return between which two of `small` entries a place lies when they are resized to `length`, and how far on."""
    exact = ((position + 0.5) * (small / length) - 0.5).clamp(min=0)
    before = exact.floor().long()
    return before, (before + 1).clamp(max=small - 1), (exact - before)[:, None]
