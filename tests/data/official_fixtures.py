"""Small data sets in the layouts in which they are published, and what each item ought to be."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from scipy.io import savemat
from torchvision.datasets import Cityscapes

from essnet.labels import IGNORE_INDEX

UNUSED_COCO_IDS = {12, 26, 29, 30, 45, 66, 68, 69, 71, 83, 91}
SIZES = ((48, 64), (40, 72), (56, 48))
"""Height and width of the images, in turn."""


@dataclass
class Item:
    """One image, its label file, and what the loader ought to make of that."""

    image: Path
    label: Path
    level: int
    """Mean grey level of the image: no other image has it."""
    targets: np.ndarray


@dataclass
class Fixture:
    """A data set on disk."""

    root: Path
    data: dict[str, Any]
    """The `data` block of a trial, without `root`."""
    num_classes: int
    meaning: dict[int, int]
    """Class index, or IGNORE_INDEX, of each label value that may occur."""
    write_label: Callable[[Path, np.ndarray], None]
    items: dict[str, list[Item]] = field(default_factory=dict)

    @property
    def wrong_value(self) -> int:
        """The smallest label value that stands for nothing."""
        return next(value for value in range(256) if value not in self.meaning)

    def add(self, split: str, image: Path, label: Path) -> None:
        """Write a noisy grey image, and a label in which every value occurs that may."""
        number = sum(map(len, self.items.values()))
        rng = np.random.default_rng(number)
        height, width = SIZES[number % len(SIZES)]
        level = 20 + 8 * number
        image.parent.mkdir(parents=True, exist_ok=True)
        label.parent.mkdir(parents=True, exist_ok=True)
        noise = rng.integers(-4, 5, size=(height, width, 1))
        Image.fromarray(np.repeat(level + noise, 3, axis=2).astype(np.uint8)).save(image)
        values = rng.permutation(np.resize(list(self.meaning), height * width)).reshape(height, width)
        self.write_label(label, values.astype(np.uint8))
        targets = np.vectorize(self.meaning.__getitem__)(values)
        self.items.setdefault(split, []).append(Item(image, label, level, targets))


def make_fixture(name: str, path: Path) -> Fixture:
    """Write the data set `name`, a key of `FIXTURES`, below `path`."""
    return FIXTURES[name](path)


def _folder(path: Path) -> Fixture:
    fixture = Fixture(path, {"name": "folder"}, 4, {0: 0, 1: 1, 2: 2, 3: 3, 255: IGNORE_INDEX}, write_grey)
    for split, names in {"train": "abc", "val": "de", "test": "f"}.items():
        for name in names:
            fixture.add(split, path / "images" / split / f"{name}.jpg", path / "masks" / split / f"{name}.png")
    (path / "classes.txt").write_text("road\nsky\ntree\ncar\n")
    return fixture


def _voc(path: Path, *, year: int = 2012) -> Fixture:
    meaning = {**{value: value for value in range(21)}, 255: IGNORE_INDEX}
    fixture = Fixture(path, {"name": "voc", "year": year}, 21, meaning, write_palette)
    folder = path / f"VOC{year}"
    splits = {"train": ["2007_000032", "2007_000039"], "val": ["2007_000033"]}
    for split, names in splits.items():
        for name in names:
            fixture.add(split, folder / "JPEGImages" / f"{name}.jpg", folder / "SegmentationClass" / f"{name}.png")
    splits["trainval"] = sorted(splits["train"] + splits["val"])
    write_lists(folder / "ImageSets" / "Segmentation", splits)
    fixture.items["trainval"] = sorted(fixture.items["train"] + fixture.items["val"], key=lambda item: item.image)
    # The other tasks' images and lists lie in the same folders.
    (folder / "JPEGImages" / "2008_999999.jpg").write_bytes(b"of another task")
    write_lists(folder / "ImageSets" / "Main", {"train": ["2008_999999"]})
    return fixture


def _voc_with_pngs(path: Path) -> Fixture:
    """SBD as SegmentationClassAug/: grey PNGs of its images and of VOC's own, val too, and a trainaug list."""
    fixture = _voc(path)
    folder = path / "VOC2012"
    fixture.data["augmented"] = True
    fixture.write_label = write_grey
    for item in fixture.items["trainval"]:
        write_grey(_made(folder / "SegmentationClassAug" / item.label.name), np.full(item.targets.shape, 20, np.uint8))
    for name in ("2008_000001", "2010_000002"):
        fixture.add("train", folder / "JPEGImages" / f"{name}.jpg", folder / "SegmentationClassAug" / f"{name}.png")
    names = [item.image.stem for item in fixture.items["train"]]
    lines = [f"/JPEGImages/{name}.jpg /SegmentationClassAug/{name}.png" for name in names[:2]] + names[2:]
    write_lists(folder / "ImageSets" / "Segmentation", {"trainaug": lines})
    return fixture


def _voc_with_mats(path: Path) -> Fixture:
    """SBD as it unpacks, beside VOC2012: .mat files in cls/, of images of VOC's train and val too, and two lists."""
    fixture = _voc(path)
    images, labels = path / "VOC2012" / "JPEGImages", path / "benchmark_RELEASE" / "dataset" / "cls"
    fixture.data["augmented"] = True
    fixture.write_label = write_sbd
    del fixture.meaning[255]  # SBD has no border
    for name in ("2007_000032", "2007_000033"):
        write_sbd(_made(labels / f"{name}.mat"), np.zeros((3, 3), np.uint8))
    for name in ("2008_000001", "2010_000002"):
        fixture.add("train", images / f"{name}.jpg", labels / f"{name}.mat")
    write_lists(labels.parent, {"train": ["2007_000033", "2008_000001"], "val": ["2007_000032", "2010_000002"]})
    return fixture


def _ade20k(path: Path) -> Fixture:
    meaning = {0: IGNORE_INDEX, **{value: value - 1 for value in range(1, 151)}}
    fixture = Fixture(path, {"name": "ade20k"}, 150, meaning, write_grey)
    for split, folder, short, count in (("train", "training", "train", 3), ("val", "validation", "val", 2)):
        for number in range(1, count + 1):
            name = f"ADE_{short}_{number:08}"
            fixture.add(split, path / "images" / folder / f"{name}.jpg", path / "annotations" / folder / f"{name}.png")
    (path / "objectInfo150.txt").write_text("Idx\tRatio\tTrain\tVal\tName\n")
    return fixture


def _cityscapes(path: Path) -> Fixture:
    meaning = {label.id: label.train_id for label in Cityscapes.classes if label.id >= 0}
    meaning = {value: IGNORE_INDEX if index == 255 else index for value, index in meaning.items()}
    meaning[255] = IGNORE_INDEX  # -1, the licence plate
    fixture = Fixture(path, {"name": "cityscapes"}, 19, meaning, write_grey)
    frames = {"train": ("aachen_000000", "aachen_000001", "ulm_000000"), "val": ("munster_000000",)}
    for split, names in frames.items():
        for name in names:
            city = name.split("_")[0]
            stem = f"{name}_000019"
            labels = path / "gtFine" / split / city
            fixture.add(
                split,
                path / "leftImg8bit" / split / city / f"{stem}_leftImg8bit.png",
                labels / f"{stem}_gtFine_labelIds.png",
            )
            for other in ("color.png", "instanceIds.png", "labelTrainIds.png", "polygons.json"):
                (labels / f"{stem}_gtFine_{other}").write_bytes(b"to be left alone")
    return fixture


def _coco_ids() -> list[int]:
    return [number for number in range(1, 183) if number not in UNUSED_COCO_IDS]


def _coco_stuff10k(path: Path) -> Fixture:
    meaning = {0: IGNORE_INDEX, **{number: index for index, number in enumerate(_coco_ids())}}
    fixture = Fixture(path, {"name": "coco_stuff10k"}, 171, meaning, write_s)
    lists = {"train": (30, 9, 25), "test": (77, 61)}
    for split, numbers in lists.items():
        for number in numbers:
            name = f"COCO_train2014_{number:012}"
            fixture.add(split, path / "images" / f"{name}.jpg", path / "annotations" / f"{name}.mat")
    fixture.items["val"] = fixture.items["test"]
    write_lists(path / "imageLists", {split: [item.image.stem for item in fixture.items[split]] for split in lists})
    return fixture


def _coco_stuff(path: Path) -> Fixture:
    meaning = {number - 1: index for index, number in enumerate(_coco_ids())}
    meaning[255] = IGNORE_INDEX
    fixture = Fixture(path, {"name": "coco_stuff"}, 171, meaning, write_grey)
    for split, numbers in {"train": (9, 25, 30), "val": (139, 285)}.items():
        for number in numbers:
            folder, name = f"{split}2017", f"{number:012}"
            fixture.add(
                split, path / "images" / folder / f"{name}.jpg", path / "stuffthingmaps" / folder / f"{name}.png"
            )
    return fixture


FIXTURES: dict[str, Callable[[Path], Fixture]] = {
    "folder": _folder,
    "voc": _voc,
    "voc with SBD as PNG": _voc_with_pngs,
    "voc with SBD as MAT": _voc_with_mats,
    "ade20k": _ade20k,
    "cityscapes": _cityscapes,
    "coco_stuff10k": _coco_stuff10k,
    "coco_stuff": _coco_stuff,
}


def make_voc(path: Path, *, year: int) -> Fixture:
    """Write VOC of another year."""
    return _voc(path, year=year)


def write_lists(folder: Path, lists: Mapping[str, list[str]]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, lines in lists.items():
        (folder / f"{name}.txt").write_text("".join(f"{line}\n" for line in lines))


def write_grey(path: Path, values: np.ndarray) -> None:
    Image.fromarray(values).save(path)


def write_palette(path: Path, values: np.ndarray) -> None:
    """An indexed PNG whose colours say nothing of the values."""
    image = Image.fromarray(values).convert("P")
    image.putdata(values.ravel().tolist())
    image.putpalette([value * 97 % 256 for value in range(768)])
    image.save(path)


def write_s(path: Path, values: np.ndarray) -> None:
    savemat(path, {"S": values.astype(np.uint16), "names": np.array(["unlabeled", "person"], object)})


def write_sbd(path: Path, values: np.ndarray) -> None:
    boundaries = np.empty((20, 1), object)
    boundaries[:] = [[np.zeros((2, 2))]] * 20
    content = {"Boundaries": boundaries, "Segmentation": values, "CategoriesPresent": np.array([[15]], np.uint8)}
    savemat(path, {"GTcls": content})


def _made(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    return path
