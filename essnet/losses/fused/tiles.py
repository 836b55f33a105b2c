"""The fused loss of some pixels, a tile of them at a time: nothing larger than a tile x classes is written."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from essnet.losses.fused.class_blocks import add_gradients, rank, smallest, softmax_pulls
from essnet.losses.fused.compiled import FAR, SMALLEST_DISTANCE, exponential, inlined, kernel, larger, smaller
from essnet.losses.fused.nearest import keep_nearest


@kernel
def softmax_tiles(
    pixels: Any,
    targets: Any,
    classes: Any,
    searched: Any,
    k: Any,
    shared: Any,
    num_shared: Any,
    place_in_shared: Any,
    shared_cost_offset: Any,
    scale: Any,
    by_distance: Any,
    with_gradients: Any,
    grad_pixels: Any,
    grad_classes: Any,
    grad_shared: Any,
    searched_ranks: Any,
    shared_ranks: Any,
) -> Any:
    """Return the sum of the losses of N pixels, and write their gradients.

    Shapes, D padded: pixels and grad_pixels (N, D), targets (N,); classes and grad_classes (C, D), to which the
    targets' and the neighbours' gradients are added. The k nearest are sought in `searched` (blocks, D, w), none
    where k = 0. The classes of `shared` (blocks, D, v), and grad_shared likewise, enter every pixel's softmax
    unless they are its target or a neighbour, with `shared_cost_offset` added to their costs;
    place_in_shared (C,) is -1 for those that are not there. searched_ranks (blocks held at once, pixels of a
    tile, w) and shared_ranks (..., v) are scratch. Where there are more shared blocks than are held at once,
    they are ranked a second time for the gradients.
    """
    held, tile, _ = shared_ranks.shape
    ids = np.zeros((tile, k + 1), np.int64)
    costs = np.zeros((k + 1, tile), np.float32)
    slopes = np.zeros((k + 1, tile), np.float32)
    shift = np.zeros(tile, np.float32)
    sums = np.zeros(tile, np.float32)
    weights = np.zeros(tile, np.float32)
    total = 0.0
    for start in range(0, len(pixels), tile):
        stop = min(start + tile, len(pixels))
        tile_pixels = pixels[start:stop]
        _rank_targets(tile_pixels, targets[start:stop], classes, by_distance, ids, costs)
        if k > 0:
            _find_neighbours(tile_pixels, searched, len(classes), k, by_distance, ids, costs, searched_ranks)
        _ranks_to_costs(stop - start, by_distance, costs, shift)
        sums[:] = 0
        for first in range(0, len(shared), held):
            blocks = shared[first : first + held]
            _rank_shared(tile_pixels, blocks, first, num_shared, by_distance, ids, place_in_shared, shared_ranks)
            _add_shared_terms(
                stop - start, len(blocks), shared_cost_offset, scale, by_distance, shared_ranks, shift, sums
            )
        _mark_without_rivals(stop - start, num_shared, ids, place_in_shared, sums)
        total += _losses(stop - start, scale, by_distance, costs, shift, sums, slopes, weights)
        if not with_gradients:
            continue
        tile_gradients = grad_pixels[start:stop]
        _own_gradients(tile_pixels, ids, slopes, classes, by_distance, tile_gradients, grad_classes)
        for first in range(0, len(shared), held):
            blocks = shared[first : first + held]
            if len(shared) > held:
                _rank_shared(tile_pixels, blocks, first, num_shared, by_distance, ids, place_in_shared, shared_ranks)
                for t in range(stop - start):
                    for b in range(len(blocks)):
                        softmax_pulls(shared_ranks, b, t, shift[t] - shared_cost_offset, scale, by_distance)
            for b in range(len(blocks)):
                add_gradients(
                    tile_pixels,
                    blocks[b],
                    shared_ranks[b],
                    weights,
                    by_distance,
                    tile_gradients,
                    grad_shared[first + b],
                )
    return total


@inlined
def _rank_targets(pixels: Any, targets: Any, classes: Any, by_distance: Any, ids: Any, costs: Any) -> None:
    """Make each pixel's target its first own class."""
    for t in range(len(pixels)):
        target = targets[t]
        ids[t, 0] = target
        target_rank = np.float32(0)
        for d in range(pixels.shape[1]):
            if by_distance:
                difference = classes[target, d] - pixels[t, d]
                target_rank += difference * difference
            else:
                target_rank -= classes[target, d] * pixels[t, d]
        costs[0, t] = target_rank


@inlined
def _find_neighbours(
    pixels: Any, searched: Any, num_classes: Any, k: Any, by_distance: Any, ids: Any, costs: Any, ranks: Any
) -> None:
    """Make each pixel's k nearest classes other than its target its further own classes."""
    held, _, width = ranks.shape
    num_kept = np.zeros(len(pixels), np.int64)
    kept_ranks = np.zeros((len(pixels), k), np.float32)
    lanes = np.zeros(width, np.float32)
    hits = np.zeros(width, np.int64)
    for first in range(0, len(searched), held):
        blocks = searched[first : first + held]
        first_class = first * width
        rank(pixels, blocks, num_classes - first_class, by_distance, ranks)
        for t in range(len(pixels)):
            target = ids[t, 0] - first_class
            if 0 <= target < len(blocks) * width:
                ranks[target // width, t, target % width] = FAR
            num_kept[t] = keep_nearest(
                ranks, len(blocks), t, first_class, k, num_kept[t], ids[t, 1:], kept_ranks[t], lanes, hits
            )
    for t in range(len(pixels)):
        for j in range(k):
            costs[j + 1, t] = kept_ranks[t, j]


@inlined
def _ranks_to_costs(num_pixels: Any, by_distance: Any, costs: Any, shift: Any) -> None:
    """Turn the own classes' ranks into costs, and let the shift be the smallest of the rivals among them."""
    if by_distance:
        for j in range(len(costs)):
            for t in range(num_pixels):
                costs[j, t] = np.sqrt(costs[j, t])
    for t in range(num_pixels):
        shift[t] = FAR
    for j in range(1, len(costs)):
        for t in range(num_pixels):
            shift[t] = smaller(shift[t], costs[j, t])


@inlined
def _rank_shared(
    pixels: Any,
    blocks: Any,
    first: Any,
    num_shared: Any,
    by_distance: Any,
    ids: Any,
    place_in_shared: Any,
    ranks: Any,
) -> None:
    """Rank the shared classes of some blocks, those that a pixel has of its own as FAR."""
    width = ranks.shape[2]
    rank(pixels, blocks, num_shared - first * width, by_distance, ranks)
    for t in range(len(pixels)):
        for j in range(ids.shape[1]):
            place = place_in_shared[ids[t, j]] - first * width
            if 0 <= place < len(blocks) * width:
                ranks[place // width, t, place % width] = FAR


@inlined
def _add_shared_terms(
    num_pixels: Any,
    num_blocks: Any,
    cost_offset: Any,
    scale: Any,
    by_distance: Any,
    ranks: Any,
    shift: Any,
    sums: Any,
) -> None:
    """Add the shared classes' softmax terms to the pixels' sums, which are scaled anew where the shift falls."""
    for t in range(num_pixels):
        nearest = FAR
        for b in range(num_blocks):
            nearest = smaller(nearest, smallest(ranks, b, t))
        if by_distance:
            nearest = np.sqrt(nearest)
        before = shift[t]
        shift[t] = smaller(before, nearest + cost_offset)
        sums[t] *= exponential((shift[t] - before) * scale)
    for b in range(num_blocks):
        for t in range(num_pixels):
            sums[t] += softmax_pulls(ranks, b, t, shift[t] - cost_offset, scale, by_distance)


@inlined
def _mark_without_rivals(num_pixels: Any, num_shared: Any, ids: Any, place_in_shared: Any, sums: Any) -> None:
    """Set the sum to -1 where the target is all there is: no neighbours, and no shared class but itself."""
    if ids.shape[1] == 1 and num_shared == 1:
        for t in range(num_pixels):
            if place_in_shared[ids[t, 0]] >= 0:
                sums[t] = np.float32(-1)


@inlined
def _losses(
    num_pixels: Any, scale: Any, by_distance: Any, costs: Any, shift: Any, sums: Any, slopes: Any, weights: Any
) -> Any:
    """Return the sum of softplus(log sum_rivals - target's logit), and what the gradients multiply with.

    `slopes` (1 + k, n) become d loss / d cost of the own classes, negated; for distances divided by the
    distance. `weights` (n,) times a shared class' softmax term are the same for it.
    """
    for j in range(1, len(costs)):
        for t in range(num_pixels):
            slopes[j, t] = exponential((shift[t] - costs[j, t]) * scale)
            sums[t] += slopes[j, t]
    total = 0.0
    for t in range(num_pixels):
        if sums[t] < 0:
            slopes[0, t] = weights[t] = np.float32(0)
            continue
        lead = math.log(sums[t]) + scale * (costs[0, t] - shift[t])
        decay = math.exp(-abs(lead))
        total += max(lead, 0.0) + math.log1p(decay)
        wrong = (1.0 if lead >= 0 else decay) / (1.0 + decay)
        slopes[0, t] = -wrong * scale
        weights[t] = wrong * scale / sums[t]
    for j in range(1, len(costs)):
        for t in range(num_pixels):
            slopes[j, t] *= weights[t]
    if by_distance:
        for j in range(len(costs)):
            for t in range(num_pixels):
                slopes[j, t] /= larger(costs[j, t], SMALLEST_DISTANCE)
    return total


@inlined
def _own_gradients(
    pixels: Any, ids: Any, slopes: Any, classes: Any, by_distance: Any, grad_pixels: Any, grad_classes: Any
) -> None:
    """Write the own classes' part of the pixels' gradients, and add that of the classes'."""
    for t in range(len(pixels)):
        for d in range(0, pixels.shape[1], 4):
            e0, e1, e2, e3 = pixels[t, d], pixels[t, d + 1], pixels[t, d + 2], pixels[t, d + 3]
            g0 = g1 = g2 = g3 = np.float32(0)
            for j in range(ids.shape[1]):
                c = ids[t, j]
                slope = slopes[j, t]
                w0, w1, w2, w3 = classes[c, d], classes[c, d + 1], classes[c, d + 2], classes[c, d + 3]
                if by_distance:
                    a0, a1, a2, a3 = slope * (w0 - e0), slope * (w1 - e1), slope * (w2 - e2), slope * (w3 - e3)
                    g0, g1, g2, g3 = g0 + a0, g1 + a1, g2 + a2, g3 + a3
                    grad_classes[c, d] -= a0
                    grad_classes[c, d + 1] -= a1
                    grad_classes[c, d + 2] -= a2
                    grad_classes[c, d + 3] -= a3
                else:
                    g0, g1, g2, g3 = g0 + slope * w0, g1 + slope * w1, g2 + slope * w2, g3 + slope * w3
                    grad_classes[c, d] += slope * e0
                    grad_classes[c, d + 1] += slope * e1
                    grad_classes[c, d + 2] += slope * e2
                    grad_classes[c, d + 3] += slope * e3
            grad_pixels[t, d] = g0
            grad_pixels[t, d + 1] = g1
            grad_pixels[t, d + 2] = g2
            grad_pixels[t, d + 3] = g3
