"""Snapshots, in a folder: what an S3 server does otherwise stands in test_storage."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from essnet.sweep.snapshot_writer import CHECKPOINTS, FILES, SnapshotWriter, TakenOver
from essnet.sweep.snapshots import FORMAT_VERSION, Snapshot, Snapshots
from essnet.sweep.storage import Storage, StorageError


@pytest.fixture
def snapshots(tmp_path: Path) -> Snapshots:
    return Snapshots(Storage(str(tmp_path / "storage")), "sweep/trials/000")


def files_of(folder: Path, **contents: str) -> dict[str, Path]:
    """Write files, whose names have `_` for `/`; return them as `SnapshotWriter.keep` takes them."""
    found = {}
    for name, text in contents.items():
        path = folder / name.replace("_", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        found[str(path.relative_to(folder))] = path
    return found


def read_all(folder: Path) -> dict[str, str]:
    return {str(p.relative_to(folder)): p.read_text() for p in folder.rglob("*") if p.is_file() and not p.is_symlink()}


def fetched(snapshots: Snapshots, folder: Path) -> dict[str, str]:
    newest = snapshots.newest()
    assert newest is not None
    snapshots.fetch(newest, folder)
    return read_all(folder)


def stored(snapshots: Snapshots) -> int:
    """How many contents the storage holds."""
    return sum(len(snapshots.storage.names(f"{snapshots.prefix}/{part}")) for part in (FILES, CHECKPOINTS))


def test_parts_are_kept_by_themselves(snapshots: Snapshots, tmp_path: Path) -> None:
    writer = SnapshotWriter(snapshots, after=None)
    writer.keep(FILES, files_of(tmp_path / "a", log="1", sub_x="2"))
    writer.keep(CHECKPOINTS, files_of(tmp_path / "b", **{"step-1_model": "m"}), {"last": "step-1"})
    writer.keep(FILES, files_of(tmp_path / "a", log="1+", sub_x="2"))
    assert fetched(snapshots, tmp_path / "here") == {"log": "1+", "sub/x": "2", "step-1/model": "m"}
    assert (tmp_path / "here" / "last" / "model").read_text() == "m"
    assert stored(snapshots) == 3  # the first log is gone
    assert len(snapshots.names()) == 1


def test_nothing_new_is_nothing_written(snapshots: Snapshots, tmp_path: Path) -> None:
    writer = SnapshotWriter(snapshots, after=None)
    writer.keep(FILES, files_of(tmp_path, log="1"))
    (name,) = snapshots.names()
    writer.keep(FILES, files_of(tmp_path, log="1"))
    assert snapshots.names() == [name]


def test_what_goes_away_is_left_out(snapshots: Snapshots, tmp_path: Path) -> None:
    writer = SnapshotWriter(snapshots, after=None)
    writer.keep(FILES, {**files_of(tmp_path / "a", log="1"), "gone": tmp_path / "gone"})
    assert fetched(snapshots, tmp_path / "here") == {"log": "1"}


@pytest.mark.parametrize("large", [False, True])
def test_a_process_that_dies_before_the_list(
    snapshots: Snapshots, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, large: bool
) -> None:
    """Of a checkpoint that is half there, nobody sees anything; the next attempt tidies up."""
    if large:
        monkeypatch.setattr("essnet.sweep.snapshot_writer._READ_WHOLE", 0)
    writer = SnapshotWriter(snapshots, after=None)
    writer.keep(
        CHECKPOINTS, files_of(tmp_path / "a", **{"step-1_model": "m", "step-1_trainer": "t"}), {"last": "step-1"}
    )
    before = snapshots.newest()

    def die(_: Snapshot) -> None:
        raise SystemError("killed")

    monkeypatch.setattr(writer, "_write", die)
    with pytest.raises(SystemError):
        writer.keep(CHECKPOINTS, files_of(tmp_path / "b", **{"step-2_model": "m2"}), {"last": "step-2"})
    assert snapshots.newest() == before
    assert stored(snapshots) == 3
    SnapshotWriter(snapshots, after=before)
    assert stored(snapshots) == 2
    assert fetched(snapshots, tmp_path / "here") == {"step-1/model": "m", "step-1/trainer": "t"}


def test_a_newer_attempt_takes_over(snapshots: Snapshots, tmp_path: Path) -> None:
    old = SnapshotWriter(snapshots, after=None)
    old.keep(FILES, files_of(tmp_path / "a", log="old", error="why"))
    new = SnapshotWriter(snapshots, after=snapshots.newest(), without=("error",))
    with pytest.raises(TakenOver, match="another process keeps sweep/trials/000 now"):
        old.keep(FILES, files_of(tmp_path / "a", log="older"))
    assert fetched(snapshots, tmp_path / "here") == {"log": "old"}
    new.keep(FILES, files_of(tmp_path / "b", log="new"))
    assert fetched(snapshots, tmp_path / "here") == {"log": "new"}
    assert new.attempt == old.attempt + 1


def test_the_end_is_told_until_somebody_begins_again(snapshots: Snapshots, tmp_path: Path) -> None:
    writer = SnapshotWriter(snapshots, after=None)
    writer.keep(FILES, files_of(tmp_path, log="1"))
    writer.end()
    newest = snapshots.newest()
    assert newest is not None
    assert newest.ended
    again = SnapshotWriter(snapshots, after=newest)
    newest = snapshots.newest()
    assert newest is not None
    assert (newest.attempt, newest.ended) == (again.attempt, False)


def test_only_what_changed_is_fetched_and_what_is_gone_is_removed(snapshots: Snapshots, tmp_path: Path) -> None:
    writer = SnapshotWriter(snapshots, after=None)
    writer.keep(FILES, files_of(tmp_path / "a", log="1", config="c", old_x="x"))
    newest = snapshots.newest()
    assert newest is not None
    here = tmp_path / "here"
    known = snapshots.fetch(newest, here)
    (here / "config").write_text("as fetched")
    (here / "own").write_text("stays")
    writer.keep(FILES, files_of(tmp_path / "b", log="2", config="c"))
    newest = snapshots.newest()
    assert newest is not None
    snapshots.fetch(newest, here, known=known)
    assert read_all(here) == {"log": "2", "config": "as fetched", "own": "stays"}
    assert not (here / "old").exists()


def test_contents_that_are_gone_or_damaged(snapshots: Snapshots, tmp_path: Path) -> None:
    writer = SnapshotWriter(snapshots, after=None)
    writer.keep(FILES, files_of(tmp_path / "a", log="1"))
    newest = snapshots.newest()
    assert newest is not None
    key = f"{snapshots.prefix}/{newest.files['log']}"
    snapshots.storage.write(key, b"no")
    with pytest.raises(StorageError, match="is not what was written"):
        snapshots.fetch(newest, tmp_path / "here")
    snapshots.storage.remove([key])
    with pytest.raises(FileNotFoundError):
        snapshots.fetch(newest, tmp_path / "here")
    assert read_all(tmp_path / "here") == {}


def test_a_list_that_is_half_there_does_not_count(snapshots: Snapshots, tmp_path: Path) -> None:
    writer = SnapshotWriter(snapshots, after=None)
    writer.keep(FILES, files_of(tmp_path / "a", log="1"))
    newest = snapshots.newest()
    snapshots.storage.write(f"{snapshots.prefix}/snapshots/000002-000000.json", b'{"files": {')
    assert snapshots.newest() == newest


@pytest.mark.parametrize(
    ("files", "links"),
    [
        ({"../out": f"{FILES}/0"}, {}),
        ({"a/../../out": f"{FILES}/0"}, {}),
        ({"/out": f"{FILES}/0"}, {}),
        ({"": f"{FILES}/0"}, {}),
        ({"in": "../../../secret"}, {}),
        ({}, {"../out": "in"}),
        ({}, {"in": "../out"}),
        ({}, {"in": "/etc"}),
        ({}, {"in": "a/b"}),
    ],
)
def test_what_leads_elsewhere_is_not_brought(
    files: dict[str, str], links: dict[str, str], snapshots: Snapshots, tmp_path: Path
) -> None:
    SnapshotWriter(snapshots, after=None)
    (tmp_path / "storage" / "secret").write_text("x")
    forged = Snapshot(attempt=9, number=0, files=files, links=links)
    snapshots.storage.write(f"{snapshots.prefix}/snapshots/{forged.name}", forged.to_bytes())
    before = read_all(tmp_path)
    with pytest.raises(StorageError, match="leads elsewhere; no process of a sweep wrote this"):
        fetched(snapshots, tmp_path / "here")
    assert read_all(tmp_path) == before


def test_a_newer_format_is_refused_not_passed_over(snapshots: Snapshots) -> None:
    SnapshotWriter(snapshots, after=None)
    newer = Snapshot(attempt=9, number=0, files={}, links={})
    content = {**json.loads(newer.to_bytes()), "format_version": FORMAT_VERSION + 1, "essnet_version": "9.8.7"}
    snapshots.storage.write(f"{snapshots.prefix}/snapshots/{newer.name}", json.dumps(content).encode())
    with pytest.raises(StorageError, match=rf"{newer.name}: has format 2, .* it needs essnet 9.8.7 or newer$"):
        snapshots.newest()
