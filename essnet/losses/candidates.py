"""What goes into an engine of the embedding losses, and what comes out."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Candidates:
    """The classes that enter each pixel's softmax beside its target."""

    num_neighbours: int
    """k: the pixel's nearest other classes; 0 for none, at most C - 2."""
    shared: Tensor
    """(R,) int64: distinct classes that enter every pixel's softmax, unless they are its target or a neighbour."""
    shared_logit_offset: float = 0.0
    """Added to the logits of the shared classes."""


@dataclass(frozen=True)
class LossSum:
    """The sum of all pixels' losses and, where they were asked for, its gradients."""

    total: Tensor
    """Scalar."""
    grad_pixels: Tensor | None = None
    """(N, D)."""
    grad_classes: Tensor | None = None
    """(C, D)."""
