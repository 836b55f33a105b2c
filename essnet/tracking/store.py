"""MLflow's store: where it is, and the runs in it, found again by their tags."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.parse import quote, unquote

# Before mlflow is imported: it reads these once. A dead server shall be known within seconds, not minutes; and a run
# must not be made again by a client that repeats its request blindly, so that trying again is ours.
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "20")
if os.environ.get("MLFLOW_TRACKING_SERVER_CERT_PATH") == "":
    del os.environ["MLFLOW_TRACKING_SERVER_CERT_PATH"]  # set and empty, MLflow would trust every certificate

from mlflow import MlflowClient
from mlflow.entities import Param, Run
from mlflow.exceptions import MlflowException

from essnet import __version__
from essnet.config.errors import InputError
from essnet.file_lock import HeldByOther
from essnet.format_version import refuse_newer
from essnet.tracking.database import connect_once
from essnet.tracking.refusal import why_refused
from essnet.tracking.sqlite_file import sole_opener

FORMAT_VERSION = 1
"""Of what essnet keeps in a store, noted in the tags of its experiment: which runs there are, and what makes them."""

_PARAMS_PER_BATCH = 100
_PARAM_LENGTH = 6000
logging.getLogger("alembic").setLevel(logging.WARNING)  # schema migrations of a fresh sqlite file
logging.getLogger("mlflow").setLevel(logging.WARNING)
logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)  # a traceback for what is raised anyway


def default_uri(output: Path) -> str:
    """Return the address of the store that lies in the output folder.

    Raises
    ------
    InputError
        If the folder's name has characters that an sqlite address cannot hold: MLflow and its database driver
        disagree whether they are escaped.
    """
    path = str(output.absolute() / "mlflow.db")
    if unquote(path) != path or "?" in path:
        raise InputError(f"--output: {output.absolute()} holds a '?' or a '%' with two digits; choose another folder")
    return f"sqlite:///{path}"


class RunStore:
    """The runs of one MLflow experiment.

    Making one creates database and experiment where they are missing.

    Raises
    ------
    InputError
        If the store cannot be reached, or the experiment was deleted, or made by a newer essnet in a format of its own.
    """

    def __init__(self, uri: str, experiment: str, *, artifact_root: Path) -> None:
        self.uri = uri
        self.experiment = experiment
        self.artifact_root = artifact_root
        try:
            connect_once(uri)
            with sole_opener(uri):
                self.client = MlflowClient(tracking_uri=uri)
                found = self.client.get_experiment_by_name(experiment)
                self.experiment_id: str = found.experiment_id if found is not None else self._create_experiment()
        except HeldByOther as error:
            raise InputError(f"tracking.uri: {uri} has been opened by process {error} for too long") from None
        except Exception as error:  # whatever MLflow and the drivers of databases raise
            reason = why_refused(uri, error)
            raise InputError(f"tracking.uri: {uri} does not answer as an MLflow store ({reason})") from None
        if found is not None:
            noted = found.tags.get("essnet.format_version", "1")  # an experiment of somebody else's has none
            refuse_newer(
                f"tracking.experiment: {experiment!r} in {uri}",
                int(noted) if noted.isdecimal() else noted,
                known=FORMAT_VERSION,
                written_by=found.tags.get("essnet.version"),
            )
        if found is not None and found.lifecycle_stage != "active":
            raise InputError(
                f"tracking.experiment: {experiment!r} was deleted in {uri}; take another name, or restore "
                f"it with `MLFLOW_TRACKING_URI='{uri}' mlflow experiments restore -x {self.experiment_id}`"
            )

    def _create_experiment(self) -> str:
        # A server decides itself where artifacts lie; beside a database they lie in the output folder.
        location = None
        if not self.uri.startswith(("http://", "https://")):
            # An experiment may be called `a/b` or `..`; its folder stays where the others are.
            folder = quote(self.experiment, safe=" ").replace("..", "%2E%2E")
            location = (self.artifact_root / folder).absolute().as_uri()
        tags = {"essnet.format_version": str(FORMAT_VERSION), "essnet.version": __version__}
        return str(self.client.create_experiment(self.experiment, artifact_location=location, tags=tags))

    def _search(self, tags: Mapping[str, str]) -> Sequence[Run]:
        """Return the runs that have all `tags`, the oldest first."""
        query = " and ".join(f"tags.`{key}` = {_quoted(value)}" for key, value in tags.items())
        runs: Sequence[Run] = self.client.search_runs(
            [self.experiment_id], filter_string=query, order_by=["attributes.start_time ASC"]
        )
        return runs

    def _active(self, run_id: str) -> Run | None:
        """Return a run of this experiment that is not in the trash, or None."""
        try:
            run = self.client.get_run(run_id)
        except MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise
            return None
        is_here = run.info.lifecycle_stage == "active" and run.info.experiment_id == self.experiment_id
        return run if is_here else None

    def find_or_make(
        self,
        name: str,
        *,
        identity: Mapping[str, str],
        tags: Mapping[str, str],
        params: Mapping[str, object],
        known_run_id: str | None = None,
    ) -> str:
        """Return the id of the run with the tags `identity`; make it if there is none.

        A request whose answer never came may have made a run that nobody knows: of several runs the oldest is taken,
        the others go to MLflow's trash.

        Parameters
        ----------
        name
            The run's name in the UI.
        identity
            Tags that no other run has.
        tags
            Further tags of a new run.
        params
            The run's parameters; those that it has already stay, MLflow never changes one.
        known_run_id
            The run, where it is known already; if the store has it no longer, it is looked for like any other.
        """
        run = None if known_run_id is None else self._active(known_run_id)
        if run is None:
            found = self._search(identity)
            run = found[0] if found else None
            for other in found[1:]:
                self.remove(other.info.run_id)
        if run is None:
            all_tags = {"essnet.version": __version__, **tags, **identity}
            run = self.client.create_run(self.experiment_id, run_name=name, tags=all_tags)
        run_id = str(run.info.run_id)
        entries = [
            Param(key, str(value)[:_PARAM_LENGTH]) for key, value in params.items() if key not in run.data.params
        ]
        for begin in range(0, len(entries), _PARAMS_PER_BATCH):
            self.client.log_batch(run_id, params=entries[begin : begin + _PARAMS_PER_BATCH])
        return run_id

    def remove(self, run_id: str) -> None:
        """Put a run into MLflow's trash."""
        self.client.delete_run(run_id)

    def last_steps(self, run_id: str) -> dict[str, int]:
        """Return the last step of each metric that a run has."""
        metrics = self.client.get_run(run_id).data.to_proto().metrics
        return {metric.key: metric.step for metric in metrics}

    def children(self, parent_run_id: str) -> Sequence[Run]:
        """Return all runs below a parent, the oldest first."""
        query = f"tags.`mlflow.parentRunId` = {_quoted(parent_run_id)}"
        runs: list[Run] = []
        token = None
        while True:
            page = self.client.search_runs(
                [self.experiment_id], filter_string=query, order_by=["attributes.start_time ASC"], page_token=token
            )
            runs.extend(page)
            token = page.token
            if not token:
                return runs


def _quoted(value: str) -> str:
    """Return a text for a filter, which knows no escapes: a path may hold one kind of quote."""
    quote = '"' if "'" in value else "'"
    return f"{quote}{value}{quote}"
