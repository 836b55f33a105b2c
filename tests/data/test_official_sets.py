"""One contract for every data set in files, on small ones in the published layouts and on real samples."""

from __future__ import annotations

import csv
import json
import os
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.io import savemat
from torchvision.datasets import Cityscapes
from torchvision.models.detection import FasterRCNN_ResNet50_FPN_Weights
from torchvision.models.segmentation import FCN_ResNet50_Weights
from torchvision.tv_tensors import Image as TvImage
from torchvision.tv_tensors import Mask

from essnet.config import DataConfig, InputError, load_sweep, load_trial, trial_from_mapping
from essnet.data import ClassTable, SegmentationDataset, build_dataset, class_colours, eval_loader
from essnet.data.coco_stuff import coco_stuff_dataset
from essnet.data.label_lookup import LabelLookup
from essnet.data.mat_labels import read_mat_ids
from essnet.data.official_classes import official_classes
from essnet.data.voc import voc_dataset
from essnet.labels import IGNORE_INDEX
from essnet.training.trainer import Trainer
from tests.data.fixtures import truncate
from tests.data.official_fixtures import (
    FIXTURES,
    UNUSED_COCO_IDS,
    Fixture,
    Item,
    make_fixture,
    make_voc,
    write_grey,
    write_lists,
    write_palette,
    write_s,
    write_sbd,
)

SHARED_DATA = Path(os.environ.get("ESSNET_SHARED_DATA", Path(__file__).parents[3] / "shared" / "data"))
EXPERIMENTS = Path(__file__).parents[2] / "experiments"
PUBLISHED = ("voc", "ade20k", "cityscapes", "coco_stuff10k", "coco_stuff")
WITHOUT_TEST = ("voc", "ade20k", "cityscapes", "coco_stuff")


def block(fixture: Fixture, **changes: object) -> DataConfig:
    data = {**fixture.data, "root": str(fixture.root), **changes}
    mapping = {"name": "t", "data": data, "objective": {"name": "full_softmax"}}
    return trial_from_mapping(mapping, (), source="t.yaml").data


def load(fixture: Fixture, split: str = "train") -> SegmentationDataset:
    return build_dataset(block(fixture), split)


def load_all(fixture: Fixture) -> list[tuple[TvImage, Mask]]:
    dataset = load(fixture)
    return [dataset[index] for index in range(len(dataset))]


def shared(name: str) -> Path:
    folder = SHARED_DATA / name
    if not folder.exists():
        pytest.skip(f"no {folder}; set ESSNET_SHARED_DATA to the folder that holds {name}")
    return folder


@pytest.fixture(params=FIXTURES)
def fixture(request: pytest.FixtureRequest, tmp_path: Path) -> Fixture:
    return make_fixture(request.param, tmp_path / "data")


# What every data set does.


def test_each_split_has_its_pairs_in_order(fixture: Fixture) -> None:
    for split, items in fixture.items.items():
        dataset = load(fixture, split)
        assert len(dataset) == len(items)
        for index, item in enumerate(items):
            image, mask = dataset[index]
            assert isinstance(image, TvImage)
            assert isinstance(mask, Mask)
            assert (image.dtype, mask.dtype) == (torch.uint8, torch.int64)
            assert tuple(image.shape) == (3, *item.targets.shape)
            assert tuple(mask.shape) == item.targets.shape
            assert np.array_equal(mask.numpy(), item.targets)
            assert image.float().mean().item() == pytest.approx(item.level, abs=1)
            assert dataset.describe(index) == item.image.name


def test_classes_are_named_and_all_occur(fixture: Fixture) -> None:
    dataset = load(fixture)
    names = dataset.classes.names
    assert len(names) == len(set(names)) == dataset.classes.num_classes == fixture.num_classes
    assert all(name == name.strip() != "" for name in names)
    assert dataset.classes.colours.shape == (fixture.num_classes, 3)
    seen = set(torch.cat([mask.flatten() for _, mask in load_all(fixture)]).tolist())
    assert seen == {IGNORE_INDEX, *range(fixture.num_classes)}


def test_loads_in_a_worker_process(fixture: Fixture) -> None:
    dataset = pickle.loads(pickle.dumps(load(fixture)))
    images, targets = next(iter(eval_loader(dataset, batch_size=2, num_workers=1)))
    height, width = fixture.items["train"][0].targets.shape
    assert images.shape[0] == 2
    assert np.array_equal(targets[0, :height, :width].numpy(), fixture.items["train"][0].targets)


def test_a_wrong_number_of_classes_is_refused(fixture: Fixture) -> None:
    build_dataset(block(fixture, num_classes=fixture.num_classes), "train")
    with pytest.raises(InputError, match=r"data.num_classes: found 7, but .* (has|names) \d+$"):
        build_dataset(block(fixture, num_classes=7), "train")


@pytest.mark.parametrize("name", [name for name in FIXTURES if name != "folder"])
def test_no_file_is_opened_at_the_start(tmp_path: Path, name: str) -> None:
    fixture = make_fixture(name, tmp_path)
    for item in fixture.items["train"]:
        item.image.write_bytes(b"")
        item.label.write_bytes(b"")
    dataset = load(fixture)
    assert len(dataset) == len(fixture.items["train"])
    with pytest.raises(InputError, match="cannot be read"):
        dataset[0]


def spoil_label(fixture: Fixture, item: Item, value: int) -> None:
    values = np.full(item.targets.shape, min(fixture.meaning), np.uint8)
    values[1, 2] = value
    fixture.write_label(item.label, values)


def no_map(_: Fixture, item: Item) -> None:
    if item.label.suffix == ".mat":
        item.label.unlink()
        savemat(item.label, {"regionMap": np.zeros(item.targets.shape)})
    else:
        Image.new("RGB", item.targets.shape[::-1]).save(item.label)


FAULTS: dict[str, tuple[Callable[[Fixture, Item], object], str]] = {
    "no image": (lambda _, item: item.image.unlink(), "{without_image}"),
    "no label": (lambda _, item: item.label.unlink(), "{label}"),
    "image cut off": (lambda _, item: truncate(item.image), "{image}: cannot be read as an image"),
    "label cut off": (lambda _, item: truncate(item.label), "{label}: cannot be read as a"),
    "label of another size": (
        lambda fixture, item: fixture.write_label(item.label, np.full((9, 7), min(fixture.meaning), np.uint8)),
        "{image}: image is {size} (width x height) but its mask is 7x9",
    ),
    "unknown value": (lambda fixture, item: spoil_label(fixture, item, fixture.wrong_value), "{label}: {wrong}"),
    "largest unknown value": (
        lambda fixture, item: spoil_label(fixture, item, max({*range(255)} - {*fixture.meaning})),
        "{label}: ",
    ),
    "no label map": (no_map, "{label}: {no_map}"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_what_is_wrong_is_said_in_one_line(fixture: Fixture, fault: str) -> None:
    damage, message = FAULTS[fault]
    item = fixture.items["train"][-1]
    damage(fixture, item)
    with pytest.raises(InputError) as caught:
        load_all(fixture)
    expected = message.format(
        image=item.image,
        label=item.label,
        size=f"{item.targets.shape[1]}x{item.targets.shape[0]}",
        wrong=("mask has id {}" if fixture.data["name"] == "folder" else "label has value {}").format(
            fixture.wrong_value
        ),
        without_image=f"{item.label}: mask without image" if fixture.data["name"] == "folder" else item.image,
        no_map="holds no" if item.label.suffix == ".mat" else "mask has mode RGB",
    )
    assert expected in str(caught.value)
    assert "\n" not in str(caught.value)


def test_no_root(fixture: Fixture) -> None:
    fixture.root = fixture.root / "elsewhere"
    with pytest.raises(InputError, match=r"elsewhere: no such folder; data.root must hold"):
        load(fixture)


def test_another_folder_is_answered_with_what_was_looked_for(fixture: Fixture, tmp_path: Path) -> None:
    fixture.root = tmp_path / "empty"
    fixture.root.mkdir()
    looked_for = {
        "folder": "images",
        "voc": "SegmentationClass/ and ImageSets/Segmentation/, itself or in VOC2012/ or VOCdevkit/VOC2012/",
        "ade20k": "images/ and annotations/, itself or in ADEChallengeData2016/ below it",
        "cityscapes": "leftImg8bit/ and gtFine/",
        "coco_stuff10k": "images/, annotations/ and imageLists/",
        "coco_stuff": "images/train2017",
    }
    with pytest.raises(InputError) as caught:
        load(fixture)
    assert looked_for[fixture.data["name"]] in str(caught.value)
    assert str(fixture.root) in str(caught.value)


@pytest.mark.parametrize("name", WITHOUT_TEST)
def test_a_split_without_labels_says_so(tmp_path: Path, name: str) -> None:
    with pytest.raises(
        InputError, match=rf"^{name}.*: split test has no labels \(.*\); use val, as in evaluation.split=val$"
    ):
        load(make_fixture(name, tmp_path), "test")


# Layouts that are usual too.


@pytest.mark.parametrize("root", [".", "VOCdevkit", "VOCdevkit/VOC2012"])
def test_voc_is_found_in_and_above_its_folder(tmp_path: Path, root: str) -> None:
    make_fixture("voc", tmp_path / "VOCdevkit")
    assert len(voc_dataset(root=tmp_path / root, split="trainval")) == 3


def test_voc_of_2011_unpacks_a_folder_deeper(tmp_path: Path) -> None:
    make_voc(tmp_path / "TrainVal" / "VOCdevkit", year=2011)
    assert len(voc_dataset(root=tmp_path, split="train", year=2011)) == 2


def test_voc_of_2007_has_a_test_split(tmp_path: Path) -> None:
    fixture = make_voc(tmp_path, year=2007)
    write_lists(tmp_path / "VOC2007/ImageSets/Segmentation", {"test": ["2007_000033"]})
    dataset = load(fixture, "test")
    assert [dataset.describe(index) for index in range(len(dataset))] == ["2007_000033.jpg"]


def test_voc_of_another_year_is_noticed(tmp_path: Path) -> None:
    make_voc(tmp_path, year=2010)
    with pytest.raises(InputError, match=r"data.root: found .*VOC2010, but data.year=2012; set data.year=2010$"):
        voc_dataset(root=tmp_path / "VOC2010", split="train")
    with pytest.raises(InputError, match=r"data.root: found .*; it must hold JPEGImages/, .* or in VOC2012/ or "):
        voc_dataset(root=tmp_path, split="train")


def names_of(dataset: SegmentationDataset) -> list[str]:
    return [Path(dataset.describe(index)).stem for index in range(len(dataset))]


@pytest.mark.parametrize("name", ["voc with SBD as PNG", "voc with SBD as MAT"])
def test_trainaug_is_composed_where_no_list_is(tmp_path: Path, name: str) -> None:
    fixture = make_fixture(name, tmp_path)
    for path in (*tmp_path.rglob("trainaug.txt"), *tmp_path.glob("benchmark_RELEASE/dataset/*.txt")):
        path.unlink()
    assert names_of(load(fixture)) == ["2007_000032", "2007_000039", "2008_000001", "2010_000002"]
    assert names_of(load(fixture, "val")) == ["2007_000033"]


@pytest.mark.parametrize("folder", ["VOC2012/cls", "sbd/cls", "VOCaug/dataset/cls", "../benchmark_RELEASE/dataset/cls"])
def test_sbd_is_found_in_its_usual_places(tmp_path: Path, folder: str) -> None:
    fixture = make_fixture("voc with SBD as MAT", tmp_path / "VOCdevkit")
    target = fixture.root / folder
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.move(fixture.root / "benchmark_RELEASE/dataset/cls", target)
    assert len(load(fixture)) == 4


def test_sbd_that_is_not_there(tmp_path: Path) -> None:
    fixture = make_fixture("voc", tmp_path)
    fixture.data["augmented"] = True
    with pytest.raises(
        InputError, match=r"data.augmented: found true, but no labels of SBD; looked for SegmentationClassAug/ in"
    ):
        load(fixture)
    assert len(load(fixture, "val")) == 1


def test_sbd_lists_an_image_without_label(tmp_path: Path) -> None:
    fixture = make_fixture("voc with SBD as MAT", tmp_path)
    label = fixture.items["train"][-1].label
    label.unlink()
    with pytest.raises(InputError, match=rf"^{label}: not found, but .*cls lists it$"):
        load(fixture)


def test_trainaug_must_not_hold_images_of_val(tmp_path: Path) -> None:
    fixture = make_fixture("voc with SBD as PNG", tmp_path)
    write_lists(tmp_path / "VOC2012/ImageSets/Segmentation", {"trainaug": ["2007_000032", "2007_000033"]})
    with pytest.raises(InputError, match=r"trainaug.txt: 1 of its images are in val.txt too, 2007_000033 for one"):
        load(fixture)


def test_sbd_needs_a_year_that_has_its_images(tmp_path: Path) -> None:
    fixture = make_voc(tmp_path, year=2010)
    with pytest.raises(InputError, match=r"data: augmented=true needs year=2011 or 2012, found 2010"):
        block(fixture, augmented=True)


def test_lists_that_are_missing_or_empty(tmp_path: Path) -> None:
    fixture = make_fixture("coco_stuff10k", tmp_path)
    (tmp_path / "imageLists/test.txt").write_text("\n")
    with pytest.raises(InputError, match=r"imageLists/test.txt: is empty; expected a list of image names"):
        load(fixture, "val")
    (tmp_path / "imageLists/train.txt").unlink()
    with pytest.raises(InputError, match=r"imageLists/train.txt: not found; expected a list of image names"):
        load(fixture)


def test_ade20k_is_found_above_its_folder(tmp_path: Path) -> None:
    make_fixture("ade20k", tmp_path / "ADEChallengeData2016")
    fixture = Fixture(tmp_path, {"name": "ade20k"}, 150, {}, write_grey)
    assert len(load(fixture, "val")) == 2


def test_a_city_that_only_one_side_has(tmp_path: Path) -> None:
    fixture = make_fixture("cityscapes", tmp_path)
    shutil.rmtree(tmp_path / "gtFine/train/ulm")
    with pytest.raises(InputError, match=r"gtFine/train/ulm: no such folder; expected files \*_gtFine_labelIds.png"):
        load(fixture)


def test_coco_stuff_in_its_other_layouts(tmp_path: Path) -> None:
    fixture = make_fixture("coco_stuff", tmp_path)
    (tmp_path / "stuffthingmaps").rename(tmp_path / "annotations")
    for item in fixture.items["train"]:
        path = tmp_path / "annotations/train2017" / f"{item.label.stem}_labelTrainIds.png"
        write_grey(path, np.full(item.targets.shape, 7, np.uint8))
    assert np.array_equal(load(fixture)[2][1].numpy(), fixture.items["train"][2].targets)
    for split in ("train2017", "val2017"):
        (tmp_path / "images" / split).rename(tmp_path / split)
    assert len(coco_stuff_dataset(root=tmp_path, split="train")) == 3


# Label values and files.


def test_values_far_beyond_the_table_are_noticed() -> None:
    lookup = LabelLookup(class_ids=(1, 2, 5), ignored=(0,))
    path = Path("a.png")
    for dtype in (np.uint8, np.uint16, np.int32, np.int64):
        values = np.array([[1, 5], [0, 2]], dtype)
        assert lookup.to_targets(values, path=path).tolist() == [[0, 2], [IGNORE_INDEX, 1]]
    for value, dtype in ((3, np.uint8), (6, np.uint8), (65535, np.uint16), (-1, np.int32), (2**40, np.int64)):
        with pytest.raises(InputError, match=rf"^a.png: label has value {value}; expected 0-2, 5 \(0 ignored\)$"):
            lookup.to_targets(np.array([[1, value]], dtype), path=path)


@pytest.mark.parametrize(("class_ids", "ignored"), [((1, 1), ()), ((1, 2), (2,)), ((-1, 0), ())])
def test_a_value_with_two_meanings_is_refused(class_ids: tuple[int, ...], ignored: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="none may stand for two classes"):
        LabelLookup(class_ids=class_ids, ignored=ignored)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int16, np.float64])
def test_matlab_labels_of_any_number_type_are_read(tmp_path: Path, dtype: type) -> None:
    path = tmp_path / "a.mat"
    savemat(path, {"S": np.array([[0, 182], [7, 3]], dtype), "other": 3})
    ids = read_mat_ids(path, variable="S")
    assert ids.dtype.kind in "iu"
    assert ids.tolist() == [[0, 182], [7, 3]]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"S": np.array([[0.5, 1]])}, "S has values that are no whole numbers"),
        ({"S": np.array([[np.nan, 1]])}, "S has values that are no whole numbers"),
        ({"S": "words"}, "S is no label map"),
        ({"S": np.zeros((2, 2, 3))}, "S is no label map"),
        ({"T": np.zeros((2, 2))}, "holds no S; expected the label map there"),
    ],
)
def test_a_matlab_file_without_labels(tmp_path: Path, content: dict, message: str) -> None:
    path = tmp_path / "a.mat"
    savemat(path, content)
    with pytest.raises(InputError, match=f"^{path}: {message}"):
        read_mat_ids(path, variable="S")


def test_matlab_files_of_another_kind(tmp_path: Path) -> None:
    path = tmp_path / "a.mat"
    write_s(path, np.zeros((2, 2), np.uint8))
    with pytest.raises(InputError, match=r"a.mat: holds no S.Segmentation; expected the label map there"):
        read_mat_ids(path, variable="S", field="Segmentation")
    write_sbd(path, np.zeros((2, 2), np.uint8))
    with pytest.raises(InputError, match=r"a.mat: GTcls is no label map"):
        read_mat_ids(path, variable="GTcls")
    # MATLAB's newer format is HDF5.
    header = b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(124) + b"\x00\x02IM"
    path.write_bytes(header.ljust(512, b"\0") + b"\x89HDF\r\n\x1a\n" + bytes(512))
    with pytest.raises(InputError, match=r"a.mat: cannot be read as a MATLAB file \(.*HDF"):
        read_mat_ids(path, variable="S")
    with pytest.raises(InputError, match=r"b.mat: not found"):
        read_mat_ids(tmp_path / "b.mat", variable="S")


# Class tables, against whoever else has them.


def test_voc_classes() -> None:
    classes = official_classes("voc")
    assert classes.ids == tuple(range(21))
    assert ["__background__", *classes.table.names[1:]] == FCN_ResNet50_Weights.DEFAULT.meta["categories"]
    # The colour map of VOC's development kit: the bits of the id, three by three, from the highest bit down.
    for index, colour in enumerate(classes.table.palette or ()):
        for channel, value in enumerate(colour):
            bits = [index >> (3 * place + channel) & 1 for place in range(8)]
            assert value == sum(bit << (7 - place) for place, bit in enumerate(bits))


def test_cityscapes_classes() -> None:
    classes = official_classes("cityscapes")
    evaluated = sorted((row for row in Cityscapes.classes if 0 <= row.train_id < 255), key=lambda row: row.train_id)
    assert classes.ids == tuple(row.id for row in evaluated)
    assert classes.table.names == tuple(row.name for row in evaluated)
    assert classes.table.palette == tuple(row.color for row in evaluated)


def test_coco_stuff_classes() -> None:
    classes = official_classes("coco_stuff")
    assert set(classes.ids) == {*range(1, 183)} - UNUSED_COCO_IDS
    things = FasterRCNN_ResNet50_FPN_Weights.DEFAULT.meta["categories"]
    assert {number for number, name in enumerate(things) if name == "N/A"} == UNUSED_COCO_IDS - {91}
    assert [things[number] for number in classes.ids[:80]] == list(classes.table.names[:80])
    assert (classes.table.names[80], classes.table.names[170]) == ("banner", "wood")
    assert classes.table.palette is None


def test_coco_stuff_names_are_those_of_its_annotations() -> None:
    rows = json.loads(shared("coco_lvis_mini/annotations/stuff_val2017.json").read_text())["categories"]
    classes = official_classes("coco_stuff")
    named = dict(zip(classes.ids, classes.table.names, strict=True))
    assert {row["id"]: row["name"] for row in rows if row["id"] != 183} == {
        number: name for number, name in named.items() if number > 91
    }


def test_ade20k_names_are_those_of_its_table() -> None:
    with shared("samples/ade20k/objectInfo150.csv").open() as file:
        rows = list(csv.DictReader(file))
    classes = official_classes("ade20k")
    assert classes.ids == tuple(int(row["Idx"]) for row in rows)
    for name, row in zip(classes.table.names, rows, strict=True):
        words = row["Name"].split(";")  # blanks within a name were made semicolons there
        assert words[: len(name.split())] == name.split()


def test_colours_last_through_a_checkpoint() -> None:
    table = official_classes("cityscapes").table
    rows = json.loads(json.dumps(table.to_json()))
    assert rows[0] == {"id": 0, "name": "road", "colour": [128, 64, 128]}
    assert ClassTable.from_json(rows) == table
    assert table.colours.dtype == np.uint8
    assert table.colours[18].tolist() == [119, 11, 32]
    assert np.array_equal(ClassTable(("a", "b")).colours, class_colours(2))


@pytest.mark.parametrize(
    ("colours", "message"),
    [
        ([[1, 2, 3], None], "2 class names, but 1 colours"),
        ([[1, 2, 3], [1, 2]], r"class table row 1 has colour \[1, 2\]"),
        ([[1, 2, 256], [1, 2, 3]], r"class table row 0 has colour \[1, 2, 256\]"),
        (["red", [1, 2, 3]], "class table row 0 has colour 'red'"),
    ],
)
def test_bad_colours_are_refused(colours: list, message: str) -> None:
    rows = [{"id": index, "name": str(index), "colour": colour} for index, colour in enumerate(colours)]
    with pytest.raises(ValueError, match=message):
        ClassTable.from_json([{key: value for key, value in row.items() if value is not None} for row in rows])


# Real files.


def test_a_real_pair_of_voc(tmp_path: Path) -> None:
    sample = shared("samples/voc")
    for folder, name in (("JPEGImages", "image.jpg"), ("SegmentationClass", "label.png")):
        (tmp_path / "VOC2012" / folder).mkdir(parents=True)
        shutil.copy(sample / name, tmp_path / "VOC2012" / folder / f"2007_000129{Path(name).suffix}")
    write_lists(tmp_path / "VOC2012/ImageSets/Segmentation", {"val": ["2007_000129"]})
    dataset = voc_dataset(root=tmp_path, split="val")
    image, mask = dataset[0]
    assert image.shape[1:] == mask.shape
    assert [dataset.classes.names[index] for index in mask.unique() if index != IGNORE_INDEX] == [
        "background",
        "bicycle",
        "person",
    ]
    with Image.open(sample / "label.png") as label:
        assert ((mask == IGNORE_INDEX).numpy() == (np.array(label) == 255)).all()
        # The file's own palette is the class table's.
        assert label.getpalette()[: 3 * 21] == dataset.classes.colours.ravel().tolist()


def test_real_pairs_of_ade20k(tmp_path: Path) -> None:
    sample = shared("samples/ade20k")
    for kind in ("images", "annotations"):
        shutil.copytree(sample / kind, tmp_path / kind / "validation")
    fixture = Fixture(tmp_path, {"name": "ade20k"}, 150, {}, write_palette)
    dataset = load(fixture, "val")
    assert len(dataset) == 3
    for index in range(3):
        image, mask = dataset[index]
        assert image.shape[1:] == mask.shape
        with Image.open(sample / "annotations" / f"{Path(dataset.describe(index)).stem}.png") as label:
            assert np.array_equal(mask.numpy(), np.array(label).astype(int) - 1)  # 0 becomes -1, IGNORE_INDEX


def test_a_real_pair_of_cityscapes() -> None:
    fixture = Fixture(shared("samples/cityscapes"), {"name": "cityscapes"}, 19, {}, write_grey)
    dataset = load(fixture, "val")
    assert len(dataset) == 1
    image, mask = dataset[0]
    assert tuple(image.shape) == (3, 128, 256)
    labels = fixture.root / "gtFine/val/frankfurt/frankfurt_000000_000294_gtFine_labelTrainIds.png"
    with Image.open(labels) as label:
        train_ids = np.array(label).astype(int)
    # The sample's two label files were made smaller one by one: at the edges they disagree.
    agree = mask.numpy() == np.where(train_ids == 255, IGNORE_INDEX, train_ids)
    assert agree.mean() > 0.995
    assert all(agree[mask.numpy() == index].mean() > 0.95 for index in mask.unique().tolist())


# The experiments that come with each.


@pytest.mark.parametrize("name", PUBLISHED)
def test_experiments_are_about_the_data_set(name: str) -> None:
    for file in ("trial", "paper"):
        assert load_trial(EXPERIMENTS / name / f"{file}.yaml").data.name == name
    assert load_sweep(EXPERIMENTS / name / "sweep.yaml").config.baseline == "full_softmax"


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_papers_settings(name: str) -> None:
    config = load_trial(EXPERIMENTS / name / "paper.yaml")
    optimizer, objective = config.optimizer, config.objective
    assert (optimizer.name, optimizer.lr, optimizer.momentum, optimizer.weight_decay) == ("sgd", 0.01, 0.9, 1e-4)
    assert optimizer.encoder_lr_factor == 0.1
    assert (config.schedule.name, config.schedule.power) == ("poly", 0.9)
    assert (config.trainer.batch_size, config.data.crop_size, config.model.output_stride) == (10, 512, 16)
    assert (objective.name, objective.similarity, objective.num_neighbours) == ("knn_softmax", "l2", 7)
    assert (objective.logit_scale, objective.margin, objective.renormalise) == (20, 0.2, False)
    assert objective.embedding_dim == (6 if name == "cityscapes" else 12)
    assert config.data.scale == ([1, 1] if name == "cityscapes" else [0.5, 2])


@pytest.mark.slow
@pytest.mark.parametrize("name", PUBLISHED)
def test_the_shipped_trial_trains(tmp_path: Path, name: str) -> None:
    fixture = make_fixture(name, tmp_path / "data")
    small = ["data.crop_size=64", "data.num_workers=0", "trainer.batch_size=2", "trainer.max_steps=2"]
    config = load_trial(
        EXPERIMENTS / name / "trial.yaml",
        [f"data.root={fixture.root}", *small, "trainer.device=cpu", "trainer.num_threads=1"],
    )
    result = Trainer(config, directory=tmp_path / "run").train()
    assert np.isfinite(result.metrics["val/loss"])
    assert 0 <= result.metrics["val/miou"] <= 1
