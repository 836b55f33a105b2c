"""Which classes gain and which lose against the baseline."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from essnet.report.evaluations import TrialEvaluation, mean_ious

GROUPS = ("frequent", "common", "rare")


@dataclass(frozen=True)
class ClassChange:
    """A class's IoU under both, means over the seeds."""

    id: int
    name: str
    group: str | None
    pixels: int
    """Of the truth, in the first evaluation."""
    of_baseline: float
    of_best: float

    @property
    def change(self) -> float:
        """Return the gain in IoU; negative: a loss."""
        return self.of_best - self.of_baseline


@dataclass(frozen=True)
class GroupChange:
    """The classes of a frequency group together."""

    group: str
    num_classes: int
    gaining: int
    losing: int
    of_baseline: float
    of_best: float


def class_changes(best: Sequence[TrialEvaluation], baseline: Sequence[TrialEvaluation]) -> list[ClassChange]:
    """Return the classes that have an IoU under both, from the largest gain to the largest loss."""
    mine, others = mean_ious(best), mean_ious(baseline)
    changes = []
    for class_id in mine.keys() & others.keys():
        one = baseline[0].classes[class_id]
        changes.append(ClassChange(class_id, one.name, one.group, one.pixels, others[class_id], mine[class_id]))
    return sorted(changes, key=lambda change: (-change.change, change.id))


def group_changes(changes: Sequence[ClassChange]) -> list[GroupChange]:
    """Return one entry a frequency group; empty where the data set has none."""
    found = []
    for group in GROUPS:
        members = [change for change in changes if change.group == group]
        if members:
            found.append(
                GroupChange(
                    group,
                    num_classes=len(members),
                    gaining=sum(member.change > 0 for member in members),
                    losing=sum(member.change < 0 for member in members),
                    of_baseline=fmean(member.of_baseline for member in members),
                    of_best=fmean(member.of_best for member in members),
                )
            )
    return found
