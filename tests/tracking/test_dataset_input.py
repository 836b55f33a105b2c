"""Data sets as MLflow shows them."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mlflow.data import get_source
from mlflow.entities import DatasetInput

from essnet.config import FolderData, TexturesData
from essnet.data import build_dataset
from essnet.tracking import MlflowTracker, RunStore, dataset_input
from essnet.tracking.dataset_input import GeneratedSource, Split, dataset_inputs
from tests.data.fixtures import make_folder_dataset
from tests.tracking.runs import close, run_id_of, spec_of
from tests.training.tiny import tiny_trial

TEXTURES = TexturesData(name="textures", num_classes=5, crop_size=32, train_images=11, val_images=4, test_images=3)


def split(config: TexturesData | FolderData, name: str = "train") -> Split:
    return Split(config, name, build_dataset(config, name))


def digest(config: TexturesData | FolderData, name: str = "train") -> str:
    return split(config, name).digest


def folder_data(root: Path, **changes: Any) -> FolderData:
    return FolderData(name="folder", root=str(root), **changes)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return make_folder_dataset(tmp_path / "street")


def logged(store: RunStore, data: TexturesData | FolderData, folder: Path) -> list[DatasetInput]:
    config = tiny_trial().model_copy(update={"data": data})
    splits = [build_dataset(data, name) for name in ("train", "val")]
    for _ in range(2):  # a trial that goes on tells it again
        tracker = MlflowTracker(folder, spec_of(store))
        tracker.log_inputs(dataset_inputs(config, train=splits[0], evaluation=splits[1]))
        close(tracker)
    inputs = store.client.get_run(run_id_of(store)).inputs
    assert inputs is not None
    return sorted(inputs.dataset_inputs, key=lambda one: one.tags[0].value, reverse=True)


def test_a_run_has_both_splits_once(store: RunStore, tmp_path: Path) -> None:
    train, evaluation = logged(store, TEXTURES, tmp_path)
    for one, name, context, images in ((train, "train", "training", 11), (evaluation, "val", "evaluation", 4)):
        assert [(tag.key, tag.value) for tag in one.tags] == [("mlflow.data.context", context)]
        assert one.dataset.name == f"textures {name}"
        assert len(one.dataset.digest) == 8
        assert json.loads(one.dataset.profile) == {"images": images, "classes": 5}
        assert '"uint8"' in json.loads(one.dataset.schema)["mlflow_tensorspec"]["features"]
    assert train.dataset.digest != evaluation.dataset.digest


def test_generated_images_come_from_their_source_again() -> None:
    one = split(TEXTURES, "test")
    assert one.to_dict()["source_type"] == "essnet_generator"
    source = GeneratedSource.from_dict(json.loads(one.to_dict()["source"]))
    again, before = source.load(), build_dataset(TEXTURES, "test")
    assert len(again) == 3
    np.testing.assert_array_equal(again[2][0], before[2][0])


def test_files_have_their_folder_as_the_source(store: RunStore, root: Path, tmp_path: Path) -> None:
    train, _ = logged(store, folder_data(root), tmp_path)
    assert train.dataset.name == "street train"
    assert train.dataset.source_type == "local"
    assert json.loads(train.dataset.source) == {"uri": str(root)}
    assert get_source(train.dataset).uri == str(root)


def test_the_digest_is_that_of_the_data_wherever_it_lies(root: Path, tmp_path: Path) -> None:
    moved = tmp_path / "elsewhere" / "other"
    shutil.copytree(root, moved)
    for path in moved.rglob("*.png"):
        os.utime(path, (0, 0))
    assert digest(folder_data(moved)) == digest(folder_data(root))


def change_a_mask(root: Path, name: str = "001") -> None:
    path = root / "masks" / "train" / f"{name}.png"
    path.write_bytes(path.read_bytes() + b"\0")


def rename_an_image(root: Path) -> None:
    for kind in ("images", "masks"):
        (root / kind / "train" / "002.png").rename(root / kind / "train" / "003.png")


def rename_a_class(root: Path) -> None:
    (root / "classes.txt").write_text("class 0\nclass 1\nclass 2\ncar\n")


@pytest.mark.parametrize("change", [change_a_mask, rename_an_image, rename_a_class])
def test_other_files_have_another_digest(root: Path, change: Any) -> None:
    before = digest(folder_data(root))
    change(root)
    assert digest(folder_data(root)) != before


def test_what_labels_mean_is_part_of_the_digest_and_augmentation_is_not(root: Path) -> None:
    before = digest(folder_data(root))
    assert digest(folder_data(root, ignore_value=9)) != before
    assert digest(folder_data(root, crop_size=64, flip=0.0, num_workers=2)) == before


@pytest.mark.parametrize("change", [{"seed": 1}, {"crop_size": 64}, {"num_classes": 6}, {"train_images": 12}])
def test_other_scenes_have_another_digest(change: dict[str, Any]) -> None:
    assert digest(TEXTURES.model_copy(update=change)) != digest(TEXTURES)
    assert digest(TEXTURES.model_copy(update={"num_workers": 3})) == digest(TEXTURES)


def test_sizes_are_those_of_images_spread_over_the_split(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = make_folder_dataset(tmp_path / "street", num_images=11)
    monkeypatch.setattr(dataset_input, "_MOST_SIZES", 3)  # of images 0, 4 and 8
    before = digest(folder_data(root))
    change_a_mask(root, "005")
    assert digest(folder_data(root)) == before
    change_a_mask(root, "004")
    assert digest(folder_data(root)) != before
