"""Colours and marks that colour-blind people can tell apart too."""

from __future__ import annotations

from essnet.report.comparison import Comparison

# Okabe and Ito's palette.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
BASELINE_COLOUR = "#767676"
"""Readable on white and on black."""
BETTER, WORSE = "#0072B2", "#D55E00"
SCALE = ("#E69F00", "#F2F2F2", "#56B4E9")
"""Worse, equal, better: as light as black text on it wants."""


def arm_places(comparison: Comparison) -> dict[str, int | None]:
    """Return each arm's place among the colours, the same in all charts.

    The baseline comes last, above the others, and has no place: its colour is its own.
    """
    baseline = comparison.baseline.arm if comparison.baseline else None
    others = [arm for arm in dict.fromkeys(trial.arm for trial in comparison.trials) if arm != baseline]
    places: dict[str, int | None] = {arm: place for place, arm in enumerate(others)}
    return {**places, baseline: None} if baseline is not None else places


def arm_colour(place: int | None) -> str:
    """Return the colour of an arm by its place."""
    return BASELINE_COLOUR if place is None else COLOURS[place % len(COLOURS)]
