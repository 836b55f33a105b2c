"""Learning curves by arm."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from statistics import fmean
from typing import Any

from essnet.report.comparison import Comparison
from essnet.report.metric_names import in_words
from essnet.report.page.chart import Absent, Chart, axis, plain
from essnet.report.palette import arm_colour, arm_places
from essnet.report.trials import ComparedTrial
from essnet.sweep.folder import COMPLETED, RUNNING, STOPPED

_MOST_STOPPED = 40


def curve_chart(comparison: Comparison) -> Chart | Absent:
    """Return the metric over steps: of each arm its best configuration, in the band of all its complete trials."""
    if comparison.metric.startswith("perf/"):
        return Absent(f"{comparison.metric} is measured over the whole run: it has no learning curve.")
    if not any(len(trial.curve) > 1 for trial in comparison.trials):
        return Absent("No trial has been evaluated more than once.")
    metric = in_words(comparison.metric)
    traces: list[dict[str, Any]] = []
    ends: list[str] = []
    stopped: list[tuple[ComparedTrial, str]] = []
    for arm, place in arm_places(comparison).items():
        best = comparison.best_of_arm(arm)
        colour = arm_colour(place)
        of_arm = [trial for trial in comparison.trials if trial.arm == arm]
        complete = [trial for trial in of_arm if trial.state == COMPLETED]
        if len(complete) > 1:
            traces += _band(complete, colour)
        going_on = [trial for trial in best.counted if trial.state in (COMPLETED, RUNNING)] if best else []
        steps, means = _mean_curve(going_on)
        if best is not None and steps:
            name = arm + (" (baseline)" if place is None else "")
            traces.append(_line(steps, means, colour, name, best.trial_id))
            ends.append(f"{arm} ends at {means[-1]:.3f} after {steps[-1]} steps")
        stopped += [(trial, colour) for trial in of_arm if trial.state == STOPPED and trial.curve]
    traces += [
        _stopped(trial, colour, is_first=not place) for place, (trial, colour) in enumerate(stopped[:_MOST_STOPPED])
    ]
    if not traces:
        return Absent("No trial that runs or has come to its end has been evaluated.")
    note = (
        "A line is the best configuration of an arm, the mean over its seeds; the band reaches from the lowest to the "
        "highest of all its trials that went to their end."
    )
    if stopped:
        number = f" (the first {_MOST_STOPPED} of {len(stopped)})" if len(stopped) > _MOST_STOPPED else ""
        note += f" Thin dotted lines end where a trial was stopped early{number}: they are in no line or band."
    last = max(trial.curve[-1][0] for trial in comparison.trials if trial.curve)
    return Chart(
        name="curves",
        alt=f"Line chart of {metric} over optimizer steps, a line an arm: {'; '.join(ends)}.",
        note=note,
        traces=traces,
        layout={"xaxis": axis("optimizer steps", range=[0, 1.03 * last]), "yaxis": axis(metric)},
        height=400,
    )


def _by_step(trials: Sequence[ComparedTrial]) -> dict[int, list[float]]:
    values: dict[int, list[float]] = defaultdict(list)
    for trial in trials:
        for step, value in trial.curve:
            values[step].append(value)
    return dict(sorted(values.items()))


def _mean_curve(trials: Sequence[ComparedTrial]) -> tuple[list[int], list[float]]:
    """Return steps at which all trials were evaluated, and the means there."""
    values = {step: found for step, found in _by_step(trials).items() if len(found) == len(trials)}
    return list(values), [fmean(found) for found in values.values()]


def _band(trials: Sequence[ComparedTrial], colour: str) -> list[dict[str, Any]]:
    values = _by_step(trials)
    common = {
        "type": "scatter", "mode": "lines", "x": list(values), "line": {"width": 0, "color": colour},
        "showlegend": False, "hoverinfo": "skip",
    }  # fmt: skip
    red, green, blue = (int(colour[place : place + 2], 16) for place in (1, 3, 5))
    return [
        {**common, "y": [min(found) for found in values.values()]},
        {
            **common,
            "y": [max(found) for found in values.values()],
            "fill": "tonexty",
            "fillcolor": f"rgba({red},{green},{blue},0.18)",
        },
    ]


def _line(steps: list[int], means: list[float], colour: str, name: str, trial_id: str) -> dict[str, Any]:
    return {
        "type": "scatter", "mode": "lines", "name": plain(name), "x": steps, "y": means,
        "line": {"color": colour, "width": 2.5, "dash": "dash" if name.endswith("(baseline)") else "solid"},
        "customdata": [trial_id] * len(steps),
        "hovertemplate": f"{plain(name)}<br>step %{{x}}: %{{y:.4f}}<br>%{{customdata}}<extra></extra>",
    }  # fmt: skip


def _stopped(trial: ComparedTrial, colour: str, *, is_first: bool) -> dict[str, Any]:
    return {
        "type": "scatter", "mode": "lines", "name": "stopped early",
        "x": [step for step, _ in trial.curve], "y": [value for _, value in trial.curve],
        "line": {"color": colour, "width": 1.5, "dash": "dot"}, "showlegend": is_first,
        "customdata": [trial.trial_id] * len(trial.curve),
        "hovertemplate": "%{customdata}, stopped<br>step %{x}: %{y:.4f}<extra></extra>",
    }  # fmt: skip
