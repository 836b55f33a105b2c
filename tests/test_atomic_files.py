from __future__ import annotations

import errno
import json
import os
import sys
from pathlib import Path

import pytest
from pydantic import TypeAdapter

from essnet.atomic_files import read_json_as, replace_folder, write_atomically, write_json
from essnet.config import InputError
from tests.file_system_calls import refused_from
from tests.loss_of_power import recorded, states_after_loss


def files(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()}


def test_a_folder_is_replaced_as_a_whole(tmp_path: Path) -> None:
    folder = tmp_path / "below" / "folder"
    replace_folder(folder, lambda path: (path / "old").write_text("1"))
    replace_folder(folder, lambda path: (path / "new").write_text("2"))
    assert files(tmp_path) == {"below/folder/new": "2"}


def test_where_filling_it_fails_the_old_one_stays(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    replace_folder(folder, lambda path: (path / "old").write_text("1"))

    def fail(path: Path) -> None:
        assert files(folder) == {"old": "1"}
        (path / "half").write_text("")
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        replace_folder(folder, fail)
    assert files(tmp_path) == {"folder/old": "1"}


def test_what_a_killed_process_left_is_not_in_the_way(tmp_path: Path) -> None:
    for leftover in (".folder.partial", ".folder.removed"):
        (tmp_path / leftover).mkdir()
        (tmp_path / leftover / "of-before").write_text("")
    (tmp_path / "folder").mkdir()
    replace_folder(tmp_path / "folder", lambda path: (path / "new").write_text("2"))
    assert files(tmp_path) == {"folder/new": "2"}
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="names what is synced by /proc")
def test_whenever_power_is_lost_it_is_the_old_or_the_new_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = tmp_path / "sweep"
    write_json(root / "trial.json", {"state": "PENDING"})
    with recorded(root, monkeypatch) as recording:
        write_json(root / "trial.json", {"state": "RUNNING"})
    found = [tree["trial.json"] for _, tree in states_after_loss(recording)]
    assert {json.loads(content)["state"] for content in found if isinstance(content, bytes)} == {"PENDING", "RUNNING"}
    assert all(isinstance(content, bytes) for content in found)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="names what is synced by /proc")
def test_a_file_that_is_not_synced_would_be_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = tmp_path / "sweep"
    write_json(root / "trial.json", {})
    with recorded(root, monkeypatch) as recording:
        write_atomically(root / "trial.json", lambda path: path.write_text("[]"))
    assert b"" in [tree["trial.json"] for _, tree in states_after_loss(recording)]


@pytest.mark.parametrize("reason", [errno.ENOSPC, errno.EROFS])
@pytest.mark.parametrize("number", [0, 1])
def test_a_disk_that_refuses_leaves_the_old_one_and_is_named(tmp_path: Path, reason: int, number: int) -> None:
    path = tmp_path / "trial.json"
    write_json(path, {"state": "PENDING"})
    with refused_from(number, tmp_path, reason=reason), pytest.raises(OSError, match=os.strerror(reason)) as caught:
        write_json(path, {"state": "RUNNING"})
    assert caught.value.filename == str(path)
    assert json.loads(path.read_text()) == {"state": "PENDING"}


def test_a_write_that_is_refused_names_its_file(tmp_path: Path) -> None:
    """The system's own words for it name none."""
    (tmp_path / ".full").symlink_to("/dev/full")

    def write(_: Path) -> None:
        with (tmp_path / ".full").open("w") as file:
            file.write("x")

    with pytest.raises(OSError, match=f"No space left on device: '{tmp_path / 'a'}'"):
        write_atomically(tmp_path / "a", write)
    assert [path.name for path in tmp_path.iterdir()] == [".full"]


def test_what_is_read_is_of_its_kind(tmp_path: Path) -> None:
    kind = TypeAdapter(dict[str, list[int]])
    path = tmp_path / "a.json"
    assert read_json_as(path, kind, what="numbers") == {}
    write_json(path, {"a": [1, 2]})
    assert read_json_as(path, kind, what="numbers") == {"a": [1, 2]}
    for wrong, place in (({"a": 7}, "a"), ({"b": [1, "x"]}, "b.1")):
        write_json(path, wrong)
        with pytest.raises(InputError) as caught:
            read_json_as(path, kind, what="numbers")
        assert str(caught.value) == f"{path}: damaged; expected numbers ({place})"
