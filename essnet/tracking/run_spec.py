"""What a run is, known before there is one: enough to make it, or to find it again, from any process."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

from pydantic import TypeAdapter

from essnet.atomic_files import read_json_as, write_json

OUTBOX = "tracking"
"""Folder in a run's own folder: what the run is, and what the store does not have of it yet."""


@dataclass(frozen=True)
class RunSpec:
    """A run of a store."""

    uri: str
    experiment: str
    artifact_root: str
    name: str
    identity: Mapping[str, str]
    """Tags by which the run is found again; no two runs have the same."""
    tags: Mapping[str, str] = field(default_factory=dict)
    """Further tags of a new run."""
    params: Mapping[str, str] = field(default_factory=dict)

    def save(self, directory: Path) -> None:
        """Keep this in a run's folder."""
        write_json(directory / OUTBOX / "spec.json", asdict(self))

    @classmethod
    def load(cls, directory: Path) -> RunSpec | None:
        """Return what was kept in a run's folder, or None; raises InputError if it is damaged."""
        path = directory / OUTBOX / "spec.json"
        return read_json_as(path, _SPEC, what="what a run is") if path.exists() else None


_SPEC = TypeAdapter(RunSpec)
