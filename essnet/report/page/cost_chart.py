"""Cost against accuracy: what each configuration takes, and which are worth it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from essnet.report.answer import describe
from essnet.report.comparison import Comparison
from essnet.report.configurations import Configuration
from essnet.report.metric_names import in_words
from essnet.report.page.chart import Absent, Chart, axis, marker, plain
from essnet.report.palette import arm_places
from essnet.report.pareto import MEMORY_MIB, STEP_MS

_WORDS = {
    MEMORY_MIB: ("memory", "memory of output layer and loss (MiB)", "MiB"),
    STEP_MS: ("time", "time of a step (ms)", "ms"),
}
_LOG_FROM = 20
"""Spans as wide as this have a logarithmic axis."""


def cost_chart(comparison: Comparison, figure: str) -> Chart | Absent:
    """Return the metric over a cost, a point a configuration that went to its end, with the Pareto front."""
    kind, title, unit = _WORDS[figure]
    shown = comparison.with_cost(figure)
    if not shown:
        return Absent(f"No configuration that went to its end has its {kind} measured.")
    front = comparison.pareto_front(figure)
    metric = in_words(comparison.metric)
    traces: list[dict[str, Any]] = [
        {
            "type": "scatter",
            "mode": "lines",
            "name": "Pareto front",
            "x": [one.metrics[figure] for one in front],
            "y": [_mean(one) for one in front],
            "line": {"color": "#999999", "dash": "dot", "width": 1.5},
            "hoverinfo": "skip",
        }
    ]
    for arm, place in arm_places(comparison).items():
        of_arm = [one for one in shown if one.arm == arm]
        if of_arm:
            traces.append(_points(comparison, of_arm, figure, unit, name=arm, place=place))
    costs = [one.metrics[figure] for one in shown]
    is_wide = min(costs) > 0 and max(costs) > _LOG_FROM * min(costs)
    names = ", ".join(one.trial_id for one in front)
    return Chart(
        name=f"cost-{kind}",
        alt=(
            f"Scatter plot of {metric} over the {title} of {len(shown)} configurations, {min(costs):.4g} to "
            f"{max(costs):.4g} {unit}. On the Pareto front: {names}."
        ),
        note=f"On the dotted line are those that no other one beats in both: {names}.",
        traces=traces,
        layout={
            "xaxis": axis(title, **({"type": "log"} if is_wide else {"rangemode": "tozero"})),
            "yaxis": axis(metric),
        },
        height=380,
    )


def _points(
    comparison: Comparison, of_arm: Sequence[Configuration], figure: str, unit: str, *, name: str, place: int | None
) -> dict[str, Any]:
    trace: dict[str, Any] = {
        "type": "scatter",
        "mode": "markers",
        "name": plain(name + (" (baseline)" if place is None else "")),
        "x": [one.metrics[figure] for one in of_arm],
        "y": [_mean(one) for one in of_arm],
        "marker": marker(place),
        "text": [plain(describe(comparison, one)) for one in of_arm],
        "customdata": [one.trial_id for one in of_arm],
        "hovertemplate": f"%{{text}}<br>%{{y:.4f}} at %{{x:.4g}} {unit}<br>%{{customdata}}<extra></extra>",
    }
    widths = [one.value.half_width if one.value else None for one in of_arm]
    if any(width is not None for width in widths):
        trace["error_y"] = {"type": "data", "array": [width or 0 for width in widths], "thickness": 1, "width": 3}
    return trace


def _mean(one: Configuration) -> float:
    assert one.value is not None
    return one.value.mean
