"""`launch.py ui` as a process, ready to be looked at."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.cli.workplace import ROOT

_OTHERS = ("MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD")
_ENVIRONMENT = {name: value for name, value in os.environ.items() if name not in _OTHERS}


@contextmanager
def running_ui(output: Path, *arguments: str, **environment: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The command once it is ready, and the address that it printed."""
    process = subprocess.Popen(
        [sys.executable, str(ROOT / "launch.py"), "ui", *arguments, "--output", str(output)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**_ENVIRONMENT, **environment},
    )
    try:
        assert process.stdout is not None
        assert process.stderr is not None
        address = process.stdout.readline().strip()
        said = process.stderr.readline() + process.stderr.readline()
        assert "ready" in said, said + process.stderr.read()
        yield process, address
    finally:
        process.terminate()
        process.communicate(timeout=120)
