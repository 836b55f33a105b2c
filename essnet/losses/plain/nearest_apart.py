"""The part of the softmax that all pixels share, for distances on a GPU: nothing is read by the host."""

from __future__ import annotations

import torch
from torch import Tensor

from essnet.losses.plain.own_classes import OwnDistances
from essnet.losses.plain.shared_classes import FAR, SharedDistances, hide

# Of a pixel's classes beside its target, so many have their distance computed from the difference. In few dimensions
# classes lie closer together, and more cost no more.
NUM_APART = 4
NUM_APART_TIMES_DIM = 32


class SharedDistancesNearestApart(SharedDistances):
    """logit = -T ||e - w||: squared distances from a matrix product, each pixel's nearest from the difference.

    How many distances are so close that they need the difference is known to the device only, so it is a fixed
    number. In float32, a distance d that is not among these is off by some 1e-7 (|e|^2 + |w|^2) / d.
    """

    def __init__(self, classes: Tensor, scale: Tensor, *, max_rows: int, num_kept: int | None, num_apart: int) -> None:
        """Keep the R class embeddings (R, D), T and two buffers for chunks of `max_rows` pixels.

        Of a pixel's classes only the `num_kept` nearest count, or all; the `num_apart` nearest are computed from
        the difference.
        """
        super().__init__(classes, scale, max_rows=max_rows, num_kept=num_kept)
        self._num_apart = min(num_apart, len(classes))
        self._apart = OwnDistances(classes, scale)
        self._minus_scale = -scale
        self._largest_norm = self._norms.amax()

    def peaks(self, pixels: Tensor, hidden: Tensor) -> Tensor:
        """Compute the distances and return the largest logit of each pixel."""
        self._pixels = pixels
        squares, norms = self._product_squares(pixels)
        hide(squares, hidden, FAR)
        nearest, columns = squares.topk(self._num_kept or self._num_apart, dim=1, largest=False)
        if self._num_kept is not None:
            squares.fill_(FAR).scatter_(1, columns, nearest)
        nearest, columns = nearest[:, : self._num_apart], columns[:, : self._num_apart]
        self._apart_logits = self._apart.logits(pixels, columns).masked_fill_(nearest == FAR, -FAR)
        squares.scatter_(1, columns, FAR)
        # What is left over may have lost all its digits, or even be negative: it is kept off 0.
        rounding = torch.finfo(squares.dtype).eps * (norms + self._largest_norm)
        squares.clamp_(min=rounding.clamp_(min=torch.finfo(squares.dtype).tiny))
        self._distances = squares.sqrt_()
        return self._apart_logits.amax(dim=1)

    def sums(self, offsets: Tensor) -> Tensor:
        """Turn the distances into softmax terms and return their sums."""
        terms = self._term_buffer[: len(offsets)]
        self._terms = torch.addcmul(-offsets[:, None], self._distances, self._minus_scale, out=terms).exp_()
        self._apart_terms = self._apart_logits.sub_(offsets[:, None]).exp_()
        return self._terms.sum(dim=1).add_(self._apart_terms.sum(dim=1))

    def gradients(self, weights: Tensor) -> Tensor:
        """Return the pixels' gradient and remember the classes'."""
        grad_pixels = self._product_gradients(self._terms.div_(self._distances), weights[:, None] * self._scale)
        slopes = self._apart_terms.mul_(weights[:, None])
        return grad_pixels.add_(self._apart.gradients(slopes, grad_classes=self._close_sum))


def num_apart(*, dim: int, num_neighbours: int, num_kept: int | None) -> int:
    """Return for how many shared classes a pixel's distance is computed from the difference.

    Beside `num_neighbours` classes that are nearer, whose embeddings are gathered anyway; no more than are kept.
    """
    num_needed = max(1, max(NUM_APART, NUM_APART_TIMES_DIM // dim) - num_neighbours)
    return num_needed if num_kept is None else min(num_kept, num_needed)
