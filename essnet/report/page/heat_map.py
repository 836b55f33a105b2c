"""The metric over d and k, as the difference to the baseline."""

from __future__ import annotations

from essnet.report.comparison import Comparison
from essnet.report.configurations import Configuration, best_of
from essnet.report.metric_names import in_words
from essnet.report.page.chart import Absent, Chart, axis, plain
from essnet.report.palette import SCALE


def heat_map(comparison: Comparison) -> Chart | Absent:
    """Return a map with a row for each arm and k, a column for each d; colours are of the difference to the baseline.

    Where several configurations meet in a cell, as more was searched than d and k, the best one stands for them.
    """
    cells = _cells(comparison)
    if comparison.baseline is None:
        return Absent("The baseline has no result yet, so that there is no zero to compare with.")
    if len(cells) < 2:
        return Absent("Fewer than two configurations with an embedding have a result: there is nothing to map.")
    rows = sorted({row for row, _ in cells}, key=lambda row: (row[0], row[1] or 0))
    dims = sorted({dim for _, dim in cells})
    sign = 1 if comparison.mode == "max" else -1
    grid = [[cells.get((row, dim)) for dim in dims] for row in rows]
    differences = [[None if one is None or not one.difference else one.difference.mean for one in row] for row in grid]
    widest = max((abs(value) for row in differences for value in row if value is not None), default=0.0) or 1.0
    metric = in_words(comparison.metric)
    texts = [[_text(one) for one in row] for row in grid]
    best, best_dim = max(((row, dim) for row, dim in cells), key=lambda key: sign * _mean(cells[key]))
    return Chart(
        name="heat-map",
        alt=(
            f"Heat map of {metric}: {len(rows)} rows of arm and k, {len(dims)} values of d from {dims[0]} to "
            f"{dims[-1]}. The best cell is {_row_name(best)}, d = {best_dim}, with "
            f"{_text(cells[best, best_dim], ', ')} to the baseline."
        ),
        note=(
            "Each cell has the value and the difference to the baseline, which is the zero of the colours: blue is "
            "a gain, orange a loss. Only what went to its end is shown; where a cell has several "
            "configurations, its best."
        ),
        traces=[
            {
                "type": "heatmap",
                "x": [f"d = {dim}" for dim in dims],
                "y": [plain(_row_name(row)) for row in rows],
                "z": [[None if value is None else sign * value for value in row] for row in differences],
                "zmin": -widest,
                "zmax": widest,
                "colorscale": [[0, SCALE[0]], [0.5, SCALE[1]], [1, SCALE[2]]],
                "text": texts,
                "texttemplate": "%{text}",
                "textfont": {"color": "#000000"},
                "customdata": [[None if one is None else one.trial_id for one in row] for row in grid],
                "hovertemplate": "%{y}, %{x}<br>%{text}<br>%{customdata}<extra></extra>",
                "xgap": 2,
                "ygap": 2,
                "colorbar": {"title": {"text": "gain"}, "thickness": 12},
            }
        ],
        layout={"xaxis": axis("", type="category"), "yaxis": axis("", type="category", autorange="reversed")},
        height=max(240, 110 + 52 * len(rows)),
    )


def _cells(comparison: Comparison) -> dict[tuple[tuple[str, int | None], int], Configuration]:
    groups: dict[tuple[tuple[str, int | None], int], list[Configuration]] = {}
    for one in comparison.configurations:
        dim = one.first.embedding_dim
        if dim is not None and one.is_complete and one.difference is not None:
            groups.setdefault(((one.arm, one.first.num_neighbours), dim), []).append(one)
    found = {key: best_of(group, mode=comparison.mode) for key, group in groups.items()}
    return {key: one for key, one in found.items() if one is not None}


def _row_name(row: tuple[str, int | None]) -> str:
    arm, neighbours = row
    return arm if neighbours is None else f"{arm}, k = {neighbours}"


def _mean(one: Configuration) -> float:
    assert one.value is not None
    return one.value.mean


def _text(one: Configuration | None, separator: str = "<br>") -> str:
    if one is None or one.value is None or one.difference is None:
        return ""
    return f"{one.value.mean:.3f}{separator}{one.difference.mean:+.3f}"
