"""The fused loss where classes are few: pixels innermost, so that vectors are full at any number of classes.

The classes that compete with a pixel's target are its k nearest others, k = C - 1 for the exact softmax. All ranks,
terms and gradients of a strip of pixels are in first- and second-level cache; every loop over a strip becomes
vectors of pixels.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from essnet.losses.fused.compiled import (
    FAR,
    SMALLEST_DISTANCE,
    exponential,
    inlined,
    kernel,
    larger,
    log_one_plus,
    smaller,
)

# Pixels of a strip; a constant, so that loops over them are unrolled without remainders.
STRIP = 128

_SMALLEST_SQUARE = SMALLEST_DISTANCE * SMALLEST_DISTANCE


@kernel
def softmax_strips(
    pixels: Any,
    targets: Any,
    classes: Any,
    k: Any,
    scale: Any,
    by_distance: Any,
    with_gradients: Any,
    grad_pixels: Any,
    grad_classes: Any,
) -> Any:
    """Return the sum of the losses of N pixels, and write their gradients.

    Shapes, D padded: pixels and grad_pixels (N, D), targets (N,), classes (C, D), and grad_classes (C, D), to which
    the classes' gradients are added; 1 <= k <= C - 1.
    """
    num_classes, dim = classes.shape
    strip = np.zeros((dim, STRIP), np.float32)
    grad_strip = np.zeros((dim, STRIP), np.float32)
    ranks = np.zeros((num_classes, STRIP), np.float32)
    nearest = np.zeros((k, STRIP), np.float32)
    target_cost = np.zeros(STRIP, np.float32)
    target_slope = np.zeros(STRIP, np.float32)
    shift = np.zeros(STRIP, np.float32)
    sums = np.zeros(STRIP, np.float32)
    weights = np.zeros(STRIP, np.float32)
    losses = np.zeros(STRIP, np.float32)
    total = 0.0
    for start in range(0, len(pixels), STRIP):
        num_pixels = min(STRIP, len(pixels) - start)
        for t in range(num_pixels):
            for d in range(dim):
                strip[d, t] = pixels[start + t, d]
        _rank(strip, classes, by_distance, ranks)
        for t in range(num_pixels):
            target = targets[start + t]
            target_cost[t] = ranks[target, t]
            ranks[target, t] = FAR
        if k < num_classes - 1:
            _keep_nearest(ranks, nearest)
        _ranks_to_terms(ranks, scale, by_distance, target_cost, shift, sums)
        _losses(scale, by_distance, target_cost, shift, sums, losses, weights, target_slope)
        for t in range(num_pixels):
            total += losses[t]
        if not with_gradients:
            continue
        _terms_to_pulls(ranks, weights)
        for t in range(num_pixels):
            ranks[targets[start + t], t] = target_slope[t]
        for t in range(num_pixels, STRIP):  # what the strip before left there
            for c in range(num_classes):
                ranks[c, t] = np.float32(0)
        _gradients(strip, classes, ranks, by_distance, grad_strip, grad_classes)
        for t in range(num_pixels):
            for d in range(dim):
                grad_pixels[start + t, d] = grad_strip[d, t]
    return total


@inlined
def _rank(strip: Any, classes: Any, by_distance: Any, ranks: Any) -> None:
    """Write squared distances, or negative products, of all classes and pixels."""
    num_classes, dim = classes.shape
    for c in range(num_classes):
        for t in range(STRIP):
            ranks[c, t] = np.float32(0)
        for d in range(0, dim, 4):
            w0, w1, w2, w3 = classes[c, d], classes[c, d + 1], classes[c, d + 2], classes[c, d + 3]
            if by_distance:
                for t in range(STRIP):
                    a0, a1 = w0 - strip[d, t], w1 - strip[d + 1, t]
                    a2, a3 = w2 - strip[d + 2, t], w3 - strip[d + 3, t]
                    ranks[c, t] += a0 * a0 + a1 * a1 + a2 * a2 + a3 * a3
            else:
                for t in range(STRIP):
                    products = w0 * strip[d, t] + w1 * strip[d + 1, t] + w2 * strip[d + 2, t] + w3 * strip[d + 3, t]
                    ranks[c, t] -= products


@inlined
def _keep_nearest(ranks: Any, nearest: Any) -> None:
    """Set all ranks to FAR but each pixel's smallest, as many as `nearest` (k, STRIP), scratch, has rows.

    Where several ranks equal the largest that is kept, the first of them are.
    """
    k = len(nearest)
    nearest[:] = FAR
    handed_on = np.zeros(STRIP, np.float32)
    for c in range(len(ranks)):
        for t in range(STRIP):
            handed_on[t] = ranks[c, t]
        for j in range(min(k, c + 1)):  # each row keeps the smaller and hands the larger on
            for t in range(STRIP):
                kept, rest = nearest[j, t], handed_on[t]
                nearest[j, t] = smaller(kept, rest)
                handed_on[t] = larger(kept, rest)
    bound = nearest[k - 1]
    room = np.zeros(STRIP, np.float32)
    for j in range(k):
        for t in range(STRIP):
            room[t] += np.float32(1) if nearest[j, t] == bound[t] else np.float32(0)
    for c in range(len(ranks)):
        for t in range(STRIP):
            on_bound = np.float32(1) if ranks[c, t] == bound[t] else np.float32(0)
            beyond = ranks[c, t] > bound[t] or on_bound > room[t]
            room[t] = larger(room[t] - on_bound, np.float32(0))
            ranks[c, t] = FAR if beyond else ranks[c, t]


@inlined
def _ranks_to_terms(ranks: Any, scale: Any, by_distance: Any, target_cost: Any, shift: Any, sums: Any) -> None:
    """Turn the rivals' ranks into softmax terms, for distances divided by the distance.

    A term is exp(scale (shift - cost)), where `shift` is the pixel's smallest cost; `sums` are those of the terms.
    """
    for t in range(STRIP):
        shift[t] = FAR
        sums[t] = np.float32(0)
    for c in range(len(ranks)):
        for t in range(STRIP):
            shift[t] = smaller(shift[t], ranks[c, t])
    if by_distance:
        for t in range(STRIP):
            shift[t] = np.sqrt(larger(shift[t], _SMALLEST_SQUARE))
            target_cost[t] = np.sqrt(larger(target_cost[t], _SMALLEST_SQUARE))
        for c in range(len(ranks)):
            for t in range(STRIP):
                squared = larger(ranks[c, t], _SMALLEST_SQUARE)
                inverse = np.float32(1) / np.sqrt(squared)
                term = exponential((shift[t] - squared * inverse) * scale)
                sums[t] += term
                ranks[c, t] = term * inverse
    else:
        for c in range(len(ranks)):
            for t in range(STRIP):
                term = exponential((shift[t] - ranks[c, t]) * scale)
                sums[t] += term
                ranks[c, t] = term


@inlined
def _losses(
    scale: Any,
    by_distance: Any,
    target_cost: Any,
    shift: Any,
    sums: Any,
    losses: Any,
    weights: Any,
    target_slope: Any,
) -> None:
    """Write each pixel's loss, what multiplies its rivals' terms in the gradient, and its target's slope.

    With s the sum of the rivals' terms and u the target's own, the loss is log(1 + s / u). Of the target and the
    nearest rival the nearer one has the term 1, so that nothing overflows.
    """
    for t in range(STRIP):
        lead = (target_cost[t] - shift[t]) * scale  # of the nearest rival
        decay = exponential(-abs(lead))
        behind = lead > 0
        target_term = decay if behind else np.float32(1)
        rivals = sums[t] * (np.float32(1) if behind else decay)
        excess = rivals + decay - np.float32(1) if behind else rivals
        losses[t] = log_one_plus(excess) + larger(lead, np.float32(0))
        factor = scale / (rivals + target_term)
        weights[t] = factor * (np.float32(1) if behind else decay)
        slope = -factor * rivals
        target_slope[t] = slope / target_cost[t] if by_distance else slope


@inlined
def _terms_to_pulls(ranks: Any, weights: Any) -> None:
    for c in range(len(ranks)):
        for t in range(STRIP):
            ranks[c, t] *= weights[t]


@inlined
def _gradients(strip: Any, classes: Any, pulls: Any, by_distance: Any, grad_strip: Any, grad_classes: Any) -> None:
    """Write d loss / d pixels, and add d loss / d classes, for d loss / d cost = -pull (times the distance)."""
    num_classes, dim = classes.shape
    grad_strip[:] = 0
    for d in range(0, dim, 4):
        for c in range(num_classes):
            w0, w1, w2, w3 = classes[c, d], classes[c, d + 1], classes[c, d + 2], classes[c, d + 3]
            g0 = g1 = g2 = g3 = np.float32(0)
            if by_distance:
                for t in range(STRIP):
                    pull = pulls[c, t]
                    a0, a1 = pull * (w0 - strip[d, t]), pull * (w1 - strip[d + 1, t])
                    a2, a3 = pull * (w2 - strip[d + 2, t]), pull * (w3 - strip[d + 3, t])
                    grad_strip[d, t] += a0
                    grad_strip[d + 1, t] += a1
                    grad_strip[d + 2, t] += a2
                    grad_strip[d + 3, t] += a3
                    g0 -= a0
                    g1 -= a1
                    g2 -= a2
                    g3 -= a3
            else:
                for t in range(STRIP):
                    pull = pulls[c, t]
                    grad_strip[d, t] += pull * w0
                    grad_strip[d + 1, t] += pull * w1
                    grad_strip[d + 2, t] += pull * w2
                    grad_strip[d + 3, t] += pull * w3
                    g0 += pull * strip[d, t]
                    g1 += pull * strip[d + 1, t]
                    g2 += pull * strip[d + 2, t]
                    g3 += pull * strip[d + 3, t]
            grad_classes[c, d] += g0
            grad_classes[c, d + 1] += g1
            grad_classes[c, d + 2] += g2
            grad_classes[c, d + 3] += g3
