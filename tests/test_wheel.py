"""The wheel: what is in it, and that it runs where the repository is not."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import zipfile
from email.parser import Parser
from pathlib import Path

import pytest

import essnet

ROOT = Path(__file__).resolve().parents[1]

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build a wheel of the files that git has; in a copy, as building leaves things in the folder of the sources."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=False)
    if listed.returncode:
        pytest.skip("this is no git checkout")
    folder = tmp_path_factory.mktemp("wheel")
    sources = folder / "sources"
    for name in filter(None, listed.stdout.decode().split("\0")):
        original, copy = ROOT / name, sources / name
        copy.parent.mkdir(parents=True, exist_ok=True)
        if original.is_symlink():
            copy.symlink_to(original.readlink())
        elif original.is_file():
            copy.write_bytes(original.read_bytes())
    build = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
    subprocess.run([*build, "--wheel-dir", str(folder), str(sources)], check=True)
    (path,) = folder.glob("*.whl")
    return path


def test_it_has_all_that_the_package_reads_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    sources = wheel.parent / "sources"
    package = sources / "essnet"
    read = [f"essnet/{path.relative_to(sources)}" for path in (sources / "experiments").glob("*/*.yaml")]
    read += [
        f"essnet/{path.relative_to(package)}" for path in package.rglob("*.txt") if "__pycache__" not in path.parts
    ]
    read += [f"essnet/{path.relative_to(package)}" for path in (package / "report/page/templates").iterdir()]
    assert set(read) <= names
    assert {"essnet/py.typed", "essnet/__init__.pyi"} <= names
    assert not [name for name in names if not name.startswith(("essnet/", "essnet-"))]


def test_it_says_what_it_is(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        (metadata,) = [name for name in archive.namelist() if name.endswith("/METADATA")]
        (licence,) = [name for name in archive.namelist() if name.endswith("/LICENSE")]
        said = Parser().parsestr(archive.read(metadata).decode())
        assert archive.read(licence) == (ROOT / "LICENSE").read_bytes()
    assert (said["Name"], said["Version"], said["License-Expression"]) == ("essnet", essnet.__version__, "MIT")
    wanted = [line.split("#")[0].strip() for line in (ROOT / "requirements.txt").read_text().splitlines()]
    assert len(said.get_all("Requires-Dist")) == len([line for line in wanted if line])


def test_installed_without_the_repository_it_runs_from_an_empty_folder(wheel: Path, tmp_path: Path) -> None:
    environment = tmp_path / "environment"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(environment)], check=True)
    python, program = environment / "bin" / "python", environment / "bin" / "essnet"
    install = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet", "--no-deps", "--no-index"]
    subprocess.run([*install, str(wheel)], check=True)
    (installed,) = environment.glob("lib/python*/site-packages")
    # The packages that essnet needs are those of this environment: another 8 GB would be the same.
    (installed / "requirements.pth").write_text(sysconfig.get_path("purelib") + "\n")
    folder = tmp_path / "empty"
    folder.mkdir()
    clean = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}

    def run(*command: str | Path) -> str:
        done = subprocess.run(command, cwd=folder, env=clean, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert run(python, "-c", "import essnet; print(essnet.__file__)").strip() == str(installed / "essnet/__init__.py")
    assert "sweep textures: 8 trials" in run(program, "sweep", "experiments/textures/sweep.yaml", "--dry-run")
    assert list(folder.iterdir()) == []
    run(program, "train", "experiments/textures/trial.yaml", "--fast-dev-run", "trainer.batch_size=2")
    assert (folder / "runs/train/textures-fast-dev-run/checkpoints/best/model.safetensors").is_file()
