"""Configurations that come with essnet, wherever it is called from."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from essnet.config import InputError, load_sweep, load_trial

ROOT = Path(__file__).resolve().parents[2]
SHIPPED = sorted(str(path.relative_to(ROOT)) for path in (ROOT / "experiments").glob("*/*.yaml"))


def test_from_another_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    sweep = load_sweep(Path("experiments/textures/sweep.yaml"))
    assert sweep.config.name == "textures"


def test_what_lies_there_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    own = tmp_path / "experiments" / "textures" / "trial.yaml"
    own.parent.mkdir(parents=True)
    own.write_text(
        (ROOT / "experiments/textures/trial.yaml").read_text().replace("name: textures\n", "name: mine\n", 1)
    )
    assert load_trial(Path("experiments/textures/trial.yaml")).name == "mine"


@pytest.mark.parametrize("path", ["experiments/textures/none.yaml", "elsewhere/textures/trial.yaml"])
def test_what_is_nowhere_is_named_as_it_was_asked_for(
    path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=f"^{path}"):
        load_trial(Path(path))


@pytest.mark.slow
def test_the_wheel_has_all_that_the_package_reads(tmp_path: Path) -> None:
    build = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
    copied = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=False)
    if copied.returncode:
        pytest.skip("this is no git checkout")
    # A wheel is built in the folder of its sources, and leaves things there.
    sources = tmp_path / "sources"
    for name in filter(None, copied.stdout.decode().split("\0")):
        original, copy = ROOT / name, sources / name
        copy.parent.mkdir(parents=True, exist_ok=True)
        if original.is_symlink():
            copy.symlink_to(original.readlink())
        elif original.is_file():
            copy.write_bytes(original.read_bytes())
    subprocess.run([*build, "--wheel-dir", str(tmp_path), str(sources)], check=True)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    read = [f"essnet/{name}" for name in SHIPPED]
    package = ROOT / "essnet"
    read += [
        f"essnet/{path.relative_to(package)}" for path in package.rglob("*.txt") if "__pycache__" not in path.parts
    ]
    read += [f"essnet/{path.relative_to(package)}" for path in (package / "report/page/templates").iterdir()]
    assert set(read) <= names
    assert {"essnet/py.typed", "essnet/__init__.pyi"} <= names
    assert not [name for name in names if not name.startswith(("essnet/", "essnet-"))]
