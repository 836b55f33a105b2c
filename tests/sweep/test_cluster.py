from __future__ import annotations

import socket
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from ray._private.runtime_env.packaging import create_package

import essnet
from essnet.config import InputError, extensions
from essnet.config.extension_names import DATA_SETS
from essnet.sweep import cluster
from essnet.sweep.cluster import join_cluster, shipped_code
from essnet.sweep.shared_store import check_store, is_file

ROOT = Path(essnet.__file__).parent.parent


def shipped(folder: Path) -> set[str]:
    """Pack what Ray would ship, as Ray packs it, and list it."""
    package = folder / "package.zip"
    with shipped_code() as environment:
        create_package(environment["working_dir"], package, include_gitignore=False, excludes=environment["excludes"])
    return set(zipfile.ZipFile(package).namelist())


def test_the_package_is_shipped_whole(tmp_path: Path) -> None:
    folders = (ROOT / "essnet", ROOT / "essnet" / "experiments")  # the second is a link, which rglob does not follow
    found = [path for folder in folders for path in folder.rglob("*")]
    package = [path for path in found if path.is_file() and "__pycache__" not in path.parts]
    files = {str(path.relative_to(ROOT)) for path in package}
    assert "essnet/data/class_tables/ade20k.txt" in files
    assert shipped(tmp_path) == files


def test_nothing_else_is_shipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    project = tmp_path / "project"
    kept = ("essnet/__init__.py", "essnet/data/voc.py", "essnet/data/table.txt", "essnet/runs/a.py")
    left = (
        "launch.py", "README.md", ".gitignore", ".env", "secret", "runs/textures/trials/0/model.safetensors",
        "data/ade20k/images/1.jpg", ".git/HEAD", ".venv/lib/essnet/__init__.py", "venv/bin/python", "tests/essnet/a.py",
        "essnet.egg-info/PKG-INFO", "essnet2/a.py", "mlflow.db", "essnet/__pycache__/a.pyc",
        "essnet/data/__pycache__/kernels/a.nbi",
    )  # fmt: skip
    for name in (*kept, *left):
        (project / name).parent.mkdir(parents=True, exist_ok=True)
        (project / name).write_text("x")
    monkeypatch.setattr(cluster.essnet, "__file__", str(project / "essnet" / "__init__.py"))
    assert shipped(tmp_path) == set(kept)


def test_code_of_the_user_is_shipped_with_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("mine_s/__init__.py", "mine_s/data.py", "mine_s/colours.txt", "mine_t.py", "json.py", "beside.py"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("build = 3\n")
    monkeypatch.setattr(extensions, "_allowed", {})
    monkeypatch.setattr(sys, "path", list(sys.path))
    names = ["mine_s.data:build", "mine_t:build", "json:dumps"]
    extensions.allow(names, folder=tmp_path)
    for name in names:
        extensions.load(name, group=DATA_SETS, key="data.name")
    sent = {name for name in shipped(tmp_path) if not name.startswith("essnet/")}
    assert sent == {"mine_s/__init__.py", "mine_s/data.py", "mine_s/colours.txt", "mine_t.py"}


@pytest.fixture
def silent_port() -> Iterator[int]:
    """A port on which nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        yield probe.getsockname()[1]


def test_nobody_listens(silent_port: int) -> None:
    with pytest.raises(InputError, match=f"^--address: no cluster answers at 127.0.0.1:{silent_port}$"):
        join_cluster(f"127.0.0.1:{silent_port}")


@pytest.mark.parametrize(
    ("address", "message"),
    [
        (
            "ray://10.0.0.1:10001",
            r"^--address: found 'ray://10\.0\.0\.1:10001'; expected host:port of a cluster's head",
        ),
        ("local", "^--address: found 'local'; expected host:port"),
        ("nowhere.invalid:6379", r"^--address: no cluster answers at nowhere\.invalid:6379 \("),
        ("10.0.0.1", r"^--address: no cluster answers at 10\.0\.0\.1 \("),
        ("10.0.0.1:ray", r"^--address: no cluster answers at 10\.0\.0\.1:ray \("),
        ("", r"^--address: no cluster answers at  \("),
    ],
)
def test_an_address_that_is_none(address: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        join_cluster(address)


def test_auto_is_what_the_environment_names(silent_port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_ADDRESS", f"127.0.0.1:{silent_port}")
    with pytest.raises(InputError, match=f"^--address: no cluster answers at 127.0.0.1:{silent_port}$"):
        join_cluster("auto")
    monkeypatch.setenv("RAY_ADDRESS", "local")
    with pytest.raises(InputError, match=r"^--address: found 'local'"):
        join_cluster("auto")


@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        ("sqlite:////runs/mlflow.db", True),
        ("sqlite+pysqlite:///mlflow.db", True),
        ("file:///runs/mlruns", True),
        ("./mlruns", True),
        ("http://10.0.0.1:5000", False),
        ("https://mlflow.example.org/path", False),
        ("postgresql://user:password@10.0.0.1/mlflow", False),
        ("mysql+pymysql://10.0.0.1/mlflow", False),
    ],
)
def test_stores_that_are_files(uri: str, expected: bool, tmp_path: Path) -> None:
    assert is_file(uri) is expected
    if expected:
        with pytest.raises(InputError, match="several nodes cannot write to it"):
            check_store(uri, output=tmp_path, host="10.0.0.1")
    else:
        check_store(uri, output=tmp_path, host="10.0.0.1")
