"""The data set that `launch.py data build-coco-lvis` writes: what is loaded, and what is said where it is not whole."""

from __future__ import annotations

import json
import os
import pickle
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from essnet.coco_lvis.builder import BuildRequest, build
from essnet.config import DataConfig, InputError, load_sweep, load_trial, trial_from_mapping
from essnet.data import build_dataset, eval_loader
from essnet.data.coco_lvis import CocoLvisDataset
from essnet.labels import IGNORE_INDEX
from essnet.training.trainer import Trainer
from tests.coco_lvis.generated import overlapping, request
from tests.training.tiny import OBJECTIVES

SHARED_DATA = Path(os.environ.get("ESSNET_SHARED_DATA", Path(__file__).parents[3] / "shared" / "data"))
EXPERIMENTS = Path(__file__).parents[2] / "experiments" / "coco_lvis"


def run(asked: BuildRequest) -> Path:
    build(asked, workers=0, progress=lambda what, done, total: None)
    return asked.output


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A build of six images a split; their image files are beside it, in `images`."""
    return run(request(overlapping(1, size=40).write(tmp_path)))


def block(root: Path, **changes: object) -> DataConfig:
    data = {"name": "coco_lvis", "root": str(root), **changes}
    return trial_from_mapping({"name": "t", "data": data, "objective": {"name": "full_softmax"}}, (), source="t").data


def test_items_are_the_images_and_masks_of_the_build(root: Path) -> None:
    for split in ("train", "val"):
        dataset = build_dataset(block(root), split)
        lines = (root / "masks" / split / "images.txt").read_text().splitlines()
        assert len(dataset) == len(lines) == 6
        for index, line in enumerate(lines):
            image, mask = dataset[index]
            ids = np.array(Image.open(root / "masks" / split / f"{Path(line).stem}.png")).astype(np.int64)
            assert (image.dtype, mask.dtype) == (torch.uint8, torch.int64)
            assert tuple(image.shape) == (3, *ids.shape)
            assert np.array_equal(mask.numpy(), ids - 1)
            assert dataset.describe(index) == Path(line).name
            # The generated images have their number's colour.
            assert abs(float(image[0].float().mean()) - int(Path(line).stem) % 251) < 3
    assert {line.split("/")[0] for line in lines} == {"train2017", "val2017"}


def test_zero_is_ignored_and_class_ids_begin_at_one(root: Path) -> None:
    path = next((root / "masks/train").glob("*.png"))
    size = Image.open(path).size
    values = np.zeros(size[::-1], np.uint16)
    values.flat[:3] = (1, 1284, 256)
    Image.fromarray(values).save(path)
    dataset = CocoLvisDataset(root=root, split="train")
    names = [dataset.describe(index) for index in range(len(dataset))]
    _, mask = dataset[names.index(f"{path.stem}.jpg")]
    assert mask.flatten()[:4].tolist() == [0, 1283, 255, IGNORE_INDEX]
    values.flat[0] = 1285
    Image.fromarray(values).save(path)
    with pytest.raises(InputError, match=rf"{path.name}: label has value 1285; expected 0-1284 \(0 ignored\)"):
        dataset[names.index(f"{path.stem}.jpg")]


def test_classes_have_names_and_frequency_groups(root: Path) -> None:
    dataset = CocoLvisDataset(root=root, split="val")
    names = dataset.classes.names
    assert len(names) == len(set(names)) == dataset.classes.num_classes == 1284
    assert (names[0], names[1202], names[1203], names[1283]) == ("object_1", "object_1203", "stuff-94", "stuff-182")
    rows = json.loads((root / "classes.json").read_text())
    groups = {"f": "frequent", "c": "common", "r": "rare", None: None}
    assert dataset.frequency_groups == tuple(groups[row["frequency"]] for row in rows)
    assert Counter(dataset.frequency_groups) == {"frequent": 401, "common": 401, "rare": 401, None: 81}


def test_it_loads_in_a_worker_process(root: Path) -> None:
    dataset = pickle.loads(pickle.dumps(CocoLvisDataset(root=root, split="train")))
    images, targets = next(iter(eval_loader(dataset, batch_size=3, num_workers=1)))
    assert images.shape[0] == targets.shape[0] == 3
    assert dataset.frequency_groups[0] == "common"


def test_images_may_have_moved(root: Path, tmp_path: Path) -> None:
    (tmp_path / "images").rename(tmp_path / "elsewhere")
    with pytest.raises(InputError, match=r"images: no such folder; the build took its images from there; set data.im"):
        build_dataset(block(root), "train")
    for images in (str(tmp_path / "elsewhere"), "../elsewhere"):
        assert len(build_dataset(block(root, images=images), "train")) == 6
    with pytest.raises(InputError, match=r"gone: no such folder; set data.images to the folder that holds train2017"):
        build_dataset(block(root, images="gone"), "train")


def lines_of(root: Path, *lines: str) -> None:
    (root / "masks/train/images.txt").write_text("".join(f"{line}\n" for line in lines))


FAULTS: dict[str, tuple[Callable[[Path], object], str]] = {
    "no root": (shutil.rmtree, r"out: no such folder; data.root is what `launch.py data build-coco-lvis` writes"),
    "no build": (
        lambda root: [shutil.rmtree(root / "masks"), (root / "build.json").unlink()],
        r"out: has no build.json; data.root is what `launch.py data build-coco-lvis` writes",
    ),
    "damaged build": (lambda root: (root / "build.json").write_text("{"), r"build.json: damaged"),
    "no classes": (lambda root: (root / "classes.json").unlink(), r"classes.json: not found"),
    "not done": (
        lambda root: (root / "masks/train/images.txt").unlink(),
        r"train/images.txt: not found; the build of this split is not done: run `launch.py data build-coco-lvis`",
    ),
    "not built": (
        lambda root: shutil.rmtree(root / "masks/train"),
        r"train/images.txt: not found; this split was not built: run",
    ),
    "no images listed": (lambda root: lines_of(root), r"images.txt: lists no image"),
    "a list that leaves the folder": (
        lambda root: lines_of(root, "train2017/000000000016.jpg", "../000000000016.jpg"),
        r"images.txt, line 2: found '../000000000016.jpg'; expected such as train2017/",
    ),
    "image gone": (
        lambda root: (root.parent / "images/train2017/000000000030.jpg").unlink(),
        r"images/train2017/000000000030.jpg: not found, but .*train/images.txt lists it$",
    ),
    "two images gone": (
        lambda root: [(root.parent / f"images/train2017/0000000000{n}.jpg").unlink() for n in (30, 44)],
        r"000000000030.jpg: not found, but .*images.txt lists it \(and 1 more\)$",
    ),
    "folder of images gone": (
        lambda root: shutil.rmtree(root.parent / "images/train2017"),
        r"images/train2017: no such folder; expected files \*.jpg there",
    ),
    "mask gone": (
        lambda root: (root / "masks/train/000000000044.png").unlink(),
        r"masks/train/000000000044.png: not found, but .*images.txt lists it$",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_what_is_missing_is_said_in_one_line(root: Path, fault: str) -> None:
    damage, message = FAULTS[fault]
    damage(root)
    with pytest.raises(InputError, match=message) as caught:
        build_dataset(block(root), "train")
    assert "\n" not in str(caught.value)


def test_the_test_split_says_why_it_is_not_there(root: Path) -> None:
    with pytest.raises(InputError, match=r"coco_lvis: split test has no labels \(.*\); use val, as in"):
        build_dataset(block(root), "test")


def test_a_wrong_number_of_classes_is_refused(root: Path) -> None:
    assert build_dataset(block(root, num_classes=1284), "train").classes.num_classes == 1284
    with pytest.raises(InputError, match=r"data.num_classes: found 7, but coco_lvis has 1284"):
        build_dataset(block(root, num_classes=7), "train")


def test_a_damaged_file_is_named_when_it_is_read(root: Path) -> None:
    image, mask = root.parent / "images/train2017/000000000016.jpg", root / "masks/train/000000000030.png"
    for path in (image, mask):
        path.write_bytes(path.read_bytes()[:40])
    dataset = CocoLvisDataset(root=root, split="train")
    for index, path in enumerate((image, mask)):
        with pytest.raises(InputError, match=rf"{path.name}: cannot be read as an image"):
            dataset[index]


def test_the_shipped_files_are_about_this_data_set() -> None:
    for name in ("trial", "paper"):
        assert load_trial(EXPERIMENTS / f"{name}.yaml").data.name == "coco_lvis"
    assert load_sweep(EXPERIMENTS / "sweep.yaml").config.baseline == "full_softmax"
    paper = load_trial(EXPERIMENTS / "paper.yaml")
    assert (paper.optimizer.name, paper.optimizer.lr, paper.optimizer.encoder_lr_factor) == ("sgd", 0.01, 0.1)
    assert (paper.trainer.batch_size, paper.data.crop_size, paper.model.output_stride) == (10, 512, 16)


def training(root: Path, directory: Path, objective: str) -> dict[str, float]:
    small = ["data.crop_size=64", "data.num_workers=0", "trainer.batch_size=2", "trainer.max_steps=2"]
    config = load_trial(
        EXPERIMENTS / "trial.yaml",
        [f"data.root={root}", f"objective.name={objective}", *small, "trainer.device=cpu", "trainer.num_threads=1"],
    )
    return dict(Trainer(config, directory=directory).train().metrics)


@pytest.mark.slow
@pytest.mark.parametrize("objective", OBJECTIVES)
def test_the_shipped_trial_trains(root: Path, tmp_path: Path, objective: str) -> None:
    metrics = training(root, tmp_path / "run", objective)
    assert np.isfinite(metrics["val/loss"])
    assert metrics["val/loss"] > 0
    assert 0 <= metrics["val/miou"] <= 1


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A build of real images; three are kept to train on and one to evaluate on, as all would take minutes."""
    data = SHARED_DATA / "coco_lvis_mini"
    if not data.is_dir():
        pytest.skip(f"no {data}; set ESSNET_SHARED_DATA to the folder that holds coco_lvis_mini")
    files = data / "annotations"
    output = run(
        BuildRequest(
            images=data,
            output=tmp_path_factory.mktemp("real") / "built",
            lvis={split: files / f"lvis_v1_{split}.json" for split in ("train", "val")},
            stuff={f"stuff_{split}": files / f"stuff_{split}2017.json" for split in ("train", "val")},
        )
    )
    for split, number in (("train", 3), ("val", 1)):
        listed = output / "masks" / split / "images.txt"
        listed.write_text("".join(listed.read_text().splitlines(keepends=True)[:number]))
    return output


@pytest.mark.slow
@pytest.mark.parametrize("objective", OBJECTIVES)
def test_the_shipped_trial_trains_on_real_images(real: Path, tmp_path: Path, objective: str) -> None:
    metrics = training(real, tmp_path / "run", objective)
    assert np.isfinite(metrics["val/loss"])
    assert metrics["val/loss"] > 0
