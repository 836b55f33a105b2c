"""A sweep in MLflow's UI: a saved view of its trials, which opens with the charts that answer the sweep's question."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from essnet.config.errors import InputError
from essnet.tracking.refusal import why_refused

# Where MLflow's UI keeps the views that its "Share" button makes: plain JSON in a tag of the experiment.
_VIEWS = "mlflow.sharedViewState."
_SECTION = "essnet-comparison"
_COSTS = ("perf/loss_memory_mib", "perf/step_ms")
_MOST_RUNS = 200


def publish_view(
    uri: str,
    parent_run_id: str,
    *,
    title: str,
    metric: str,
    mode: str,
    axes: Sequence[Sequence[str]],
) -> str:
    """Save the view of a sweep's trials in their store; return what follows the server's address to open it.

    Parameters
    ----------
    uri
        The store's address.
    parent_run_id
        Run of the sweep.
    title
        What stands above the charts.
    metric, mode
        What the trials are compared by, and whether `max` or `min` of it is best.
    axes
        Parameters that are searched; each of these groups gets a chart of parallel coordinates.

    Raises
    ------
    InputError
        If the store does not answer, or the run is not there.
    """
    client = MlflowClient(tracking_uri=uri)
    view = {
        "searchFilter": f"tags.`mlflow.parentRunId` = '{parent_run_id}'",
        "orderByKey": f"metrics.`{metric}`",
        "orderByAsc": mode == "min",
        "runsHiddenMode": "SHOW_ALL",
        "compareRunSections": [
            {"uuid": _SECTION, "name": title, "display": True, "isReordered": True, "deleted": False}
        ],
        "isAccordionReordered": True,
        "compareRunCharts": _charts(metric, axes),
    }
    try:
        experiment_id = client.get_run(parent_run_id).info.experiment_id
        client.set_experiment_tag(experiment_id, f"{_VIEWS}{parent_run_id}", json.dumps(view))
    except MlflowException as error:
        raise InputError(f"{uri}: the sweep cannot be looked at there ({why_refused(uri, error)})") from None
    return f"/#/experiments/{experiment_id}/runs?viewStateShareKey={parent_run_id}&compareRunsMode=CHART"


def _charts(metric: str, axes: Sequence[Sequence[str]]) -> list[dict[str, Any]]:
    parallel = [
        {
            "type": "PARALLEL",
            "selectedParams": list(names),
            "selectedMetrics": [metric],
            "showAllRuns": True,
        }
        for names in axes
    ]
    against_cost = [
        {
            "type": "SCATTER",
            "xaxis": {"key": cost, "type": "METRIC"},
            "yaxis": {"key": metric, "type": "METRIC"},
            "runsCountToCompare": _MOST_RUNS,
        }
        for cost in _COSTS
    ]
    curves = {
        "type": "LINE",
        "metricKey": metric,
        "selectedMetricKeys": [metric],
        "xAxisKey": "step",
        "useGlobalXaxisKey": False,
        "lineSmoothness": 0,
        "useGlobalLineSmoothing": False,
        "runsCountToCompare": _MOST_RUNS,
    }
    placed = {"metricSectionId": _SECTION, "deleted": False, "isGenerated": False}
    return [
        {**placed, "uuid": f"essnet-{index}", **chart} for index, chart in enumerate([*parallel, *against_cost, curves])
    ]
