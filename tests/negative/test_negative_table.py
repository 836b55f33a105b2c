"""Wrong input: an exact exit code, one line that says what would be right, and nothing left behind."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import nullcontext, suppress
from fnmatch import fnmatch
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from essnet.cli.app import main
from tests.cli.workplace import ROOT, make_workplace
from tests.negative.cases import Case, read_cases
from tests.negative.hostile_servers import hostile_server
from tests.negative.permissions import bound_by_permissions
from tests.negative.wrong_files import make_file

CASES = list(read_cases())
AS_PROCESSES = ("command_line-unknown-command", "configuration-not-utf-8", "checkpoints-cut-weights", "sweeps-no-arms")
"""Also run as people run them; the others differ from these in nothing that a process would show."""
_MARK = "NEGATIVE_TABLE"
"""In the environment of every process that a case starts."""


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_workplace(tmp_path_factory.mktemp("workplace"))


@pytest.fixture
def here(workplace: Path, tmp_path: Path) -> Path:
    """A copy of the workplace in links: no case sees what another one did."""
    place = tmp_path / "here"
    shutil.copytree(workplace, place, symlinks=True, copy_function=os.link)
    return place


def test_the_table_is_large_and_each_row_has_a_name() -> None:
    names = [case.id for case in CASES]
    assert len(set(names)) == len(names)
    assert sum(case.code != 0 for case in CASES) >= 150
    assert [case.id for case in CASES if not case.words] == []
    assert set(AS_PROCESSES) <= set(names)


def test_every_command_has_rows() -> None:
    lines = [line for case in CASES if case.code for line in case.command_lines]
    commands = {" ".join(line[:2]) if line[0] in ("data", "cluster") else line[0] for line in lines if line}
    assert commands >= {
        "train", "sweep", "report", "evaluate", "predict", "grow", "doctor", "ui", "status", "list", "logs",
        "data check", "data download", "data build-coco-lvis", "cluster check",
    }  # fmt: skip


def _tests() -> Iterator[Any]:
    for case in CASES:
        for arguments in case.command_lines:
            several = f"-{'-'.join(arguments[:1])}" if len(case.run) > 1 else ""
            yield pytest.param(case, arguments, id=f"{case.id}{several}")


@pytest.mark.timeout(60, func_only=True)
@pytest.mark.parametrize(("case", "arguments"), list(_tests()))
def test_row(
    case: Case,
    arguments: list[str],
    here: Path,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, words in case.files.items():
        make_file(here / name, words)
    for name, value in case.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(here / case.inside)
    monkeypatch.setenv(_MARK, "1")
    before = _tree(here)
    with nullcontext(0) if case.server is None else hostile_server(case.server) as port:
        filled = [argument.replace("{port}", str(port)) for argument in arguments]
        call = partial(_in_this_process, filled)
        code = bound_by_permissions(call) if case.bound_by_permissions else call()
        out, err = capfd.readouterr()
    _check(case, code, out, err)
    assert _changes(before, _tree(here), case.leaves) == []
    assert _processes() == []


@pytest.mark.slow
@pytest.mark.parametrize("case", [pytest.param(case, id=case.id) for case in CASES if case.id in AS_PROCESSES])
def test_row_as_a_process(case: Case, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, words in case.files.items():
        make_file(here / name, words)
    monkeypatch.chdir(here)
    before = _tree(here)
    command = [sys.executable, str(ROOT / "launch.py"), *case.command_lines[0]]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=280)
    _check(case, done.returncode, done.stdout, done.stderr)
    assert _changes(before, _tree(here), case.leaves) == []


def _in_this_process(arguments: list[str]) -> int:
    with pytest.raises(SystemExit) as exited:
        main(arguments)
    assert isinstance(exited.value.code, int)
    return exited.value.code


def _check(case: Case, code: int, out: str, err: str) -> None:
    assert code == case.code, err or out
    lines = err.splitlines()
    if case.code == 0:
        assert lines == []
        assert [word for word in case.words if word not in out] == [], out
        return
    assert len(lines) == 1, err
    assert lines[0].startswith("essnet: ")
    assert [word for word in case.words if word not in lines[0]] == [], lines[0]
    assert len(lines[0]) < 1500
    if case.code == 2:
        assert "Error:" not in lines[0]  # the name of an exception is no answer


def _tree(root: Path) -> dict[str, tuple[int, int, int]]:
    """Every path below `root`: its kind and permissions, size, and time of the last change of its content."""
    found = {}
    for path in root.rglob("*"):
        status = path.lstat()
        is_folder = path.is_dir() and not path.is_symlink()
        found[str(path.relative_to(root))] = (
            status.st_mode,
            -1 if is_folder else status.st_size,
            -1 if is_folder else status.st_mtime_ns,
        )
    return found


def _changes(before: dict[str, Any], after: dict[str, Any], allowed: list[str]) -> list[str]:
    paths = sorted(path for path in before.keys() | after.keys() if before.get(path) != after.get(path))
    return [path for path in paths if not any(fnmatch(path, pattern) for pattern in allowed)]


def _processes() -> list[str]:
    """The processes that carry this test's mark: whatever it started, orphans too."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it ended just now, or is another user's
            if f"{_MARK}=1".encode() in (process / "environ").read_bytes().split(b"\0"):
                found.append((process / "cmdline").read_bytes().replace(b"\0", b" ").decode())
    return found
