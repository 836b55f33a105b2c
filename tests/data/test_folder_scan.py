from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest

import essnet.data.folder_scan as folder_scan
from essnet.config.errors import InputError
from essnet.data.class_table import read_class_table
from essnet.data.folder import FolderDataset
from essnet.data.folder_layout import list_pairs
from essnet.data.folder_scan import scan_folder
from essnet.data.mask_labels import MaskLabels
from essnet.progress import ItemProgress
from tests.data.fixtures import make_folder_dataset, save_mask


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return make_folder_dataset(tmp_path / "d", num_images=5)


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the masks that scans read, in any order."""
    names: list[str] = []
    read = folder_scan.read_mask_ids

    def counted(path: Path) -> np.ndarray:
        names.append(path.name)
        return read(path)

    monkeypatch.setattr(folder_scan, "read_mask_ids", counted)
    return names


def scan(root: Path, *, cache_dir: Path | None = None, progress: ItemProgress | None = None) -> np.ndarray:
    labels = MaskLabels(classes=read_class_table(root / "classes.txt"))
    pairs = list_pairs(root, "train")
    return scan_folder(root=root, split="train", pairs=pairs, labels=labels, cache_dir=cache_dir, progress=progress)


def naive_histogram(root: Path) -> list[int]:
    dataset = FolderDataset(root=root, split="train")
    return [sum(int((dataset[i][1] == label).sum()) for i in range(len(dataset))) for label in range(4)]


def test_each_mask_is_read_once_and_counted(root: Path, reads: list[str]) -> None:
    save_mask(root / "masks/train/002.png", np.array([[0, 255, 3, 1] * 4] * 12, np.uint8))
    progress: list[tuple[int, int]] = []
    class_pixels = scan(root, progress=lambda done, total: progress.append((done, total)))
    assert sorted(reads) == [f"{number:03}.png" for number in range(5)]
    assert progress == [(done, 5) for done in range(1, 6)]
    assert class_pixels.dtype == np.int64
    assert class_pixels.tolist() == naive_histogram(root)
    assert class_pixels.sum() == 5 * 12 * 16 - 12 * 4  # what is ignored is not counted


def test_the_scan_is_paid_once(root: Path, tmp_path: Path, reads: list[str]) -> None:
    first = scan(root, cache_dir=tmp_path / "deep" / "cache")
    reads.clear()
    again = scan(root, cache_dir=tmp_path / "deep" / "cache")
    assert reads == []
    assert (again == first).all()
    assert again.dtype == np.int64
    assert [path.suffix for path in (tmp_path / "deep" / "cache").iterdir()] == [".json"]


@pytest.mark.parametrize("options", [{"split": "val"}, {"ignore_value": None}, {"ignore_value": 200}])
def test_splits_and_options_have_scans_of_their_own(
    root: Path, tmp_path: Path, reads: list[str], options: dict
) -> None:
    FolderDataset(root=root, split="train", cache_dir=tmp_path / "cache")
    reads.clear()
    FolderDataset(**{"root": root, "split": "train", "cache_dir": tmp_path / "cache", **options})
    assert len(reads) == 5
    reads.clear()
    FolderDataset(root=root, split="train", cache_dir=tmp_path / "cache")
    assert reads == [], "the other scan must not push this one out"


def touch(path: Path) -> None:
    status = path.stat()
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns + 1))


@pytest.mark.parametrize("name", ["images/train/003.png", "masks/train/003.png", "classes.txt"])
def test_a_changed_file_is_scanned_again(root: Path, tmp_path: Path, reads: list[str], name: str) -> None:
    FolderDataset(root=root, split="train", cache_dir=tmp_path / "cache")
    reads.clear()
    touch(root / name)
    FolderDataset(root=root, split="train", cache_dir=tmp_path / "cache")
    assert len(reads) == 5


def test_a_mask_that_went_bad_is_found_in_spite_of_the_cache(root: Path, tmp_path: Path) -> None:
    FolderDataset(root=root, split="train", cache_dir=tmp_path / "cache")
    save_mask(root / "masks/train/002.png", np.full((12, 16), 99, np.uint8))
    with pytest.raises(InputError, match=r"002.png: mask has id 99"):
        FolderDataset(root=root, split="train", cache_dir=tmp_path / "cache")


@pytest.mark.parametrize("content", ["", "{", "[]", "null", "{}", "\x00\xff", '{"class_pixels": "many"}'])
def test_a_damaged_cache_is_done_again(root: Path, tmp_path: Path, reads: list[str], content: str) -> None:
    first = scan(root, cache_dir=tmp_path / "cache")
    (cache,) = (tmp_path / "cache").iterdir()
    whole = cache.read_text()
    cache.write_text(content, encoding="latin-1")
    reads.clear()
    assert (scan(root, cache_dir=tmp_path / "cache") == first).all()
    assert len(reads) == 5
    assert cache.read_text() == whole


@pytest.mark.parametrize("pixels", ["many", [1, 2], [[1, 2, 3, 4]], [1, 2, 3, None], [1, 2, 3, 10**30]])
def test_a_cache_with_the_right_fingerprint_and_wrong_counts_is_done_again(
    root: Path, tmp_path: Path, reads: list[str], pixels: object
) -> None:
    FolderDataset(root=root, split="train", cache_dir=tmp_path / "cache")
    (cache,) = (tmp_path / "cache").iterdir()
    cache.write_text(json.dumps({**json.loads(cache.read_text()), "class_pixels": pixels}))
    reads.clear()
    FolderDataset(root=root, split="train", cache_dir=tmp_path / "cache")
    assert len(reads) == 5


def test_a_cache_folder_that_cannot_be_written_means_no_cache(root: Path, tmp_path: Path, reads: list[str]) -> None:
    (tmp_path / "file").write_text("in the way")
    for _ in range(2):
        FolderDataset(root=root, split="train", cache_dir=tmp_path / "file" / "cache")
    assert len(reads) == 10


def test_a_failed_write_leaves_nothing_behind(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(os, "replace", fail)
    FolderDataset(root=root, split="train", cache_dir=tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []


def test_the_first_bad_file_by_name_is_reported(root: Path) -> None:
    for number in (4, 1, 3):
        save_mask(root / f"masks/train/{number:03}.png", np.full((12, 16), 50 + number, np.uint8))
    with pytest.raises(InputError, match=r"001.png: mask has id 51"):
        FolderDataset(root=root, split="train")
