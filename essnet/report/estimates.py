"""Means over seeds, and how sure they are."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, stdev

_CONFIDENCE = 0.95


@dataclass(frozen=True)
class Estimate:
    """A mean, and half the width of its interval: None where there is one value only."""

    mean: float
    half_width: float | None
    count: int
    """Of how many values it is the mean."""

    @property
    def contains_zero(self) -> bool:
        """Whether there is an interval and 0 lies in it."""
        return self.half_width is not None and abs(self.mean) <= self.half_width

    def text(self, *, sign: str = "") -> str:
        """Return it as it stands in a table; `sign="+"` for a difference."""
        return f"{self.mean:{sign}.3f}" + ("" if self.half_width is None else f" ± {self.half_width:.3f}")


def estimate(values: Sequence[float]) -> Estimate:
    """Return mean and Student's 95 % interval of independent values, of which there is at least one."""
    mean, count = fmean(values), len(values)
    if count == 1:
        return Estimate(mean, None, count)
    # Takes half a second to import, and most sweeps have one seed.
    from scipy.special import stdtrit

    quantile = float(stdtrit(count - 1, (1 + _CONFIDENCE) / 2))
    return Estimate(mean, quantile * stdev(values) / math.sqrt(count), count)
