"""Labels counted in every way there is, against a count that looks at one pixel after the other."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import essnet.data.kept_histogram as kept_histogram
from essnet.coco_lvis.builder import build
from essnet.config.errors import InputError
from essnet.data import ClassTable, SegmentationDataset, TexturesDataset
from essnet.data.coco_lvis import CocoLvisDataset
from essnet.data.folder import FolderDataset
from essnet.data.kept_histogram import label_histogram
from essnet.data.label_histogram import LabelHistogram, count_labels, histogram_of_images, joined
from essnet.labels import IGNORE_INDEX
from tests.coco_lvis.generated import overlapping, request
from tests.data.fixtures import make_folder_dataset, save_mask
from tests.data.official_fixtures import FIXTURES, make_fixture
from tests.data.test_official_sets import load


def assert_counts(histogram: LabelHistogram, dataset: SegmentationDataset) -> None:
    masks = [dataset[index][1].flatten().tolist() for index in range(len(dataset))]
    pixels = Counter(label for mask in masks for label in mask)
    assert histogram.images == len(masks)
    assert histogram.num_classes == dataset.classes.num_classes
    assert histogram.ignored_pixels == pixels.pop(IGNORE_INDEX, 0)
    assert {index: count for index, count in enumerate(histogram.pixels.tolist()) if count} == pixels
    assert histogram.all_pixels == sum(map(len, masks))
    for index, mask in enumerate(masks):
        first, last = histogram.offsets[index : index + 2]
        assert histogram.present[first:last].tolist() == sorted({*mask} - {IGNORE_INDEX})
    for index, images in enumerate(histogram.images_with.tolist()):
        assert images == sum(index in mask for mask in masks)


def assert_equal(one: LabelHistogram, other: LabelHistogram) -> None:
    assert one.ignored_pixels == other.ignored_pixels
    for name in ("pixels", "offsets", "present"):
        first, second = getattr(one, name), getattr(other, name)
        assert first.dtype == second.dtype
        assert np.array_equal(first, second), name


@pytest.mark.parametrize("name", FIXTURES)
def test_data_sets_in_files(tmp_path: Path, name: str) -> None:
    dataset = load(make_fixture(name, tmp_path))
    told: list[tuple[int, int]] = []
    histogram = count_labels(dataset, progress=lambda done, total: told.append((done, total)))
    assert_counts(histogram, dataset)
    assert told == [(len(dataset), len(dataset))]


def test_no_image_is_opened(tmp_path: Path) -> None:
    fixture = make_fixture("voc", tmp_path)
    whole = count_labels(load(fixture))
    for item in fixture.items["train"]:
        item.image.write_bytes(b"")
    assert_equal(count_labels(load(fixture)), whole)


def test_generated_scenes_and_more_than_one_part() -> None:
    dataset = TexturesDataset(split="train", num_classes=40, size=(9, 7), length=70)
    assert_counts(count_labels(dataset), dataset)


def test_processes_change_nothing(tmp_path: Path) -> None:
    root = make_folder_dataset(tmp_path / "d", num_images=70, splits=("train",))
    save_mask(root / "masks/train/041.png", np.full((12, 16), 255, np.uint8))
    dataset = FolderDataset(root=root, split="train")
    told: list[tuple[int, int]] = []
    histogram = count_labels(dataset, workers=2, progress=lambda done, total: told.append((done, total)))
    assert_equal(histogram, count_labels(dataset))
    assert_counts(histogram, dataset)
    assert len(told) == 3
    assert told[-1] == (70, 70)


def test_a_bad_label_is_named(tmp_path: Path) -> None:
    fixture = make_fixture("ade20k", tmp_path)
    label = fixture.items["train"][1].label
    label.write_bytes(b"no picture")
    with pytest.raises(InputError, match=rf"^{label}: cannot be read as an image"):
        count_labels(load(fixture))


def test_images_without_any_class() -> None:
    nothing = np.zeros(0, np.int64)
    histogram = histogram_of_images([(nothing, nothing, 5), (np.array([2]), np.array([3]), 0)], num_classes=3)
    assert histogram.offsets.tolist() == [0, 0, 1]
    assert histogram.images_with.tolist() == [0, 0, 1]
    assert histogram.ignored_share == pytest.approx(5 / 8)
    empty = joined([], num_classes=3)
    assert (empty.images, empty.all_pixels, empty.ignored_share) == (0, 0, 0)
    assert_equal(joined([empty, histogram], num_classes=3), histogram)


def test_for_scripts() -> None:
    histogram = histogram_of_images([(np.array([0, 2]), np.array([6, 1]), 3)], num_classes=3)
    assert histogram.to_json(ClassTable(("road", "sky", "tree"))) == {
        "images": 1,
        "pixels": 10,
        "ignored_share": 0.3,
        "classes_seen": 2,
        "never_seen": ["sky"],
        "classes": [
            {"id": 0, "name": "road", "pixels": 6, "images": 1},
            {"id": 1, "name": "sky", "pixels": 0, "images": 0},
            {"id": 2, "name": "tree", "pixels": 1, "images": 1},
        ],
    }


# What is kept.


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return make_folder_dataset(tmp_path / "d", num_images=5)


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The sizes of the data sets whose labels were counted."""
    sizes: list[int] = []

    def count(dataset: SegmentationDataset, **options: object) -> LabelHistogram:
        sizes.append(len(dataset))
        return count_labels(dataset)

    monkeypatch.setattr(kept_histogram, "count_labels", count)
    return sizes


def folder(root: Path, split: str = "train", **options: int | None) -> FolderDataset:
    return FolderDataset(root=root, split=split, **options)


def test_labels_are_counted_once(root: Path, tmp_path: Path, counted: list[int]) -> None:
    first = label_histogram(folder(root), cache_dir=tmp_path / "deep" / "cache")
    again = label_histogram(folder(root), cache_dir=tmp_path / "deep" / "cache")
    assert counted == [5]
    assert_equal(first, again)
    assert_counts(again, folder(root))
    assert [path.suffix for path in (tmp_path / "deep" / "cache").iterdir()] == [".npz"]


def test_splits_and_ways_to_read_are_kept_apart(root: Path, tmp_path: Path, counted: list[int]) -> None:
    datasets = [folder(root), folder(root, "val"), folder(root, ignore_value=None)]
    for _ in range(2):
        for dataset in datasets:
            assert_counts(label_histogram(dataset, cache_dir=tmp_path / "cache"), dataset)
    assert counted == [5, 5, 5]


def test_scenes_are_kept_by_what_generates_them(tmp_path: Path, counted: list[int]) -> None:
    for seed in (0, 1, 0):
        dataset = TexturesDataset(split="train", num_classes=6, size=(8, 8), length=4, seed=seed)
        assert_counts(label_histogram(dataset, cache_dir=tmp_path), dataset)
    assert counted == [4, 4]


def touch(path: Path) -> None:
    status = path.stat()
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns + 1))


def other_size(path: Path) -> None:
    status = path.stat()
    save_mask(path, np.zeros((12, 16), np.uint8))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


@pytest.mark.parametrize("change", [touch, other_size])
def test_changed_labels_are_counted_again(
    root: Path, tmp_path: Path, counted: list[int], change: Callable[[Path], None]
) -> None:
    label_histogram(folder(root), cache_dir=tmp_path / "cache")
    change(root / "masks/train/003.png")
    assert_counts(label_histogram(folder(root), cache_dir=tmp_path / "cache"), folder(root))
    assert counted == [5, 5]


def cut_off(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-30])


def zeroed(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 3 : len(content) // 2] = bytes(len(content) // 2 - len(content) // 3)
    path.write_bytes(content)


def with_array(**arrays: object) -> Callable[[Path], None]:
    def change(path: Path) -> None:
        with np.load(path) as kept:
            content = {**kept, **arrays}
        with path.open("wb") as file:
            np.savez(file, **content)

    return change


DAMAGE: dict[str, Callable[[Path], object]] = {
    "empty": lambda path: path.write_bytes(b""),
    "no archive": lambda path: path.write_bytes(b"\x00" * 99),
    "cut off": cut_off,
    "zeroed": zeroed,
    "objects": with_array(present=np.array([{}, "a"], object)),
    "other classes": with_array(pixels=np.zeros(3, np.int64)),
    "other images": with_array(offsets=np.zeros(2, np.int64)),
    "unknown class": with_array(present=np.full(20, 9, np.int32)),
    "offsets that go back": with_array(offsets=np.array([0, 4, 20, 12, 16, 20])),
    "floats": with_array(pixels=np.zeros(4)),
    "a list": with_array(ignored_pixels=np.zeros(2, np.int64)),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_file_is_done_again(root: Path, tmp_path: Path, counted: list[int], damage: str) -> None:
    first = label_histogram(folder(root), cache_dir=tmp_path / "cache")
    assert len(first.present) == 20  # all four classes in each of the five
    (kept,) = (tmp_path / "cache").iterdir()
    DAMAGE[damage](kept)
    assert_equal(label_histogram(folder(root), cache_dir=tmp_path / "cache"), first)
    assert_equal(label_histogram(folder(root), cache_dir=tmp_path / "cache"), first)
    assert counted == [5, 5]


def test_a_folder_that_cannot_be_written_means_that_nothing_is_kept(
    root: Path, tmp_path: Path, counted: list[int]
) -> None:
    (tmp_path / "file").write_text("in the way")
    for cache_dir in (tmp_path / "file" / "cache", None):
        assert_counts(label_histogram(folder(root), cache_dir=cache_dir), folder(root))
    assert counted == [5, 5]


# What the builder of COCO+LVIS knows of its masks.


@pytest.fixture
def built(tmp_path: Path) -> Path:
    asked = request(overlapping(1, size=40).write(tmp_path))
    build(asked, workers=0, progress=lambda what, done, total: None)
    return asked.output


def test_a_build_has_counted_already(built: Path, counted: list[int]) -> None:
    for split in ("train", "val"):
        dataset = CocoLvisDataset(root=built, split=split)
        assert_equal(label_histogram(dataset, cache_dir=None), count_labels(dataset))
        assert_counts(label_histogram(dataset, cache_dir=None), dataset)
    assert counted == []


def lost(journal: Path) -> None:
    journal.write_bytes(b"".join(journal.read_bytes().splitlines(keepends=True)[1:]))


def other_mask(journal: Path) -> None:
    mask = sorted(journal.parent.glob("*.png"))[2]
    with Image.open(mask) as before:
        size = before.size[::-1]
    save_mask(mask, np.full(size, 7, np.uint16))


@pytest.mark.parametrize("change", [Path.unlink, lost, other_mask])
def test_where_the_build_does_not_know_the_masks_are_counted(
    built: Path, counted: list[int], change: Callable[[Path], None]
) -> None:
    change(built / "masks/train/masks.jsonl")
    dataset = CocoLvisDataset(root=built, split="train")
    assert_counts(label_histogram(dataset, cache_dir=None), dataset)
    assert counted == [len(dataset)]
