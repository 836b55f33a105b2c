"""One suite for both kinds of storage: a bucket of a real S3 server, and a folder."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from essnet.sweep import storage as storage_module
from essnet.sweep.storage import Storage, StorageError, insist
from tests.sweep.s3_server import BUCKET, s3_server


@pytest.fixture(scope="module")
def server() -> Iterator[subprocess.Popen[bytes]]:
    with s3_server() as running:
        yield running


@pytest.fixture(params=["s3", "folder"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Storage:
    if request.param == "folder":
        return Storage(str(tmp_path / "storage"))
    request.getfixturevalue("server")
    return Storage(f"s3://{BUCKET}/{tmp_path.name}")


def test_what_is_written_is_read(storage: Storage, tmp_path: Path) -> None:
    storage.write("a/b/one", b"1")
    (tmp_path / "big").write_bytes(os.urandom(20 << 20))  # in several parts
    storage.upload(tmp_path / "big", "a/b/two")
    assert storage.names("a/b") == ["one", "two"]
    assert storage.names("a") == []  # folders are no files
    assert storage.read("a/b/one") == b"1"
    storage.download("a/b/two", tmp_path / "again")
    assert (tmp_path / "again").read_bytes() == (tmp_path / "big").read_bytes()
    storage.write("a/b/one", b"other")
    assert storage.read("a/b/one") == b"other"
    storage.remove(["a/b/one", "a/b/none"])
    assert storage.names("a/b") == ["two"]


def test_what_is_not_there(storage: Storage, tmp_path: Path) -> None:
    assert storage.names("none") == []
    with pytest.raises(FileNotFoundError):
        storage.read("none/at/all")
    with pytest.raises(FileNotFoundError):
        storage.download("none/at/all", tmp_path / "file")


def test_a_check_leaves_nothing(storage: Storage) -> None:
    storage.check()
    assert storage.names("") == []


@pytest.mark.usefixtures("server")
def test_a_bucket_that_is_not_there() -> None:
    with pytest.raises(StorageError, match=r"^storage: s3://none/x: NO_SUCH_BUCKET during [^\n]*$"):
        Storage("s3://none/x").check()


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match=rf"^storage: {tmp_path}/file/x: [^\n]*Not a directory"):
        Storage(str(tmp_path / "file" / "x")).check()


def test_a_server_that_pauses(server: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storage_module, "_CONNECT_SECONDS", 1.0)
    monkeypatch.setattr(storage_module, "_ANSWER_SECONDS", 1.0)
    storage = Storage(f"s3://{BUCKET}/pause")
    server.send_signal(signal.SIGSTOP)
    try:
        with pytest.raises(StorageError, match=r"^storage: s3://bucket/pause: "):
            storage.write("a", b"1")
    finally:
        server.send_signal(signal.SIGCONT)
    insist(lambda: storage.write("a", b"2"))
    assert storage.read("a") == b"2"


def test_patience_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storage_module, "_PATIENCE_SECONDS", 0.2)
    monkeypatch.setattr(storage_module, "_PAUSE_SECONDS", 0.05)
    tried = []

    def fail() -> None:
        tried.append(1)
        raise StorageError("away")

    with pytest.raises(StorageError, match="away"):
        insist(fail)
    assert len(tried) > 1
