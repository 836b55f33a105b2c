from __future__ import annotations

from pathlib import Path

import pytest

from essnet.atomic_files import replace_folder


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
