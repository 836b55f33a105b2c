"""Several sweeps in one chart: what each configuration gains and costs against the baseline of its own sweep."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from essnet.report.answer import describe
from essnet.report.comparison import Comparison
from essnet.report.metric_names import in_words
from essnet.report.page.chart import Absent, Chart, axis, marker, plain
from essnet.report.pareto import MEMORY_MIB, STEP_MS

_WORDS = {MEMORY_MIB: ("memory", "memory of output layer and loss"), STEP_MS: ("time", "time of a step")}


def joint_chart(comparisons: Sequence[Comparison], figure: str) -> Chart | Absent:
    """Return the difference in the metric over a cost as a multiple, both to the sweep's own baseline."""
    kind, words = _WORDS[figure]
    traces = [_points(comparison, figure, place) for place, comparison in enumerate(comparisons)]
    traces = [trace for trace in traces if trace["x"]]
    if not traces:
        return Absent(f"No sweep has a configuration whose {kind} and difference to a baseline are known.")
    metric = in_words(comparisons[0].metric)
    number = sum(len(trace["x"]) for trace in traces)
    return Chart(
        name=f"joint-{kind}",
        alt=(
            f"Scatter plot of the difference in {metric} to the baseline over the {words} as a multiple of the "
            f"baseline's, {number} configurations of {', '.join(trace['name'] for trace in traces)}."
        ),
        note=(
            f"Difference in {metric} over {words}, both against the baseline of the same sweep, which lies where the "
            "star is. Only what went to its end."
        ),
        traces=[
            *traces,
            {
                "type": "scatter", "mode": "markers", "name": "each baseline", "x": [1.0], "y": [0.0],
                "marker": marker(None), "hoverinfo": "skip",
            },
        ],
        layout={"xaxis": axis(f"{words}, x", rangemode="tozero"), "yaxis": axis(f"difference in {metric}")},
        height=380,
    )  # fmt: skip


def _points(comparison: Comparison, figure: str, place: int) -> dict[str, Any]:
    shown = [
        (ratio, one.difference.mean, one)
        for one in comparison.with_cost(figure)
        if one is not comparison.baseline and one.difference is not None
        if (ratio := comparison.ratio(one, figure)) is not None
    ]
    return {
        "type": "scatter",
        "mode": "markers",
        "name": plain(comparison.sweep),
        "meta": comparison.sweep,
        "x": [ratio for ratio, _, _ in shown],
        "y": [difference for _, difference, _ in shown],
        "marker": marker(place),
        "text": [plain(describe(comparison, one)) for _, _, one in shown],
        "customdata": [one.trial_id for _, _, one in shown],
        "hovertemplate": "%{text}<br>%{y:+.4f} at %{x:.2f} x<br>%{meta}/%{customdata}<extra></extra>",
    }
