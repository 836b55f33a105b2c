"""Bringing what waits in a run's outbox to its store: in order, each point once, the run made where it is missing.

Three things make it once. A run has one value of a metric for each step, steps only rise, and the store says how far
each metric has come: what a resumed trial repeats, or a process that died had sent, is left out. A point keeps the time
at which it was logged, so that MLflow knows one that it is given again. And a run is looked up by its tags before one
is made.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from mlflow.entities import Dataset, DatasetInput, InputTag, RunTag
from mlflow.exceptions import MlflowException

from essnet.config.errors import first_line
from essnet.tracking.entries import Entry
from essnet.tracking.metric_batches import POINTS_PER_BATCH, Point, log_points
from essnet.tracking.outbox import Outbox, OutboxReader, sole_reader, waiting_files
from essnet.tracking.run_file import read_run_file, write_run_file
from essnet.tracking.run_spec import OUTBOX, RunSpec
from essnet.tracking.store import RunStore

_TAG_LENGTH = 5000
_ARTIFACT_TRIES = 3
_REFUSED = ("INVALID_PARAMETER_VALUE", "BAD_REQUEST")
"""What a server says of what it would refuse each time."""
_logger = logging.getLogger(__name__)


class Delivery:
    """Delivers the outbox in a run's folder; to be used while `sole_reader` is held.

    Parameters
    ----------
    directory
        The run's folder.
    spec
        What the run is.
    """

    def __init__(self, directory: Path, spec: RunSpec) -> None:
        self._directory = directory
        self._spec = spec
        self._reader = OutboxReader(directory / OUTBOX)
        self._store: RunStore | None = None
        self._run_id: str | None = None
        self._logged_until: dict[str, int] | None = None
        self._artifact_tries: dict[str, int] = {}

    def deliver_next(self) -> bool:
        """Deliver the oldest entries; return False where nothing waits.

        Raises whatever MLflow and the libraries below it raise when the store does not answer; the entries wait then.
        """
        entries = self._reader.read()
        if entries:
            try:
                self._deliver(entries)
            except Exception:
                self._run_id = self._logged_until = None  # what the store has is asked for again
                raise
            self._reader.delivered()
        return bool(entries)

    def _deliver(self, entries: Sequence[Entry]) -> None:
        store, run_id = self._open()
        self._log_metrics(store, run_id, [entry for entry in entries if "metrics" in entry])
        tags = {key: text for entry in entries for key, text in entry.get("tags", {}).items()}
        if tags:
            store.client.log_batch(run_id, tags=[RunTag(key, text[:_TAG_LENGTH]) for key, text in tags.items()])
        for entry in entries:
            if "inputs" in entry:
                store.client.log_inputs(run_id, datasets=[_dataset_input(one) for one in entry["inputs"]])
            if "artifact" in entry:
                self._log_artifact(store, run_id, entry)
        statuses = [entry for entry in entries if "status" in entry]
        if statuses:
            self._set_status(store, run_id, statuses[-1])

    def deliver_all(self) -> None:
        """Deliver until nothing waits; raises what `deliver_next` does."""
        while self.deliver_next():
            pass

    def remove_last(self) -> None:
        """Remove the last file of the outbox, which `deliver_next` found empty and nobody will append to."""
        self._reader.remove_last()

    def _open(self) -> tuple[RunStore, str]:
        """Return the store and the run's id, asked for or made once for each `Delivery`."""
        if self._store is None:
            spec = self._spec
            self._store = RunStore(spec.uri, spec.experiment, artifact_root=Path(spec.artifact_root))
        if self._run_id is None:
            known = read_run_file(self._directory, uri=self._spec.uri)
            self._run_id = self._store.find_or_make(
                self._spec.name,
                identity=self._spec.identity,
                tags=self._spec.tags,
                params=self._spec.params,
                known_run_id=known.get("run_id"),
            )
            if known.get("run_id") != self._run_id:
                write_run_file(self._directory, uri=self._spec.uri, run_id=self._run_id)
        return self._store, self._run_id

    def _log_metrics(self, store: RunStore, run_id: str, entries: Iterable[Entry]) -> None:
        if self._logged_until is None:
            self._logged_until = store.last_steps(run_id)
        until = dict(self._logged_until)
        points = []
        for entry in entries:
            for key, value in entry["metrics"].items():
                if entry["step"] > until.get(key, -1):
                    until[key] = entry["step"]
                    points.append(Point(key, value, entry["time"], entry["step"]))
        for begin in range(0, len(points), POINTS_PER_BATCH):
            batch = points[begin : begin + POINTS_PER_BATCH]
            try:
                log_points(store.client, run_id, batch)
            except MlflowException as error:
                if error.error_code not in _REFUSED:
                    raise
                _logger.warning("MLflow refuses %d points, which are left out: %s", len(batch), first_line(error))
        self._logged_until = until

    def _log_artifact(self, store: RunStore, run_id: str, entry: Entry) -> None:
        """Copy a file to the run; one that a store does not take, which answers otherwise, is given up in the end."""
        path = self._directory / entry["artifact"]
        name = f"{entry['folder']}/{path.name}"
        try:
            store.client.log_artifact(run_id, str(path), entry["folder"])
        except Exception as error:  # whatever MLflow, and the libraries for where artifacts lie, raise
            store.last_steps(run_id)  # raises where the store does not answer at all
            self._artifact_tries[name] = self._artifact_tries.get(name, 0) + 1
            if path.exists() and self._artifact_tries[name] < _ARTIFACT_TRIES:
                raise
            _logger.warning("MLflow did not take %s: %s", name, first_line(error))

    def _set_status(self, store: RunStore, run_id: str, entry: Entry) -> None:
        status, moment = entry["status"], entry["time"]
        try:
            if status == "RUNNING":
                store.client.update_run(run_id, status=status)
            else:
                store.client.set_terminated(run_id, status, end_time=moment)
        except MlflowException as error:
            if error.error_code not in _REFUSED:
                raise
            _logger.warning("MLflow refuses the status %s: %s", status, first_line(error))
        write_run_file(self._directory, uri=self._spec.uri, run_id=run_id, status=status)


def _dataset_input(one: Mapping[str, Any]) -> DatasetInput:
    return DatasetInput(dataset=Dataset(**one["dataset"]), tags=[InputTag("mlflow.data.context", one["context"])])


def deliver_rest(directory: Path, *, last: Sequence[Entry] = (), wait_seconds: float = 0.0) -> None:
    """Deliver what waits in the folder of a run whose process is gone, and after it the entries `last`.

    Does nothing in a folder without a run. Raises whatever MLflow and the libraries below it raise when the store does
    not answer: the rest waits for the next time.

    Raises
    ------
    HeldByOther
        If it is being delivered by somebody else.
    """
    spec = RunSpec.load(directory)
    if spec is None:
        return
    with sole_reader(directory / OUTBOX, wait_seconds=wait_seconds):
        delivery = Delivery(directory, spec)
        delivery.deliver_all()  # so that `last` is not added each time while the store is away
        outbox = Outbox(directory / OUTBOX)
        for entry in last:
            outbox.append(entry)
        outbox.close()
        delivery.deliver_all()
        delivery.remove_last()


def is_delivered(directory: Path) -> bool:
    """Return whether nothing waits in the folder of a run."""
    return not waiting_files(directory / OUTBOX)
