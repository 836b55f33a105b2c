from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import essnet

ROOT = Path(__file__).resolve().parents[2]
COMMANDS = ("train", "sweep", "report", "evaluate", "predict", "grow", "doctor", "ui")
DATA_COMMANDS = ("download", "check", "build-coco-lvis")
SLOW_TO_IMPORT = {"torch", "torchvision", "ray", "mlflow", "optuna", "faiss", "matplotlib", "timm", "pandas"}


def python(*arguments: str) -> str:
    # On a terminal that is wide enough, and plain even where a CI service asks for colours.
    environment = {**os.environ, "COLUMNS": "100", "_TYPER_FORCE_DISABLE_TERMINAL": "1"}
    command = [sys.executable, *arguments]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout


def test_help_names_every_command_and_a_beginning() -> None:
    text = python("launch.py", "--help")
    assert [command for command in COMMANDS if f"│ {command} " not in text] == []
    assert "launch.py sweep" in text


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_a_command_has_an_example(command: str) -> None:
    usage, _, examples = python("launch.py", command, "--help").partition("Examples:")
    assert f"launch.py {command}" in usage
    assert f"launch.py {command}" in examples
    assert "--debug" in examples


def test_help_of_data_names_its_commands_in_the_order_of_their_use() -> None:
    text = python("launch.py", "data", "--help")
    places = [text.find(f"│ {command} ") for command in DATA_COMMANDS]
    assert -1 not in places
    assert places == sorted(places)


@pytest.mark.parametrize("command", DATA_COMMANDS)
def test_help_of_a_data_command_has_an_example(command: str) -> None:
    usage, _, examples = python("launch.py", "data", command, "--help").partition("Examples:")
    assert f"launch.py data {command}" in usage
    assert f"launch.py data {command}" in examples
    assert "--json" in examples
    assert "--debug" in examples


def test_version() -> None:
    assert python("launch.py", "--version") == f"essnet {essnet.__version__}\n"


def test_help_imports_nothing_that_is_slow() -> None:
    program = "import sys, essnet.cli.app; print(*{name.split('.')[0] for name in sys.modules})"
    loaded = set(python("-c", program).split())
    assert "typer" in loaded
    assert loaded & SLOW_TO_IMPORT == set()
