"""Which points are worth their cost."""

from __future__ import annotations

from collections.abc import Sequence

MEMORY_MIB, STEP_MS = "perf/loss_memory_mib", "perf/step_ms"
COST_FIGURES = (MEMORY_MIB, STEP_MS)
"""What a configuration costs: less is better."""


def pareto_front(points: Sequence[tuple[float, float]]) -> list[int]:
    """Return the places of the (cost, gain) points that no other point beats, cheapest first.

    A point beats another that costs no less and gains no more, unless both are equal: then both stay.
    """
    front: list[int] = []
    best: tuple[float, float] | None = None
    for place in sorted(range(len(points)), key=lambda place: (points[place][0], -points[place][1])):
        cost, gain = points[place]
        if best is None or gain > best[1] or (cost, gain) == best:
            front.append(place)
            best = cost, gain
    return front
