"""What a server is sent is what MLflow's client would have sent."""

from __future__ import annotations

import math

import pytest
from mlflow.entities import Metric
from mlflow.exceptions import MlflowException

from essnet.tracking import RunStore
from essnet.tracking.metric_batches import Point, log_points

VALUES = {"train/loss": 0.1 + 0.2, "a b: c-d.e": -1e300, "nan": math.nan, "up": math.inf, "down": -math.inf, "all": 3.0}


def _history(store: RunStore, run_id: str) -> list[tuple[str, str, int, int]]:
    points = (point for key in VALUES for point in store.client.get_metric_history(run_id, key))
    return [(point.key, repr(point.value), point.timestamp, point.step) for point in points]


def test_the_same_arrives(store: RunStore) -> None:
    points = [Point(key, value, 1_700_000_000_000 + step, step) for step in (2, 3) for key, value in VALUES.items()]
    ours, theirs = (store.client.create_run(store.experiment_id).info.run_id for _ in range(2))
    log_points(store.client, ours, points)
    store.client.log_batch(theirs, metrics=[Metric(one.key, one.value, one.time, one.step) for one in points])
    assert _history(store, ours) == _history(store, theirs)
    assert len(_history(store, ours)) == len(points)


def test_what_a_store_refuses_is_mlflows_own_error(store: RunStore) -> None:
    with pytest.raises(MlflowException) as missing:
        log_points(store.client, "0" * 32, [Point("loss", 1.0, 1, 1)])
    assert missing.value.error_code == "RESOURCE_DOES_NOT_EXIST"
    run_id = store.client.create_run(store.experiment_id).info.run_id
    with pytest.raises(MlflowException) as refused:
        log_points(store.client, run_id, [Point("loss?", 1.0, 1, 1)])
    assert refused.value.error_code in ("INVALID_PARAMETER_VALUE", "BAD_REQUEST")
