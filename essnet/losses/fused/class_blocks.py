"""Classes in blocks: what a tile of pixels computes with every class of a block, and block after block.

A class counts by its *cost* for a pixel, in which smaller is nearer: the distance ||e - w||, or the negative
product -e.w. A logit is minus the logit scale times the cost. Distances are computed from the differences
themselves, so that they keep their digits however small they are.

The kernels take four dimensions at a time, and classes innermost: those loops become vectors.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from torch import Tensor
from torch.nn import functional

from essnet.losses.fused.compiled import FAR, SMALLEST_DISTANCE, exponential, inlined, larger, smaller

# Four rows of a block, of its gradient, and a pixel's ranks stay in first-level cache, a tile's ranks in the second.
MAX_BLOCK_CLASSES = 512
_VECTOR = 16
_SMALLEST_SQUARE = SMALLEST_DISTANCE * SMALLEST_DISTANCE
_UNROLLED = 4


def padded_rows(embeddings: Tensor) -> Tensor:
    """Return embeddings (N, D), detached, as contiguous rows; D is filled up with zeros to a multiple of four."""
    missing = -embeddings.shape[1] % _UNROLLED
    rows = embeddings.detach()
    return functional.pad(rows, (0, missing)) if missing else rows.contiguous()


def class_blocks(classes: Tensor) -> Tensor:
    """Return classes (C, D) as (blocks, padded D, classes of a block); the last block is filled up with zeros."""
    num_blocks = -(-len(classes) // MAX_BLOCK_CLASSES)
    width = -(-len(classes) // (num_blocks * _VECTOR)) * _VECTOR
    rows = padded_rows(classes)
    rows = functional.pad(rows, (0, 0, 0, num_blocks * width - len(rows)))
    return rows.view(num_blocks, width, -1).transpose(1, 2).contiguous()


def classes_of_blocks(blocks: Tensor, num_classes: int, embedding_dim: int) -> Tensor:
    """Return (C, D) from blocks: the inverse of `class_blocks`."""
    return blocks.transpose(1, 2).reshape(-1, blocks.shape[1])[:num_classes, :embedding_dim]


@inlined
def rank(pixels: Any, blocks: Any, num_classes: Any, by_distance: Any, ranks: Any) -> None:
    """Write what ranks classes: squared distances, or costs of products; FAR beyond the last class.

    Shapes: pixels (n, D), blocks (b, D, w), ranks (>= b, >= n, w); `num_classes` count from the first block.
    """
    width = blocks.shape[2]
    for b in range(len(blocks)):
        for t in range(len(pixels)):
            for c in range(width):
                ranks[b, t, c] = np.float32(0)
        if by_distance:
            _add_squared_distances(pixels, blocks[b], ranks[b])
        else:
            _add_negative_products(pixels, blocks[b], ranks[b])
    last = len(blocks) - 1
    for t in range(len(pixels)):
        for c in range(num_classes - last * width, width):
            ranks[last, t, c] = FAR


@inlined
def _add_squared_distances(pixels: Any, block: Any, ranks: Any) -> None:
    dim, width = block.shape
    for d in range(0, dim, 4):
        for t in range(len(pixels)):
            e0, e1, e2, e3 = pixels[t, d], pixels[t, d + 1], pixels[t, d + 2], pixels[t, d + 3]
            for c in range(width):
                a0, a1 = block[d, c] - e0, block[d + 1, c] - e1
                a2, a3 = block[d + 2, c] - e2, block[d + 3, c] - e3
                ranks[t, c] += a0 * a0 + a1 * a1 + a2 * a2 + a3 * a3


@inlined
def _add_negative_products(pixels: Any, block: Any, ranks: Any) -> None:
    dim, width = block.shape
    for d in range(0, dim, 4):
        for t in range(len(pixels)):
            e0, e1, e2, e3 = pixels[t, d], pixels[t, d + 1], pixels[t, d + 2], pixels[t, d + 3]
            for c in range(width):
                products = block[d, c] * e0 + block[d + 1, c] * e1 + block[d + 2, c] * e2 + block[d + 3, c] * e3
                ranks[t, c] -= products


@inlined
def smallest(ranks: Any, b: Any, t: Any) -> Any:
    """Return the smallest rank of a pixel in a block."""
    least = FAR
    for c in range(ranks.shape[2]):
        least = smaller(least, ranks[b, t, c])
    return least


@inlined
def softmax_pulls(ranks: Any, b: Any, t: Any, shift: Any, scale: Any, by_distance: Any) -> Any:
    """Return sum_c exp(scale (shift - cost_c)) over a block for a pixel, whose ranks become the classes' pulls.

    A pull is the softmax term; for distances divided by the distance, to multiply differences with.
    """
    total = np.float32(0)
    if by_distance:
        for c in range(ranks.shape[2]):
            squared = larger(ranks[b, t, c], _SMALLEST_SQUARE)
            inverse = np.float32(1) / np.sqrt(squared)  # one approximation and a Newton step: no root, no division
            term = exponential((shift - squared * inverse) * scale)
            total += term
            ranks[b, t, c] = term * inverse
    else:
        for c in range(ranks.shape[2]):
            term = exponential((shift - ranks[b, t, c]) * scale)
            total += term
            ranks[b, t, c] = term
    return total


@inlined
def add_gradients(
    pixels: Any, block: Any, pulls: Any, weights: Any, by_distance: Any, grad_pixels: Any, grad_block: Any
) -> None:
    """Add d loss / d pixels and d loss / d classes for d loss / d cost = -weight * softmax term.

    Shapes: pixels and grad_pixels (n, D), block and grad_block (D, w), pulls (>= n, w), weights (>= n,).
    """
    if by_distance:
        _add_distance_gradients(pixels, block, pulls, weights, grad_pixels, grad_block)
    else:
        _add_product_gradients(pixels, block, pulls, weights, grad_pixels, grad_block)


@inlined
def _add_distance_gradients(
    pixels: Any, block: Any, pulls: Any, weights: Any, grad_pixels: Any, grad_block: Any
) -> None:
    dim, width = block.shape
    for d in range(0, dim, 4):
        for t in range(len(pixels)):
            e0, e1, e2, e3 = pixels[t, d], pixels[t, d + 1], pixels[t, d + 2], pixels[t, d + 3]
            g0 = g1 = g2 = g3 = np.float32(0)
            weight = weights[t]
            for c in range(width):
                pull = weight * pulls[t, c]
                a0, a1 = pull * (block[d, c] - e0), pull * (block[d + 1, c] - e1)
                a2, a3 = pull * (block[d + 2, c] - e2), pull * (block[d + 3, c] - e3)
                g0 += a0
                g1 += a1
                g2 += a2
                g3 += a3
                grad_block[d, c] -= a0
                grad_block[d + 1, c] -= a1
                grad_block[d + 2, c] -= a2
                grad_block[d + 3, c] -= a3
            grad_pixels[t, d] += g0
            grad_pixels[t, d + 1] += g1
            grad_pixels[t, d + 2] += g2
            grad_pixels[t, d + 3] += g3


@inlined
def _add_product_gradients(
    pixels: Any, block: Any, pulls: Any, weights: Any, grad_pixels: Any, grad_block: Any
) -> None:
    dim, width = block.shape
    for d in range(0, dim, 4):
        for t in range(len(pixels)):
            weight = weights[t]
            e0, e1 = weight * pixels[t, d], weight * pixels[t, d + 1]
            e2, e3 = weight * pixels[t, d + 2], weight * pixels[t, d + 3]
            g0 = g1 = g2 = g3 = np.float32(0)
            for c in range(width):
                pull = pulls[t, c]
                g0 += pull * block[d, c]
                g1 += pull * block[d + 1, c]
                g2 += pull * block[d + 2, c]
                g3 += pull * block[d + 3, c]
                grad_block[d, c] += pull * e0
                grad_block[d + 1, c] += pull * e1
                grad_block[d + 2, c] += pull * e2
                grad_block[d + 3, c] += pull * e3
            grad_pixels[t, d] += weight * g0
            grad_pixels[t, d + 1] += weight * g1
            grad_pixels[t, d + 2] += weight * g2
            grad_pixels[t, d + 3] += weight * g3
