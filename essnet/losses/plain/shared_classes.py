"""The part of the softmax that all pixels share: a block of classes, by matrix products."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Protocol

import torch
from torch import Tensor

# The distance of a class that does not count for a pixel; its softmax term is exactly 0.
FAR = math.inf

# |e|^2 + |w|^2 - 2 e.w is off by some 3e-7 of |e|^2 + |w|^2 in float32: where it comes out below this share
# of it, the distance is computed from the difference.
CLOSE_SHARE = 1e-2


class SharedClasses(Protocol):
    """Softmax terms of the same R classes for every pixel of a chunk, and their gradients."""

    def peaks(self, pixels: Tensor, hidden: Tensor) -> Tensor:
        """Compute the logits of the pixels (n, D) and return the largest of each (n,).

        `hidden` (n, L) are the columns of the terms that do not count, -1 for none. Where only the nearest are
        kept, all others do not count either.
        """

    def sums(self, offsets: Tensor) -> Tensor:
        """Return sum_c exp(logit_c - offset) of each pixel (n,)."""

    def gradients(self, weights: Tensor) -> Tensor:
        """Return the pixels' gradient (n, D) for d loss / d logit_c = weight * exp(logit_c - offset)."""

    def class_gradients(self) -> Tensor:
        """Return what all calls of `gradients` add up to for the R classes (R, D)."""


def hide(terms: Tensor, columns: Tensor, value: float) -> None:
    """Set the terms (n, R) in each row's `columns` (n, L) to the value; -1 is no column."""
    # What has no column repeats one that the row has. A row without any writes back what is in its first.
    columns = torch.where(columns < 0, columns.amax(dim=1, keepdim=True), columns)
    places = columns.clamp(min=0)
    terms.scatter_(1, places, torch.where(columns < 0, terms.gather(1, places), value))


class SharedProducts:
    """logit = T e.w."""

    def __init__(self, classes: Tensor, scale: Tensor, *, max_rows: int, num_kept: int | None) -> None:
        """Keep the R class embeddings (R, D), T and a buffer for chunks of `max_rows` pixels.

        Of a pixel's classes only the `num_kept` nearest count, or all.
        """
        self._classes = classes * scale
        self._transposed = self._classes.t().contiguous()
        self._scale = scale
        self._num_kept = num_kept
        self._buffer = classes.new_empty((max_rows, len(classes)))
        self._sum = torch.zeros_like(self._transposed)

    def peaks(self, pixels: Tensor, hidden: Tensor) -> Tensor:
        """Compute the logits and return the largest of each pixel."""
        self._pixels = pixels
        self._terms = torch.mm(pixels, self._transposed, out=self._buffer[: len(pixels)])
        hide(self._terms, hidden, -FAR)
        if self._num_kept is not None:
            logits, places = self._terms.topk(self._num_kept, dim=1)
            self._terms.fill_(-FAR).scatter_(1, places, logits)
        return self._terms.amax(dim=1)

    def sums(self, offsets: Tensor) -> Tensor:
        """Turn the logits into softmax terms and return their sums."""
        return self._terms.sub_(offsets[:, None]).exp_().sum(dim=1)

    def gradients(self, weights: Tensor) -> Tensor:
        """Return the pixels' gradient and remember the classes'."""
        self._sum.addmm_((self._pixels * weights[:, None]).t(), self._terms)
        return torch.mm(self._terms, self._classes).mul_(weights[:, None])

    def class_gradients(self) -> Tensor:
        """Return the gradient of the R classes."""
        return self._sum.t() * self._scale


class SharedDistances:
    """logit = -T ||e - w||: squared distances from a matrix product, the close ones from the difference."""

    def __init__(self, classes: Tensor, scale: Tensor, *, max_rows: int, num_kept: int | None) -> None:
        """Keep the R class embeddings (R, D), T and two buffers for chunks of `max_rows` pixels.

        Of a pixel's classes only the `num_kept` nearest count, or all.
        """
        self._classes = classes
        self._scale = scale
        self._num_kept = num_kept
        self._norms = classes.square().sum(dim=1)
        ones = torch.ones_like(self._norms)
        # [e, |e|^2, 1] times this is |e|^2 + |w|^2 - 2 e.w
        self._transposed = torch.cat([classes.t() * -2, ones[None], self._norms[None]]).contiguous()
        self._with_ones = torch.cat([classes, ones[:, None]], dim=1)
        self._distance_buffer = classes.new_empty((max_rows, len(classes)))
        self._term_buffer = torch.empty_like(self._distance_buffer)
        self._sum = torch.zeros_like(self._with_ones.t().contiguous())
        self._close_sum = torch.zeros_like(classes)

    def peaks(self, pixels: Tensor, hidden: Tensor) -> Tensor:
        """Compute the distances and return the largest logit of each pixel."""
        self._pixels = pixels
        squares, norms = self._product_squares(pixels)
        hide(squares, hidden, FAR)
        nearest = squares.amin(dim=1)
        suspects = (nearest <= CLOSE_SHARE * (norms[:, 0] + self._norms.amax())).nonzero().squeeze(1)
        self._close = self._mend_close(squares, norms, suspects)
        if len(self._close[0]):
            nearest[suspects] = squares[suspects].amin(dim=1)
        if self._num_kept is not None:
            kept, places = squares.topk(self._num_kept, dim=1, largest=False)
            squares.fill_(FAR).scatter_(1, places, kept)
        self._distances = squares.sqrt_()
        return nearest.sqrt_().mul_(-self._scale)

    def _product_squares(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Return the squared distances (n, R) by the matrix product, and the pixels' squared norms (n, 1)."""
        norms = pixels.square().sum(dim=1, keepdim=True)
        augmented = torch.cat([pixels, norms, torch.ones_like(norms)], dim=1)
        return torch.mm(augmented, self._transposed, out=self._distance_buffer[: len(pixels)]), norms

    def _mend_close(self, squares: Tensor, norms: Tensor, suspects: Tensor) -> tuple[Tensor, Tensor]:
        """Recompute the squared distances that lost their digits; return their rows and columns."""
        rows, columns = (squares[suspects] <= CLOSE_SHARE * (norms[suspects] + self._norms)).nonzero(as_tuple=True)
        rows = suspects[rows]
        for row, column in self._pieces(rows, columns):
            squares[row, column] = (self._pixels[row] - self._classes[column]).square_().sum(dim=1)
        return rows, columns

    def _pieces(self, *lists: Tensor) -> Iterator[tuple[Tensor, ...]]:
        """Split lists of close terms so that gathering embeddings takes no more than the chunk itself."""
        length = max(1, self._distance_buffer.numel() // self._classes.shape[1])
        for start in range(0, len(lists[0]), length):
            yield tuple(entries[start : start + length] for entries in lists)

    def sums(self, offsets: Tensor) -> Tensor:
        """Turn the distances into softmax terms and return their sums."""
        terms = self._term_buffer[: len(offsets)]
        self._terms = torch.add(-offsets[:, None], self._distances, alpha=-float(self._scale), out=terms).exp_()
        return self._terms.sum(dim=1)

    def gradients(self, weights: Tensor) -> Tensor:
        """Return the pixels' gradient and remember the classes'."""
        # d logit / d e = -T (e - w) / distance, so the sum over classes is -T (e sum_c a_c - sum_c a_c w_c)
        rows, columns = self._close
        close_terms = self._terms[rows, columns]
        pulls = self._terms.div_(self._distances)
        pulls[rows, columns] = 0.0
        weights = weights[:, None] * self._scale
        grad_pixels = self._product_gradients(pulls, weights)

        # close terms would lose their digits in that difference too; at distance 0 there is no direction
        for row, column, term in self._pieces(rows, columns, close_terms):
            distance = self._distances[row, column]
            pull = (term * weights[row, 0]).div_(distance).masked_fill_(distance == 0, 0.0)
            toward = (self._classes[column] - self._pixels[row]).mul_(pull[:, None])
            grad_pixels.index_add_(0, row, toward)
            self._close_sum.index_add_(0, column, toward, alpha=-1)
        return grad_pixels

    def _product_gradients(self, pulls: Tensor, weights: Tensor) -> Tensor:
        """Return the pixels' gradient for the pulls (n, R) times the weights (n, 1), and remember the classes'."""
        sums = torch.mm(pulls, self._with_ones).mul_(weights)
        self._sum.addmm_(torch.cat([self._pixels * weights, weights], dim=1).t(), pulls)
        return sums[:, :-1] - self._pixels * sums[:, -1:]

    def class_gradients(self) -> Tensor:
        """Return the gradient of the R classes."""
        return self._sum[:-1].t() - self._classes * self._sum[-1][:, None] + self._close_sum
