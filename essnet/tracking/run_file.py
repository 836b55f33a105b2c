"""`run.json` in a run's own folder: which run of which store it is, as far as the store has told."""

from __future__ import annotations

from pathlib import Path

from essnet.atomic_files import read_json, write_json

RUN_FILE = "run.json"


def read_run_file(directory: Path, *, uri: str | None = None) -> dict[str, str]:
    """Return `run_id`, `tracking_uri` and the last `status` that the store was given, as far as they are known.

    Nothing is known of a run in another store than `uri`.
    """
    known: dict[str, str] = read_json(directory / RUN_FILE)
    return known if uri is None or known.get("tracking_uri") == uri else {}


def write_run_file(directory: Path, *, uri: str, run_id: str, status: str | None = None) -> None:
    """Note a run's id and, once the store was given one, its status."""
    values = {"run_id": run_id, "tracking_uri": uri}
    write_json(directory / RUN_FILE, values if status is None else {**values, "status": status})
