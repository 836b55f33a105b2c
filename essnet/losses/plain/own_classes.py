"""The part of the softmax that each pixel has for itself: its target and its nearest classes, gathered."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor


class OwnClasses(Protocol):
    """Logits of each pixel's own list of classes, a chunk of pixels at a time, and their gradients."""

    def logits(self, pixels: Tensor, ids: Tensor) -> Tensor:
        """Return the logits (n, L) of the classes `ids` (n, L) for the pixels (n, D)."""

    def gradients(self, slopes: Tensor, *, grad_classes: Tensor) -> Tensor:
        """Return the pixels' gradient (n, D) for d loss / d logit = `slopes` (n, L); add the classes'."""


class OwnDistances:
    """logit = -T ||e - w||, each distance computed from the difference itself: exact however small it is."""

    def __init__(self, classes: Tensor, scale: Tensor) -> None:
        """Keep the class embeddings (C, D) and T."""
        self._classes, self._scale = classes, scale

    def logits(self, pixels: Tensor, ids: Tensor) -> Tensor:
        """Return -T ||e - w|| (n, L)."""
        self._ids = ids.reshape(-1)
        self._differences = self._classes.index_select(0, self._ids).view(*ids.shape, -1)
        self._differences -= pixels[:, None]
        self._distances = torch.linalg.vector_norm(self._differences, dim=2)
        logits: Tensor = self._distances * -self._scale
        return logits

    def gradients(self, slopes: Tensor, *, grad_classes: Tensor) -> Tensor:
        """Return the pixels' gradient; at distance 0, where there is no direction, it is 0."""
        pull = (slopes * -self._scale).div_(self._distances).masked_fill_(self._distances == 0, 0.0)
        self._differences *= pull[:, :, None]
        grad_classes.index_add_(0, self._ids, self._differences.flatten(0, 1))
        return self._differences.sum(dim=1).neg_()


class OwnProducts:
    """logit = T e.w."""

    def __init__(self, classes: Tensor, scale: Tensor) -> None:
        """Keep the class embeddings (C, D) and T."""
        self._classes, self._scale = classes, scale

    def logits(self, pixels: Tensor, ids: Tensor) -> Tensor:
        """Return T e.w (n, L)."""
        self._ids = ids.reshape(-1)
        self._pixels = pixels
        self._gathered = self._classes.index_select(0, self._ids).view(*ids.shape, -1)
        return torch.bmm(self._gathered, pixels[:, :, None]).squeeze(2).mul_(self._scale)

    def gradients(self, slopes: Tensor, *, grad_classes: Tensor) -> Tensor:
        """Return the pixels' gradient."""
        scaled = slopes * self._scale
        grad_pixels = torch.bmm(scaled[:, None], self._gathered).squeeze(1)
        torch.mul(scaled[:, :, None], self._pixels[:, None], out=self._gathered)
        grad_classes.index_add_(0, self._ids, self._gathered.flatten(0, 1))
        return grad_pixels
