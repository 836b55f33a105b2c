"""The trainer's tracker on an MLflow run: it only writes to the run's folder, and a thread brings that to the store."""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from essnet.config.errors import first_line
from essnet.file_lock import HeldByOther
from essnet.tracking.delivery import Delivery
from essnet.tracking.entries import artifact_entry, description_entry, inputs_entry, metrics_entry, status_entry
from essnet.tracking.outbox import Outbox, sole_reader
from essnet.tracking.run_file import read_run_file, write_run_file
from essnet.tracking.run_spec import OUTBOX, RunSpec

_PAUSE_SECONDS = 3.0
"""Between two deliveries: what is logged meanwhile goes in one request."""
_LONGEST_PAUSE_SECONDS = 15.0
"""Between two tries while the store does not answer."""
_CLOSING_PAUSE_SECONDS = 0.5
_logger = logging.getLogger(__name__)


class MlflowTracker:
    """Logs to one run, and never waits for its store.

    What is logged is appended to the run's outbox (`essnet.tracking.outbox`), from which a thread delivers it every few
    seconds; while the store is away it stays there. What an earlier process left in it is delivered first. The run is
    made, or found again, when the store answers for the first time.

    Parameters
    ----------
    directory
        The run's folder. Its owner sees to it that only one process logs to it.
    spec
        What the run is.
    """

    def __init__(self, directory: Path, spec: RunSpec) -> None:
        self._directory = directory
        self._uri = spec.uri
        self._outbox = Outbox(directory / OUTBOX)
        spec.save(directory)
        run_id = read_run_file(directory, uri=spec.uri).get("run_id")
        if run_id is not None:
            write_run_file(directory, uri=spec.uri, run_id=run_id)  # the run's last status is no longer true
        self._outbox.append(status_entry("RUNNING"))
        self._sender = _Sender(directory, spec)
        self._sender.start()

    @property
    def run_id(self) -> str | None:
        """The run's id, or None while the store has not told it."""
        return read_run_file(self._directory, uri=self._uri).get("run_id")

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        """Take metrics of an optimizer step; steps of a metric only rise, or repeat those of an earlier process."""
        self._outbox.append(metrics_entry(step, metrics))

    def log_artifact(self, path: Path, folder: str) -> None:
        """Have a file copied below `folder` of the run's artifacts, as it is when the store takes it."""
        path = path.absolute()
        inside = path.is_relative_to(self._directory.absolute())
        name = path.relative_to(self._directory.absolute()) if inside else path
        self._outbox.append(artifact_entry(str(name), folder))

    def describe(self, markdown: str) -> None:
        """Set the text that MLflow shows on the run's page."""
        self._outbox.append(description_entry(markdown))

    def log_inputs(self, inputs: Sequence[Mapping[str, Any]]) -> None:
        """Note the data sets that the run uses: `context` of each, and as `dataset` what MLflow makes an entity of."""
        self._outbox.append(inputs_entry(inputs))

    def flush(self) -> None:
        """Have what was logged so far delivered soon."""
        self._sender.wake()

    def end(self, status: str) -> None:
        """End the run as FINISHED, FAILED or KILLED; `close` comes next."""
        self._outbox.append(status_entry(status))

    def close(self, *, wait_seconds: float) -> bool:
        """Log no more, and wait for the rest to be delivered, but not longer than that; return whether it was.

        What is left stays in the run's folder for the next process, or for `deliver_rest`.
        """
        self._outbox.close()
        return self._sender.finish(wait_seconds)


class _Sender:
    """The thread that delivers a run's outbox."""

    def __init__(self, directory: Path, spec: RunSpec) -> None:
        self._folder = directory / OUTBOX
        self._delivery = Delivery(directory, spec)
        self._woken = threading.Event()
        self._closing = threading.Event()
        self._given_up = threading.Event()
        self._answers = True
        self._delivered_all = False
        # Not waited for when Python ends: it may be in a request that is never answered.
        self._thread = threading.Thread(target=self._run, name="mlflow", daemon=True)

    def start(self) -> None:
        """Begin to deliver."""
        self._thread.start()

    def wake(self) -> None:
        """Cut a pause short, unless the store does not answer."""
        if self._answers:
            self._woken.set()

    def finish(self, wait_seconds: float) -> bool:
        """Deliver the rest, as nothing more comes; return whether that was done in time."""
        self._closing.set()
        self._woken.set()
        self._thread.join(wait_seconds)
        self._given_up.set()
        self._woken.set()
        return self._delivered_all

    def _run(self) -> None:
        while not self._given_up.is_set():
            try:
                with sole_reader(self._folder, wait_seconds=_PAUSE_SECONDS):
                    self._deliver()
                return
            except HeldByOther:  # what was left by an earlier process is on its way
                continue

    def _deliver(self) -> None:
        pause = _PAUSE_SECONDS
        while not self._given_up.is_set():
            closing = self._closing.is_set()
            try:
                while not self._given_up.is_set() and self._delivery.deliver_next():
                    pass
                pause = _PAUSE_SECONDS
                self._note_answers()
                if closing and not self._given_up.is_set():
                    self._delivery.remove_last()
                    self._delivered_all = True
                    return
            except Exception as error:  # whatever MLflow and the libraries below it raise
                pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)
                self._note_silence(error)
            self._woken.wait(_CLOSING_PAUSE_SECONDS if closing else pause)
            self._woken.clear()

    def _note_silence(self, error: Exception) -> None:
        if self._answers:
            _logger.warning("MLflow does not answer; what is logged waits in %s: %s", self._folder, first_line(error))
        self._answers = False

    def _note_answers(self) -> None:
        if not self._answers:
            _logger.warning("MLflow answers again")
        self._answers = True
