"""Which of the searched parameters mattered, arm by arm."""

from __future__ import annotations

from essnet.report.comparison import Comparison
from essnet.report.metric_names import in_words
from essnet.report.page.chart import Absent, Chart, axis, plain
from essnet.report.palette import arm_colour, arm_places


def importance_chart(comparison: Comparison) -> Chart | Absent:
    """Return the share of each parameter in the variance of the metric; of arms with enough configurations."""
    # Takes a second to import.
    from essnet.sweep.importance import FEWEST_POINTS, METHOD, parameter_importance

    places = arm_places(comparison)
    shares: dict[str, dict[str, float]] = {}
    left_out: list[str] = []
    for arm in places:
        of_arm = [one for one in comparison.configurations if one.arm == arm]
        if not any(path != "seed" for one in of_arm for path in one.first.point):
            continue
        known = [one for one in of_arm if one.is_complete]
        if len(known) < FEWEST_POINTS:
            left_out.append(f"{arm} has {len(known)}")
            continue
        points = [{path: value for path, value in one.first.point.items() if path != "seed"} for one in known]
        found = parameter_importance(points, [one.value.mean for one in known if one.value is not None])
        if found:
            shares[arm] = found
    fewest = f"an importance needs {FEWEST_POINTS} configurations of an arm that went to their end"
    if not shares:
        if not left_out:
            return Absent("Nothing was searched.")
        return Absent(f"Too few to tell: {fewest}; {', '.join(left_out)}.")
    metric = in_words(comparison.metric)
    words = "; ".join(
        f"{arm}: " + ", ".join(f"{path} {share:.0%}" for path, share in found.items()) for arm, found in shares.items()
    )
    paths = list(dict.fromkeys(path for found in shares.values() for path in found))
    return Chart(
        name="importance",
        alt=f"Bar chart of the share of each searched parameter in the variance of {metric}. {words}.",
        note=(
            f"Share in the variance of {metric}, by {METHOD}, from the configurations that went to their end. "
            "It says how much a parameter moved the result over the range that was searched, not which "
            f"value is best.{f' Left out: {fewest}; ' + ', '.join(left_out) + '.' if left_out else ''}"
        ),
        traces=[
            {
                "type": "bar",
                "orientation": "h",
                "name": plain(arm),
                "x": [found.get(path, 0.0) for path in paths],
                "y": [plain(path) for path in paths],
                "marker": {"color": arm_colour(places[arm])},
                "hovertemplate": "%{y}: %{x:.0%}<extra></extra>",
            }
            for arm, found in shares.items()
        ],
        layout={
            "xaxis": axis("share of the variance", range=[0, 1], tickformat=".0%"),
            "yaxis": axis("", type="category", autorange="reversed"),
            "barmode": "group",
        },
        height=max(220, 110 + 26 * len(paths) * len(shares)),
    )
