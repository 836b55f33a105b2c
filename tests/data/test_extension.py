"""Data sets of other packages: what is refused before training, and what is kept of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from essnet.config import InputError, extensions, trial_from_mapping
from essnet.config.data import ExtensionData
from essnet.config.extensions import allow
from essnet.data import ClassTable, FolderDataset, SegmentationDataset, build_dataset
from essnet.data.kept_histogram import label_histogram
from essnet.labels import IGNORE_INDEX
from essnet.tracking.dataset_input import dataset_inputs
from tests.data.fixtures import make_folder_dataset

IMAGE = torch.zeros(3, 4, 6, dtype=torch.uint8)
MASK = torch.full((4, 6), IGNORE_INDEX)


class Fixed:
    """Items that a test gives."""

    item: Any = (IMAGE, MASK)
    length = 1
    classes: Any = ClassTable(("a", "b"))

    def __init__(self, *, split: str, root: Path | None, label: int | None = None) -> None:
        self.label = label

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        item: tuple[Tensor, Tensor] = self.item if self.label is None else (IMAGE, torch.full((4, 6), self.label))
        return item

    def describe(self, index: int) -> str:
        return f"item {index}"


def of_folder(*, split: str, root: Path | None) -> FolderDataset:
    assert root is not None
    return FolderDataset(root=root, split=split)


FIXED, OF_FOLDER = f"{__name__}:Fixed", f"{__name__}:of_folder"


@pytest.fixture(autouse=True)
def allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extensions, "_allowed", {})
    allow([FIXED, OF_FOLDER])


def built(name: str = FIXED, **block: Any) -> SegmentationDataset:
    return build_dataset(ExtensionData.model_validate({"name": name, **block}), "train")


@pytest.mark.parametrize(
    ("attribute", "value", "message"),
    [
        ("item", IMAGE, "found Tensor; expected a tuple of two tensors, image and mask"),
        ("item", (IMAGE.float(), MASK), r"found an image torch.float32 \(3, 4, 6\); expected torch.uint8 \(3, H, W\)"),
        ("item", (IMAGE.permute(1, 2, 0), MASK), r"found an image torch.uint8 \(4, 6, 3\)"),
        ("item", (IMAGE, MASK.T), r"found a mask torch.int64 \(6, 4\); expected torch.int64 \(4, 6\), the size of its"),
        ("item", (IMAGE, MASK.byte()), r"found a mask torch.uint8 \(4, 6\)"),
        ("item", (IMAGE, torch.full((4, 6), 255)), "item 0 of train: found label 255; expected 0 to 1, or essnet.IGNO"),
        ("length", 0, "returned no item for split train"),
        ("classes", ("a", "b"), "returned tuple as classes; expected an essnet.data.ClassTable"),
    ],
)
def test_a_wrong_data_set(attribute: str, value: object, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Fixed, attribute, value)
    with pytest.raises(InputError, match=message):
        built()


def test_an_image_without_a_class_is_none_that_is_wrong() -> None:
    assert len(built()) == 1


def test_the_number_of_classes_can_be_checked() -> None:
    assert built(num_classes=2).classes.names == ("a", "b")
    with pytest.raises(InputError, match=r"data\.num_classes: found 3, but .*:Fixed has 2"):
        built(num_classes=3)


def test_its_labels_are_counted_each_time(tmp_path: Path) -> None:
    """Nothing tells whether they have changed."""
    dataset = built(options={"label": 1})
    assert label_histogram(dataset, cache_dir=tmp_path).pixels.tolist() == [0, 24]
    assert isinstance(dataset, Fixed)
    dataset.label = 0
    assert label_histogram(dataset, cache_dir=tmp_path).pixels.tolist() == [24, 0]
    assert list(tmp_path.iterdir()) == []


def test_runs_are_told_of_it(tmp_path: Path) -> None:
    def inputs(*overrides: str, name: str = FIXED) -> list[dict[str, str]]:
        mapping = {"name": "x", "data": {"name": name}, "objective": {"name": "full_softmax"}}
        trial = trial_from_mapping(mapping, overrides, source="x.yaml")
        data = build_dataset(trial.data, "train")
        return [each["dataset"] for each in dataset_inputs(trial, train=data, evaluation=data)]

    first, again, other = inputs(), inputs("data.num_workers=1"), inputs("data.options.label=1")
    assert [each["digest"] for each in first] == [each["digest"] for each in again]
    assert first[0]["digest"] != other[0]["digest"]
    assert f"{FIXED} train" == first[0]["name"]

    here, there = (make_folder_dataset(tmp_path / name) for name in ("here", "there"))
    found = [inputs(f"data.root={root}", name=OF_FOLDER)[0]["digest"] for root in (here, there)]
    assert found[0] == found[1]  # wherever it lies
