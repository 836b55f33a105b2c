"""The container files: looked over by a linter, as no image is built here."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
FILES = [ROOT / "container" / "Containerfile", ROOT / "cluster" / "Dockerfile"]


def lint(path: Path) -> str:
    linter = Path(sys.executable).with_name("hadolint")
    return subprocess.run([str(linter), str(path)], capture_output=True, text=True, check=False).stdout


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_the_linter_finds_nothing(path: Path) -> None:
    assert lint(path) == ""


def test_the_linter_would_find_something(tmp_path: Path) -> None:
    wrong = tmp_path / "Containerfile"
    wrong.write_text(FILES[0].read_text().replace("WORKDIR /work", "WORKDIR work"))
    assert "DL3000" in lint(wrong)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_what_is_copied_is_there_and_let_in(path: Path) -> None:
    copied = [
        name for line in re.findall(r"^COPY (?!--)(.+) \S+$", path.read_text(), re.MULTILINE) for name in line.split()
    ]
    let_in = re.findall(r"^!(\S+)$", (ROOT / ".dockerignore").read_text(), re.MULTILINE)
    assert copied
    assert [name for name in copied if not (ROOT / name).exists()] == []
    assert set(copied) <= set(let_in)


def test_images_are_plain_names() -> None:
    for path in FILES:
        images = re.findall(r"^FROM (\S+)", path.read_text(), re.MULTILINE)
        assert images
        assert [image for image in images if "." in image.split("/")[0].split(":")[0]] == []


def test_a_wheel_can_be_built_of_what_the_first_stage_has() -> None:
    """tests/test_wheel.py builds one of these."""
    stage = FILES[0].read_text().split("FROM ")[1]
    copied = {name for line in re.findall(r"^COPY (.+) \S+$", stage, re.MULTILINE) for name in line.split()}
    assert copied == {"pyproject.toml", "requirements.txt", "README.md", "LICENSE", "essnet", "experiments"}
