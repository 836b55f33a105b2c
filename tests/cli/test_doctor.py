from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from essnet.cli import doctor
from essnet.cli.app import main

ROOT = Path(__file__).resolve().parents[2]
CHECKS = ["python", "torch", "gpu", "faiss", "numba", "ray", "mlflow", "memory", "disk", "store"]


def test_one_line_a_check_and_json_and_exit_code_agree(tmp_path: Path) -> None:
    command = [sys.executable, str(ROOT / "launch.py"), "doctor", "--json"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    findings = json.loads(done.stdout)
    assert list(findings) == CHECKS
    lines = [(line[:4], line[5:].split()[0]) for line in done.stderr.splitlines()]
    assert lines == [("ok  " if findings[name]["ok"] else "DO  ", name) for name in CHECKS]
    assert done.returncode == (0 if all(finding["ok"] for finding in findings.values()) else 1)
    assert [name for name in ("torch", "faiss", "ray", "mlflow") if not findings[name]["ok"]] == []
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def all_well(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Every check but the tested one is answered without looking."""
    monkeypatch.chdir(tmp_path)
    for name in ("_python", "_torch", "_gpu", "_faiss", "_numba", "_memory"):
        monkeypatch.setattr(doctor, name, lambda: (True, "there"))
    monkeypatch.setattr(doctor, "_imports", lambda package: (True, package))
    monkeypatch.setattr(doctor, "_ENOUGH_DISK_GIB", 0)


def run(*arguments: str) -> object:
    with pytest.raises(SystemExit) as exited:
        main(["doctor", *arguments])
    return exited.value.code


@pytest.mark.usefixtures("all_well")
def test_all_well(capsys: pytest.CaptureFixture[str]) -> None:
    assert run() == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[:2] for line in lines] == [["ok", name] for name in CHECKS]
    assert lines[-1].endswith("runs/mlflow.db is not there yet; the first run makes it")


@pytest.mark.usefixtures("all_well")
def test_a_broken_package_is_something_to_do(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken() -> doctor.Finding:
        raise OSError("libcudart.so: cannot open")

    monkeypatch.setattr(doctor, "_torch", broken)
    assert run() == 1
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len(CHECKS)
    assert lines[1] == ("DO   torch    OSError: libcudart.so: cannot open; install again from requirements.txt")


@pytest.mark.usefixtures("all_well")
def test_an_output_that_cannot_be_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("")
    assert run("--output", "file/runs") == 1
    line = next(line for line in capsys.readouterr().out.splitlines() if " disk " in line)
    assert line.startswith("DO   disk     --output: cannot write below ")
    assert line.endswith("/file, which is a file; choose a folder")
