"""Colours and marks that colour-blind people can tell apart too."""

from __future__ import annotations

from collections.abc import Iterable

# Okabe and Ito's palette.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
BASELINE_COLOUR = "#767676"
"""Readable on white and on black."""
BETTER, WORSE = "#0072B2", "#D55E00"
SCALE = ("#E69F00", "#F2F2F2", "#56B4E9")
"""Worse, equal, better: as light as black text on it wants."""


def arm_places(arms: Iterable[str], baseline: str | None) -> dict[str, int | None]:
    """Return each arm's place among the colours, in order; last and None the baseline, which has its own colour."""
    others = [arm for arm in dict.fromkeys(arms) if arm != baseline]
    places: dict[str, int | None] = {arm: place for place, arm in enumerate(others)}
    return {**places, baseline: None} if baseline is not None else places


def arm_colour(place: int | None) -> str:
    """Return the colour of an arm by its place."""
    return BASELINE_COLOUR if place is None else COLOURS[place % len(COLOURS)]
