"""Class embeddings and a few pixels in two dimensions."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from essnet.report.comparison import Comparison
from essnet.report.evaluations import NO_EVALUATION, TrialEvaluation, class_name, evaluations_of
from essnet.report.page.chart import Absent, Chart, axis, plain
from essnet.report.palette import COLOURS

_MOST_PIXELS = 300
_MOST_NAMES = 80
_MARGIN = 0.12
"""Around the classes, as a part of what they span."""
_BEYOND = " Some pixels lie further out: a double click on the chart shows all."


def best_embeddings(comparison: Comparison) -> Chart | Absent:
    """Return the chart of the best configuration's embeddings.

    Raises
    ------
    InputError
        If its trial left them damaged.
    """
    if comparison.best is None:
        return Absent("No configuration beside the baseline has a result yet.")
    found = list(evaluations_of(comparison.best, comparison.directory).values())
    return embedding_chart(found[0]) if found else Absent(NO_EVALUATION.format(comparison.best.trial_id))


def embedding_chart(evaluation: TrialEvaluation) -> Chart | Absent:
    """Return the class embeddings of classes that were seen on the axes along which they vary most, and some pixels."""
    arrays = evaluation.embeddings()
    if arrays is None:
        return Absent(f"{evaluation.trial_id} left no embeddings.")
    classes = arrays["class_embeddings"].astype(np.float64)
    if min(classes.shape) < 2:
        return Absent("There is one class or one dimension only: nothing to lay out in two.")
    seen = sorted(class_id for class_id in evaluation.classes if class_id < len(classes))
    project, explained = principal_axes(classes)
    of_classes = project(classes[seen])
    pixels, truth = arrays["pixel_embeddings"][:_MOST_PIXELS].astype(np.float64), arrays["pixel_classes"][:_MOST_PIXELS]
    of_pixels = project(pixels) if len(pixels) else np.zeros((0, 2))
    # Classes with their names fill the view: with `dot`, where lengths mean little, pixels may lie far beyond them.
    low, high = of_classes.min(axis=0), of_classes.max(axis=0)
    low, high = low - _MARGIN * (high - low), high + _MARGIN * (high - low)
    some_beyond = bool(((of_pixels < low) | (of_pixels > high)).any())
    names = [class_name(evaluation.classes, class_id) for class_id in seen]
    with_names = len(seen) <= _MOST_NAMES
    traces: list[dict[str, Any]] = [
        {
            "type": "scatter",
            "mode": "markers",
            "name": "pixels",
            "x": of_pixels[:, 0].round(4).tolist(),
            "y": of_pixels[:, 1].round(4).tolist(),
            "marker": {"size": 5, "opacity": 0.6, "color": [_colour(class_id) for class_id in truth.tolist()]},
            "text": [plain(class_name(evaluation.classes, class_id)) for class_id in truth.tolist()],
            "hovertemplate": "a pixel of %{text}<extra></extra>",
        },
        {
            "type": "scatter",
            "mode": "markers+text" if with_names else "markers",
            "name": "classes",
            "x": of_classes[:, 0].round(4).tolist(),
            "y": of_classes[:, 1].round(4).tolist(),
            "marker": {
                "size": 10,
                "symbol": "diamond",
                "color": [_colour(class_id) for class_id in seen],
                "line": {"width": 1, "color": "#FFFFFF"},
            },
            "text": [plain(name) for name in names],
            "textposition": "top center",
            "textfont": {"size": 9},
            "hovertemplate": "%{text}<extra></extra>",
        },
    ]
    shares = [f"{share:.0%}" for share in explained]
    return Chart(
        name="embeddings",
        alt=(
            f"Scatter plot of {len(seen)} class embeddings and {len(of_pixels)} pixels of {evaluation.trial_id} on "
            f"their first two principal axes, which have {shares[0]} and {shares[1]} of the class embeddings' variance."
        ),
        note=(
            f"Diamonds are the embeddings of the {len(seen)} classes that were seen"
            f"{'' if with_names else ' (names on hover)'}, dots are pixels in the colour of their true class, of "
            f"{evaluation.trial_id}. The axes are those along which the class embeddings vary most (PCA): they have "
            f"{shares[0]} and {shares[1]} of their variance, so what lies together here may be apart in the other "
            f"dimensions. Colours repeat.{_BEYOND if some_beyond else ''}"
        ),
        traces=traces,
        layout={
            "xaxis": axis(f"first axis ({shares[0]})", zeroline=False, range=[float(low[0]), float(high[0])]),
            "yaxis": axis(
                f"second axis ({shares[1]})", zeroline=False, scaleanchor="x", range=[float(low[1]), float(high[1])]
            ),
        },
        height=520,
    )


def principal_axes(points: npt.NDArray[np.float64]) -> tuple[Any, tuple[float, float]]:
    """Return a function that projects (N, D) to (N, 2) on the first two principal axes of `points` (C, D).

    Beside it the share of each of the two in the variance. The sign of an axis is such that its largest part is
    positive.
    """
    centre = points.mean(axis=0)
    _, scales, axes = np.linalg.svd(points - centre, full_matrices=False)
    axes = axes[:2] * np.sign(axes[:2][np.arange(2), np.abs(axes[:2]).argmax(axis=1)])[:, None]
    total = float((scales**2).sum()) or 1.0
    shares = float(scales[0] ** 2 / total), float(scales[1] ** 2 / total)
    return lambda others: (others - centre) @ axes.T, shares


def _colour(class_id: int) -> str:
    return COLOURS[class_id % len(COLOURS)]
