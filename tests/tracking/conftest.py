from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from essnet.tracking import RunStore, default_uri
from tests.tracking.server import Server


@dataclass(frozen=True)
class Place:
    """Where runs are kept: an address, and the folder of artifacts beside it."""

    uri: str
    folder: Path

    def store(self, experiment: str) -> RunStore:
        return RunStore(self.uri, experiment, artifact_root=self.folder / "mlartifacts")


@pytest.fixture(scope="session")
def database(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """A sqlite store; making one takes seconds, so that tests share it and have an experiment each."""
    folder = tmp_path_factory.mktemp("someone's runs")  # a folder's name may hold what a URI or a filter may not
    return Place(default_uri(folder), folder)


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = Server(tmp_path_factory.mktemp("server"))
    server.start()
    yield server
    server.stop()


@pytest.fixture(params=["database", pytest.param("server", marks=pytest.mark.slow)])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    """Either kind of store."""
    found = request.getfixturevalue(request.param)
    return found if isinstance(found, Place) else Place(found.uri, tmp_path)


@pytest.fixture
def experiment(request: pytest.FixtureRequest) -> str:
    return re.sub(r"\W+", "-", request.node.name)


@pytest.fixture
def store(place: Place, experiment: str) -> RunStore:
    return place.store(experiment)
