"""What the page says of one sweep, part by part, in the order in which it stands there."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from essnet.config.errors import InputError
from essnet.report.answer import answer, describe
from essnet.report.class_changes import ClassChange, GroupChange, class_changes, group_changes
from essnet.report.comparison import Comparison
from essnet.report.evaluations import NO_EVALUATION, TrialEvaluation, class_name, evaluations_of
from essnet.report.page.chart import Absent, Chart
from essnet.report.page.class_chart import class_chart
from essnet.report.page.figures import Figure, Section, draw_sections
from essnet.report.page.pictures import Pictures, pictures_of
from essnet.report.trials import ComparedTrial
from essnet.sweep.folder import FAILED, SweepFolder

_MOST_CONFUSIONS = 20

T = TypeVar("T")


@dataclass(frozen=True)
class Both:
    """Evaluations of best and baseline, pairs of one seed where they have seeds in common."""

    best: Sequence[TrialEvaluation]
    baseline: Sequence[TrialEvaluation]


@dataclass(frozen=True)
class Confusion:
    """Pixels of one class that were taken for another; None where it is not among the largest of a run."""

    truth: str
    predicted: str
    of_baseline: int | None
    of_best: int | None


@dataclass(frozen=True)
class Classes:
    """What became of each class, best against baseline."""

    chart: Chart
    changes: Sequence[ClassChange]
    groups: Sequence[GroupChange]
    of: str
    """Which trials it is the mean of."""


@dataclass(frozen=True)
class SweepPart:
    """Everything that the page says of a sweep."""

    comparison: Comparison
    answer: str
    best: str | None
    """The best in words."""
    figures: Sequence[Section]
    classes: Classes | Absent
    pictures: Pictures | Absent
    confusions: Sequence[Confusion] | Absent
    failures: Sequence[ComparedTrial]
    command: str | None
    environment: Mapping[str, str]

    @property
    def charts(self) -> list[Chart]:
        """Return the charts that are there, in their order."""
        shown = [chart for section in self.figures for chart in section.charts if isinstance(chart, Chart)]
        return [*shown, self.classes.chart] if isinstance(self.classes, Classes) else shown


def sweep_part(comparison: Comparison, figures: Mapping[str, Figure] | None = None) -> SweepPart:
    """Gather what the page says of a sweep; where a trial left something damaged, the part that needs it says so.

    `figures` are those of other packages.
    """
    compared = _said(lambda: _evaluations_of_both(comparison))
    return SweepPart(
        comparison=comparison,
        answer=answer(comparison),
        best=describe(comparison, comparison.best) if comparison.best else None,
        figures=draw_sections(comparison, figures or {}),
        classes=compared if isinstance(compared, Absent) else _classes(compared),
        pictures=compared if isinstance(compared, Absent) else _said(lambda: _pictures(compared)),
        confusions=compared if isinstance(compared, Absent) else _confusions(compared),
        failures=[trial for trial in comparison.trials if trial.state == FAILED or trial.earlier_failures],
        command=_command(comparison),
        environment=_environment(comparison),
    )


def _said(make: Callable[[], T | Absent]) -> T | Absent:
    """Return what `make` returns, or the reason why it could not."""
    try:
        return make()
    except InputError as error:
        return Absent(str(error))


def _evaluations_of_both(comparison: Comparison) -> Both | Absent:
    """Return the evaluations of best and baseline of equal seeds; without a common seed the first of each."""
    if comparison.best is None or comparison.baseline is None:
        return Absent("Best and baseline do not both have a result yet.")
    best, baseline = (evaluations_of(one, comparison.directory) for one in (comparison.best, comparison.baseline))
    missing = [one.trial_id for one, found in ((comparison.baseline, baseline), (comparison.best, best)) if not found]
    if missing:
        return Absent(NO_EVALUATION.format(" and ".join(missing)))
    common = [seed for seed in best if seed in baseline]
    if common:
        return Both([best[seed] for seed in common], [baseline[seed] for seed in common])
    return Both(list(best.values())[:1], list(baseline.values())[:1])


def _classes(both: Both) -> Classes | Absent:
    changes = class_changes(both.best, both.baseline)
    if not changes:
        return Absent("No class has an IoU under both.")
    of = ", ".join(
        f"{mine.trial_id} (step {mine.step}) against {other.trial_id} (step {other.step})"
        for mine, other in zip(both.best, both.baseline, strict=True)
    )
    return Classes(chart=class_chart(changes), changes=changes, groups=group_changes(changes), of=of)


def _pictures(both: Both) -> Pictures | Absent:
    found = pictures_of(both.best[0], both.baseline[0])
    if not found.rows:
        return Absent("The two have no picture of the same image; evaluation.num_pictures says how many there are.")
    return found


def _confusions(both: Both) -> Sequence[Confusion] | Absent:
    best, baseline = both.best[0], both.baseline[0]
    of_best, of_baseline = (
        {(truth, predicted): pixels for truth, predicted, pixels in one.confusions} for one in (best, baseline)
    )
    pairs = of_best.keys() | of_baseline.keys()
    if not pairs:
        return Absent("No pixel was taken for another class.")
    ordered = sorted(pairs, key=lambda pair: (-max(of_best.get(pair, 0), of_baseline.get(pair, 0)), pair))
    names = {**best.classes, **baseline.classes}
    return [
        Confusion(class_name(names, pair[0]), class_name(names, pair[1]), of_baseline.get(pair), of_best.get(pair))
        for pair in ordered[:_MOST_CONFUSIONS]
    ]


def _command(comparison: Comparison) -> str | None:
    if comparison.best is None:
        return None
    words = ["launch.py", "train", "--from-trial", f"{comparison.sweep}/{comparison.best.trial_id}"]
    output = comparison.directory.parent
    if output.name != "runs":  # where commands look by themselves
        words += ["--output", str(output)]
    return shlex.join(words)


def _environment(comparison: Comparison) -> dict[str, str]:
    """Return what the sweep noted of where it was begun."""
    state: Mapping[str, Any] = SweepFolder(Path(comparison.directory)).state()
    noted = state.get("environment", {})
    known = {name: str(value) for name, value in noted.items()} if isinstance(noted, dict) else {}
    if "essnet" not in known and "essnet_version" in state:
        known = {"essnet": str(state["essnet_version"]), **known}
    return known
