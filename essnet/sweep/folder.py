"""A sweep's folder: its state as small JSON files that are written atomically and read by anybody.

    <output>/<sweep>/
        sweep.json        the sweep as it was asked for, address of the tracking store, parent run, where it began
        comparison.*      JSON, CSV, picture and page, once it has ended or was interrupted
        lock              held by the driver while it runs
        warm_start.json   what is known from earlier sweeps; only with search.warm_start
        measured.json     what trials take of a device; only with resources.packing
        budget.json       how long it has run
        tracking/         what its run is, and what MLflow has not been told of it yet; run.json: the run's id
        requests/         what people asked for while it ran: trials to stop, trials to add
        storage.json      whose turn it is to keep the sweep in its storage; only with storage
        results.jsonl     what the trials reported, and which were stopped upon it; only with a scheduler
        trials/<trial_id>/
            trial.json    arm, overrides, seed, state: written by the sweep's driver alone
            progress.json, run.json, history.jsonl, result.json, error.json, log.txt, config.yaml, checkpoints/, ...:
                          written by the trial alone; the driver takes away an earlier attempt's error.json
            tracking/     as above; written by the trial, and by whoever ends its run when it has ended
            storage.json  which of these were brought from the storage, to which the trial writes; only with storage
        ray/              Ray Tune's own files; nothing is ever read back from them

Resuming needs these files only: nothing is unpickled, and a driver that was killed leaves nothing to repair.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from essnet.atomic_files import read_json, read_json_as, write_json
from essnet.config import InputError
from essnet.file_lock import HeldByOther, hold
from essnet.format_version import refuse_newer

FORMAT_VERSION = 1
"""Of the folder as a whole, in `sweep.json`."""

PENDING, RUNNING, COMPLETED, STOPPED, FAILED = "PENDING", "RUNNING", "COMPLETED", "STOPPED", "FAILED"
ENDED = (COMPLETED, STOPPED)
"""States in which a trial is never run again. STOPPED: ended early by the scheduler."""
_STATE: dict[str, tuple[type, ...]] = {
    "name": (str,),
    "baseline": (str,),
    "metric": (str,),
    "mode": (str,),
    "num_trials": (int,),
    "tracking_uri": (str,),
    "parent_run_id": (str, type(None)),
}
"""What `sweep.json` must have, and of which types."""
_FURTHER_STATE: dict[str, tuple[type, ...]] = {
    "sweep_id": (str,),
    "essnet_version": (str,),
    "experiment": (str,),
    "artifact_root": (str,),
    "started": (int, float),
    "done": (bool,),
    "added_trials": (int,),
    "resume_command": (str, type(None)),
    "environment": (dict,),
    "configuration": (dict,),
}
"""What it may have."""


@dataclass(frozen=True)
class Failure:
    """A failure after which a trial was tried again."""

    kind: str
    """As `essnet.sweep.failures` names them."""
    message: str


@dataclass(frozen=True)
class TrialRecord:
    """What the driver knows of a trial."""

    trial_id: str
    index: int
    arm: str
    arm_index: int
    overrides: dict[str, Any]
    point: dict[str, Any]
    """The searched part of `overrides`."""
    seed: int
    max_steps: int
    state: str = PENDING
    error: str | None = None
    failure: str | None = None
    """What kind of failure `error` is, as `essnet.sweep.failures` names them."""
    replicates: str | None = None
    """Id of the trial whose configuration this one runs again with another seed."""
    alone: bool = False
    """Whether it runs with a whole device for itself, having run out of memory beside others."""
    earlier_failures: tuple[Failure, ...] = ()
    """Those after which it was tried again, the oldest first; `error` is the one that nothing followed yet."""

    def tried_again(self) -> TrialRecord:
        """Return the record of the trial's next attempt: what it failed with, if it did, lies before that."""
        if self.error is None:
            return self
        failure = Failure(kind=self.failure or "", message=self.error)
        return replace(self, error=None, failure=None, earlier_failures=(*self.earlier_failures, failure))


@dataclass(frozen=True)
class SweepFolder:
    """Reads and writes one sweep's folder."""

    path: Path

    def state(self) -> dict[str, Any]:
        """Read `sweep.json`.

        Raises
        ------
        InputError
            If the folder is no sweep's, the file is damaged, or a newer essnet wrote it in a format of its own.
        """
        path = self.path / "sweep.json"
        if not path.is_file():
            raise InputError(f"{self.path}: is no sweep's folder (no sweep.json in it)")
        state = self.known_state()
        missing = [key for key in _STATE if key not in state]
        if missing:
            raise InputError(f"{path}: damaged; {', '.join(missing)} missing")
        return state

    def known_state(self) -> dict[str, Any]:
        """Read `sweep.json` as far as it was written, nothing where it is not there.

        Raises
        ------
        InputError
            If it is damaged, or a newer essnet wrote it in a format of its own.
        """
        path = self.path / "sweep.json"
        state = read_json(path)
        refuse_newer(
            path,
            state.get("format_version", 1),
            known=FORMAT_VERSION,
            written_by=state.get("essnet_version"),
        )
        for key, types in {**_STATE, **_FURTHER_STATE}.items():
            if key in state and not isinstance(state[key], types):
                raise InputError(f"{path}: damaged; {key} is {state[key]!r:.80}")
        return state

    def note(self, **values: Any) -> None:
        """Change values of `sweep.json`."""
        write_json(self.path / "sweep.json", {**self.state(), **values})

    def trial(self, trial_id: str) -> Path:
        """Return the folder of a trial."""
        return self.path / "trials" / trial_id

    def write_record(self, record: TrialRecord) -> None:
        """Store a trial's record."""
        write_json(self.trial(record.trial_id) / "trial.json", asdict(record))

    def records(self) -> list[TrialRecord]:
        """Return all records, in the order of their index."""
        trials = self.path / "trials"
        paths = [trials / name / "trial.json" for name in os.listdir(trials)] if trials.is_dir() else []
        written = [(path, _signature(path)) for path in paths]
        records = [_read_record(path, signature) for path, signature in written if signature is not None]
        return sorted(records, key=lambda record: record.index)

    def record(self, trial_id: str) -> TrialRecord:
        """Return one trial's record."""
        path = self.trial(trial_id) / "trial.json"
        return _read_record(path, _signature(path))

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the folder for this process.

        Raises
        ------
        InputError
            If another process holds it.
        """
        try:
            with hold(self.path / "lock"):
                yield
        except HeldByOther as error:
            raise InputError(
                f"{self.path}: this sweep is running already, in process {error}; "
                "wait for it, or choose another name=..."
            ) from None


_RECORD = TypeAdapter(TrialRecord)


def _signature(path: Path) -> tuple[int, int, int] | None:
    """Return what is another whenever a file is replaced; None where there is no file."""
    try:
        found = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size


# The driver looks at all records every second: of thousands of trials, nearly all have ended long ago.
@lru_cache(maxsize=2**14)
def _read_record(path: Path, signature: tuple[int, int, int] | None) -> TrialRecord:
    record = read_json_as(path, _RECORD, what="the record of a trial")
    if record.trial_id != path.parent.name:  # which becomes a path again
        raise InputError(f"{path}: damaged; it is the record of {record.trial_id!r:.80}")
    return record
