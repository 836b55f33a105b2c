"""The k classes of smallest rank, picked from ranks that lie in cache.

The ranks of one pixel are (blocks, lanes). The smallest of each lane, over the blocks, are searched by bisection
for a bound that at least k lanes reach; so do then at least k classes, and few more. Only they are looked at
one by one.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from essnet.losses.fused.compiled import FAR, inlined, larger, smaller

# Each halves the interval; what is still together after so many differs by rounding.
_MAX_BISECTIONS = 24


@inlined
def keep_nearest(
    ranks: Any,
    num_blocks: Any,
    pixel: Any,
    first_class: Any,
    k: Any,
    num_kept: Any,
    ids: Any,
    kept_ranks: Any,
    lanes: Any,
    hits: Any,
) -> Any:
    """Merge the classes of `num_blocks` blocks into the nearest ones so far; return how many are kept, at most k.

    Shapes: ranks (>= num_blocks, pixels, w), of which the pixel's are taken; ids (>= k,) and kept_ranks (>= k,)
    hold what is kept, in no order; lanes (w,) and hits (w,) are scratch. Classes of rank FAR are never kept.
    """
    width = len(lanes)
    for c in range(width):
        lanes[c] = ranks[0, pixel, c]
    for b in range(1, num_blocks):
        for c in range(width):
            lanes[c] = smaller(lanes[c], ranks[b, pixel, c])
    bound = _bound(lanes, k)
    worst = _largest(kept_ranks, num_kept)
    if num_kept == k:
        bound = smaller(bound, kept_ranks[worst])

    num_hits = 0
    for c in range(width):  # without a branch, which would be mispredicted
        hits[num_hits] = c
        num_hits += lanes[c] <= bound
    for hit in range(num_hits):
        c = hits[hit]
        for b in range(num_blocks):
            candidate = ranks[b, pixel, c]
            if candidate > bound or candidate >= FAR:
                continue
            if num_kept < k:
                ids[num_kept] = first_class + b * width + c
                kept_ranks[num_kept] = candidate
                num_kept += 1
                if num_kept == k:
                    worst = _largest(kept_ranks, k)
            elif candidate < kept_ranks[worst]:
                ids[worst] = first_class + b * width + c
                kept_ranks[worst] = candidate
                worst = _largest(kept_ranks, k)
    return num_kept


@inlined
def _bound(lanes: Any, k: Any) -> Any:
    """Return a bound that at least k lanes are within, and not many more; FAR if there are fewer."""
    low, high = FAR, -FAR
    for c in range(len(lanes)):
        lane = lanes[c]
        low = smaller(low, lane)
        high = larger(high, lane if lane < FAR else -FAR)
    within = _count_within(lanes, high)
    if within < k:
        return FAR
    enough = k + 3 + k // 8
    for _ in range(_MAX_BISECTIONS):
        if within <= enough:
            break
        middle = np.float32(0.5) * (low + high)
        count = _count_within(lanes, middle)
        if count >= k:
            high, within = middle, count
        else:
            low = middle
    return high


@inlined
def _count_within(lanes: Any, bound: Any) -> Any:
    count = np.float32(0)
    for c in range(len(lanes)):
        count += np.float32(1) if lanes[c] <= bound else np.float32(0)
    return count


@inlined
def _largest(row: Any, length: Any) -> Any:
    place = 0
    for j in range(1, length):
        if row[j] > row[place]:
            place = j
    return place
