from __future__ import annotations

import importlib.metadata
import json

from essnet import __version__
from essnet.sweep.environment import environment


def test_versions_and_devices_as_text() -> None:
    found = environment()
    assert found["essnet"] == __version__
    assert found["torch"] == importlib.metadata.version("torch")
    assert int(found["CPU cores"]) >= 1
    assert all(found.values())
    assert json.loads(json.dumps(found)) == found
