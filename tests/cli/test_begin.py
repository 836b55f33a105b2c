"""Ctrl-C where no command runs yet, where none runs any more, and where Python throws exceptions away."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from essnet.cli.app import main
from tests.sweep.sweeps import write_sweep

ROOT = Path(__file__).resolve().parents[2]
PRESS = "import os, signal; press = lambda *_: os.kill(os.getpid(), signal.SIGINT)\n"
BEGIN = "from essnet.cli import app, begin; "
"""What stands in the place of the command line's own `main` is given by each test."""


def ended(program: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", PRESS + program]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=120)


@pytest.mark.parametrize(
    "program",
    {
        "while modules are read": "import sys\n"
        "class Finder:\n"
        "    def find_spec(self, name, *_):\n"
        "        if name == 'essnet.cli.app': press()\n"
        "sys.meta_path.insert(0, Finder())\n"
        "from essnet.cli import begin; begin.main()",
        "when all is done": f"import atexit; atexit.register(press)\n{BEGIN}app.main = lambda: None; begin.main()",
    }.items(),
    ids=lambda item: item[0],
)
def test_outside_of_commands_it_ends_the_process(program: tuple[str, str]) -> None:
    done = ended(program[1])
    assert done.returncode == -signal.SIGINT
    assert done.stderr == ""


def test_in_a_finaliser_it_is_not_lost() -> None:
    program = (
        "import time\n"
        f"{BEGIN}\n"
        "class Finalised:\n"
        "    def __del__(self): press(); time.sleep(0)\n"
        "def command():\n"
        "    Finalised()\n"
        "    time.sleep(60)\n"
        "def run():\n"
        "    try: command()\n"
        "    except KeyboardInterrupt: raise SystemExit(130)\n"
        "app.main = run; begin.main()"
    )
    done = ended(program)
    assert done.returncode == 130
    assert done.stderr == ""


def test_other_errors_in_finalisers_are_told_as_ever() -> None:
    program = (
        f"{BEGIN}\n"
        "class Finalised:\n"
        "    def __del__(self): raise ValueError('of a finaliser')\n"
        "app.main = lambda: (Finalised(), None)[1]; begin.main()"
    )
    done = ended(program)
    assert done.returncode == 0
    assert "ValueError: of a finaliser" in done.stderr


def test_a_job_that_ignores_it_goes_on() -> None:
    """As a shell's background job does."""
    done = ended(f"signal.signal(signal.SIGINT, signal.SIG_IGN)\n{BEGIN}app.main = press; begin.main()")
    assert done.returncode == 0
    assert done.stderr == ""


def test_a_sweep_that_has_not_begun_is_interrupted_as_any(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("essnet.tracking.RunStore", lambda *_, **__: None)
    monkeypatch.setattr("essnet.sweep.runner.run_sweep", interrupted)
    with pytest.raises(SystemExit) as exited:
        main(["sweep", str(write_sweep(tmp_path)), "--output", str(tmp_path / "runs")])
    assert exited.value.code == 130
    assert capsys.readouterr().err == "essnet: interrupted\n"
