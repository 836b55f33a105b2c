"""How the program ends, beside `tests/negative`: what --debug adds, what is no fault, and how long a line is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from essnet.cli.app import main
from tests.cli.workplace import SWEEP, TRIAL, tree


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "t.yaml").write_text(TRIAL)
    (tmp_path / "s.yaml").write_text(SWEEP)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(*arguments: str) -> int:
    with pytest.raises(SystemExit) as exited:
        main(arguments)
    assert isinstance(exited.value.code, int)
    return exited.value.code


def test_debug_shows_the_traceback(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = tree(here)
    assert run("train", "gone.yaml", "--debug") == 2
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].startswith("Traceback")
    assert lines[-1] == "essnet: gone.yaml: no such file"
    assert tree(here) == before


def test_of_a_very_long_line_the_middle_is_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("train", "t.yaml", f"name={'x' * 100_000}") == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("essnet: name: found 'xxx")
    assert " ... " in line
    assert line.endswith("at most 100")
    assert len(line) < 1100


def test_nothing_in_the_line_is_obeyed_by_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("train", "\x1b[2J\udce4.yaml") == 2
    assert capsys.readouterr().err == "essnet: \\x1b[2J\\udce4.yaml: no such file\n"


def test_dry_run_starts_and_leaves_nothing(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = tree(here)
    assert run("sweep", "s.yaml", "--dry-run", "--json", "resources.gpus=0", "resources.cpus=1") == 0
    output = capsys.readouterr()
    result: dict[str, Any] = json.loads(output.out)
    assert result == {"sweep": "s", "trials": 3, "arms": {"full": 1, "knn": 2}}
    assert "objective.num_neighbours in {1, 2}" in output.err
    assert tree(here) == before


def test_no_arguments_print_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert run() == 0
    output = capsys.readouterr()
    assert "Usage:" in output.out
    assert output.err == ""
