"""The trainer's tracker on an MLflow run: batched writes, nothing twice after a resume."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from pathlib import Path

from mlflow.entities import Metric
from mlflow.exceptions import MlflowException

from essnet.config.errors import first_line
from essnet.tracking.store import RunStore

_METRICS_PER_BATCH = 1000
_logger = logging.getLogger(__name__)


class MlflowTracker:
    """Logs to one run.

    A resumed trial repeats the steps since its last checkpoint; what the run already has of them is not
    logged again. A store that does not answer costs no training: the points wait for the next `flush`.
    """

    def __init__(self, store: RunStore, run_id: str) -> None:
        self._store = store
        self._client = store.client
        self.run_id = run_id
        self._waiting: list[Metric] = []
        self._logged_until = {
            key: max(point.step for point in self._client.get_metric_history(run_id, key))
            for key in self._client.get_run(run_id).data.metrics
        }

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        """Take metrics of an optimizer step; they are written at the next `flush`."""
        now = int(1000 * time.time())
        self._waiting.extend(
            Metric(key, float(value), now, step)
            for key, value in metrics.items()
            if step > self._logged_until.get(key, -1)
        )

    def log_artifact(self, path: Path, folder: str) -> None:
        """Copy a file to the run's artifacts."""
        self._store.log_artifact(self.run_id, path, folder)

    def flush(self) -> None:
        """Write what is waiting."""
        while self._waiting:
            batch = self._waiting[:_METRICS_PER_BATCH]
            try:
                self._client.log_batch(self.run_id, metrics=batch)
            except MlflowException as error:
                _logger.warning("MLflow does not answer; %d points wait: %s", len(self._waiting), first_line(error))
                return
            del self._waiting[:_METRICS_PER_BATCH]
