"""Everything that is wrong with a data set is listed at once, and the rest is counted."""

from __future__ import annotations

import os
import shutil
from itertools import takewhile
from pathlib import Path

import numpy as np
import pytest

from essnet.coco_lvis.builder import build
from essnet.data.checking import DataCheck, check_data
from essnet.data.image_files import read_image
from essnet.data.label_histogram import count_labels
from tests.coco_lvis.generated import overlapping, request
from tests.data.fixtures import make_folder_dataset, save_mask, truncate
from tests.data.official_fixtures import FIXTURES, Fixture, Item, make_fixture, make_voc, write_lists
from tests.data.test_coco_lvis import block as coco_lvis_block
from tests.data.test_official_sets import block, load, spoil_label


def check(fixture: Fixture, *splits: str, workers: int = 0) -> DataCheck:
    return check_data(block(fixture), splits=splits, workers=workers, progress=lambda what, done, total: None)


def lines(result: DataCheck, kind: str) -> list[str]:
    return [problem.text for problem in result.problems if problem.kind == kind]


def add_items(fixture: Fixture, count: int) -> list[Item]:
    """Further items in `train` with names of their own, in every list that has the last one."""
    last = fixture.items["train"][-1]
    alike = takewhile(lambda pair: pair[0] == pair[1], zip(last.image.name, last.label.name, strict=False))
    name = "".join(letter for letter, _ in alike).rstrip("._")
    for number in range(count):
        new = f"zz{number}_{name}"
        fixture.add("train", *(path.with_name(path.name.replace(name, new)) for path in (last.image, last.label)))
        for path in fixture.root.rglob("*.txt"):
            listed = path.read_text()
            if last.image.stem in (Path(line).stem for line in listed.split()):
                path.write_text(f"{listed}{new}\n")
    return fixture.items["train"][-count:]


@pytest.fixture(params=FIXTURES)
def fixture(request: pytest.FixtureRequest, tmp_path: Path) -> Fixture:
    return make_fixture(request.param, tmp_path / "data")


def test_of_a_sound_data_set_all_splits_are_counted(fixture: Fixture) -> None:
    result = check(fixture)
    assert result.problems == []
    expected = {"train", "val"} | ({"test"} if fixture.data["name"] == "folder" else set())
    assert result.splits.keys() == expected
    for split, found in result.splits.items():
        counted = count_labels(load(fixture, split))
        assert found.to_json() == counted.to_json(found.dataset.classes)
        assert found.histogram.present.tolist() == counted.present.tolist()
        assert found.faulty == frozenset()


def test_everything_that_is_wrong_is_listed_at_once(fixture: Fixture) -> None:
    no_image, no_label, cut_image, cut_label, other_size, wrong_value, both = add_items(fixture, 7)
    no_image.image.unlink()
    no_label.label.unlink()
    truncate(cut_image.image)
    truncate(cut_label.label)
    fixture.write_label(other_size.label, np.full((9, 7), min(fixture.meaning), np.uint8))
    spoil_label(fixture, wrong_value, fixture.wrong_value)
    truncate(both.image)
    spoil_label(fixture, both, fixture.wrong_value)

    result = check(fixture)
    missing = lines(result, "missing")
    assert len(missing) == 2
    for item in (no_image, no_label):
        assert sum(str(item.image) in line or str(item.label) in line for line in missing) == 1
    assert [line.split(": ")[0] for line in lines(result, "image")] == [str(cut_image.image), str(both.image)]
    assert [line.split(": ")[0] for line in lines(result, "label")] == [str(cut_label.label)]
    assert [line.split(": ")[0] for line in lines(result, "size")] == [str(other_size.image)]
    assert [line.split(": ")[0] for line in lines(result, "value")] == [str(wrong_value.label), str(both.label)]
    assert lines(result, "split") == []
    assert all("\n" not in problem.text for problem in result.problems)

    train = result.splits["train"]
    items = fixture.items["train"]
    assert len(train.dataset) == len(items) - 2
    faulty = {train.dataset.describe(index) for index in train.faulty}
    assert faulty == {item.image.name for item in (cut_image, cut_label, other_size, wrong_value, both)}
    # Labels that can be read are counted, whatever their image is like.
    assert train.histogram.images == len(items) - 2 - 3
    assert train.histogram.all_pixels == 63 + sum(
        item.targets.size
        for item in items
        if item not in (no_image, no_label, cut_label, other_size, wrong_value, both)
    )
    assert result.splits["val"].faulty == frozenset()


def test_processes_change_nothing(tmp_path: Path) -> None:
    root = make_folder_dataset(tmp_path, num_images=40, splits=("train",))
    save_mask(root / "masks/train/003.png", np.full((12, 16), 77, np.uint8))
    for number in (3, 35):
        truncate(root / f"images/train/{number:03}.png")
    fixture = Fixture(root, {"name": "folder"}, 4, {}, save_mask)
    alone, helped = check(fixture, "train"), check(fixture, "train", workers=2)
    assert alone.problems == helped.problems
    assert [problem.kind for problem in alone.problems] == ["value", "image", "image"]
    one, other = alone.splits["train"], helped.splits["train"]
    assert one.faulty == other.faulty == {3, 35}
    assert one.to_json() == other.to_json()


def test_an_unreadable_image_is_no_matter_of_size(tmp_path: Path) -> None:
    fixture = make_fixture("ade20k", tmp_path)
    item = fixture.items["val"][0]
    fixture.write_label(item.label, np.full((9, 7), 1, np.uint8))
    item.image.write_bytes(b"")
    result = check(fixture)
    assert [problem.kind for problem in result.problems] == ["image"]


def test_splits_that_are_not_there(tmp_path: Path) -> None:
    fixture = make_fixture("coco_stuff", tmp_path)
    shutil.rmtree(tmp_path / "images/val2017")
    result = check(fixture)
    assert [problem.text for problem in result.problems] == [
        f"{tmp_path / 'images/val2017'}: no such folder, and no {tmp_path / 'val2017'} either"
    ]
    assert result.splits.keys() == {"train"}
    assert check(fixture, "train").problems == []
    (problem,) = check(fixture, "test").problems
    assert problem.text.startswith("coco_stuff: split test has no labels")


def test_a_fault_that_splits_share_is_told_once(tmp_path: Path) -> None:
    fixture = make_fixture("cityscapes", tmp_path)
    shutil.rmtree(tmp_path / "gtFine")
    result = check(fixture)
    assert len(lines(result, "split")) == len(result.problems) == 1
    assert result.splits == {}


def test_a_city_that_only_one_side_has(tmp_path: Path) -> None:
    fixture = make_fixture("cityscapes", tmp_path)
    shutil.rmtree(tmp_path / "gtFine/train/ulm")
    result = check(fixture)
    (line,) = lines(result, "missing")
    assert line.startswith(f"{tmp_path / 'gtFine/train/ulm'}: no such folder")
    assert len(result.splits["train"].dataset) == 2


def test_two_images_of_one_mask(tmp_path: Path) -> None:
    fixture = make_fixture("folder", tmp_path)
    shutil.copy(tmp_path / "images/train/b.jpg", tmp_path / "images/train/b.png")
    result = check(fixture)
    (line,) = lines(result, "missing")
    assert line == f"{tmp_path / 'images/train/b.png'}: has the same name as b.jpg but for the ending; keep one"
    assert len(result.splits["train"].dataset) == 3


def test_a_pipe_is_named_and_not_waited_for(tmp_path: Path) -> None:
    root = make_folder_dataset(tmp_path)
    pipes = [root / "images/train/000.png", root / "masks/train/002.png"]
    for path in pipes:
        path.unlink()
        os.mkfifo(path)
    result = check(Fixture(root, {"name": "folder"}, 4, {}, save_mask))
    assert [problem.text for problem in result.problems] == [
        f"{path}: is a pipe, a device or a link to nothing; expected a plain file" for path in pipes
    ]
    assert result.splits["train"].dataset.pair(0).image.name == "001.png"
    assert len(result.splits["train"].dataset) == 1


def test_a_split_without_any_label(tmp_path: Path) -> None:
    root = make_folder_dataset(tmp_path)
    for path in (root / "masks/val").iterdir():
        save_mask(path, np.full((12, 16), 255, np.uint8))
    fixture = Fixture(root, {"name": "folder"}, 4, {}, save_mask)
    result = check(fixture)
    assert [problem.text for problem in result.problems] == ["val: no pixel has a class; nothing to learn from"]
    assert result.splits["val"].to_json()["ignored_share"] == 1


def test_voc_of_2007_has_a_test_split_where_it_is_there(tmp_path: Path) -> None:
    fixture = make_voc(tmp_path, year=2007)
    assert check(fixture).splits.keys() == {"train", "val"}
    write_lists(tmp_path / "VOC2007/ImageSets/Segmentation", {"test": ["2007_000033"]})
    assert check(fixture).splits.keys() == {"train", "val", "test"}


def test_examples_are_spread_and_can_be_loaded(tmp_path: Path) -> None:
    root = make_folder_dataset(tmp_path, num_images=9, splits=("train", "val"))
    for number in (0, 4):
        truncate(root / f"images/train/{number:03}.png")
    found = check(Fixture(root, {"name": "folder"}, 4, {}, save_mask)).splits["train"]
    assert found.faulty == {0, 4}
    chosen = {index: image for index, (image, _) in found.examples(3)}
    assert list(chosen) == [2, 5, 7]
    for index, image in chosen.items():
        pixels = read_image(root / f"images/train/{index:03}.png")
        assert np.array_equal(image.permute(1, 2, 0).numpy(), pixels)
    assert [index for index, _ in found.examples(99)] == [1, 2, 3, 5, 6, 7, 8]


def test_coco_lvis_lists_all_that_is_missing_and_knows_its_groups(tmp_path: Path) -> None:
    asked = request(overlapping(1, size=40).write(tmp_path))
    build(asked, workers=0, progress=lambda what, done, total: None)
    config = coco_lvis_block(asked.output)
    listed = (asked.output / "masks/train/images.txt").read_text().splitlines()
    whole = check_data(config, workers=0, progress=lambda what, done, total: None)
    assert whole.problems == []

    image, mask = tmp_path / "images" / listed[0], asked.output / f"masks/train/{Path(listed[1]).stem}.png"
    image.unlink()
    mask.unlink()
    result = check_data(config, workers=0, progress=lambda what, done, total: None)
    assert [line.split(": not found")[0] for line in lines(result, "missing")] == [str(image), str(mask)]
    assert len(result.splits["train"].dataset) == len(listed) - 2

    train = whole.splits["train"]
    groups = train.frequency_groups
    assert {name: group["classes"] for name, group in groups.items()} == {
        "frequent": 401,
        "common": 401,
        "rare": 401,
        "stuff": 81,
    }
    seen = set(train.histogram.present.tolist())
    assert sum(group["seen"] for group in groups.values()) == len(seen)
    assert groups["stuff"]["seen"] == sum(index >= 1203 for index in seen)
    assert train.to_json()["frequency_groups"] == groups
