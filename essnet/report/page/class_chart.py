"""The classes that gain and lose most, as bars."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from essnet.report.class_changes import ClassChange
from essnet.report.page.chart import Chart, axis, plain
from essnet.report.palette import BETTER, WORSE

_MOST_EACH = 12


def class_chart(changes: Sequence[ClassChange]) -> Chart:
    """Return a bar a class: the largest gains, and below them the largest losses."""
    gains = [change for change in changes if change.change > 0][:_MOST_EACH]
    losses = [change for change in changes if change.change < 0][-_MOST_EACH:]
    num_gaining = sum(change.change > 0 for change in changes)
    num_losing = sum(change.change < 0 for change in changes)
    ends = [f"{change.name} {change.change:+.3f}" for change in (*gains[:1], *losses[-1:])]
    return Chart(
        name="classes",
        alt=(
            f"Bar chart of changes in IoU against the baseline: of {len(changes)} classes {num_gaining} gain and "
            f"{num_losing} lose. {'; '.join(ends)}."
        ),
        note=(
            f"IoU of the best minus that of the baseline: of {len(changes)} classes {num_gaining} gain and "
            f"{num_losing} lose. Shown are at most {_MOST_EACH} of each; the table has all."
        ),
        traces=[_bars("gain", gains, BETTER), _bars("lose", losses, WORSE)],
        layout={
            "xaxis": axis("change in IoU"),
            "yaxis": axis("", type="category", autorange="reversed"),
            "barmode": "relative",
        },
        height=110 + 22 * max(4, len(gains) + len(losses)),
    )


def _bars(name: str, changes: Sequence[ClassChange], colour: str) -> dict[str, Any]:
    return {
        "type": "bar",
        "orientation": "h",
        "name": name,
        "x": [change.change for change in changes],
        # Two classes may have one name.
        "y": [plain(f"{change.name} ({change.id})") for change in changes],
        "text": [f"{change.of_baseline:.3f} → {change.of_best:.3f}" for change in changes],
        "textposition": "none",
        "marker": {"color": colour},
        "hovertemplate": "%{y}<br>%{text} (%{x:+.3f})<extra></extra>",
    }
