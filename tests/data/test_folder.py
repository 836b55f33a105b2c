from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from essnet.config.errors import InputError
from essnet.data.folder import FolderDataset
from essnet.labels import IGNORE_INDEX
from tests.data.fixtures import make_folder_dataset, save_mask, truncate

SHARED_DATA = Path(os.environ.get("ESSNET_SHARED_DATA", Path(__file__).parents[3] / "shared" / "data"))


def test_items_pair_images_with_their_masks(tmp_path: Path) -> None:
    dataset = FolderDataset(root=make_folder_dataset(tmp_path / "d"), split="train")
    assert len(dataset) == 3
    assert dataset.classes.names == ("class 0", "class 1", "class 2", "class 3")
    for image, mask in (dataset[index] for index in range(3)):
        assert (image.dtype, tuple(image.shape)) == (torch.uint8, (3, 12, 16))
        assert (mask.dtype, tuple(mask.shape)) == (torch.int64, (12, 16))
        assert (image == 20 + 40 * mask).all()
    assert not torch.equal(dataset[0][1], dataset[1][1])


def test_ignore_value_and_reduced_zero_are_about_raw_ids(tmp_path: Path) -> None:
    root = make_folder_dataset(tmp_path / "d", num_images=1, size=(1, 5))
    save_mask(root / "masks/train/000.png", np.array([[0, 1, 4, 9, 2]], np.uint8))
    dataset = FolderDataset(root=root, split="train", ignore_value=9, reduce_zero_label=True)
    assert dataset[0][1].tolist() == [[IGNORE_INDEX, 0, 3, IGNORE_INDEX, 1]]
    assert dataset.labels.count(dataset.read_ids(0), path=dataset.pair(0).mask).tolist() == [1, 1, 0, 1]


def test_sixteen_bit_ids_above_255_are_classes(tmp_path: Path) -> None:
    root = make_folder_dataset(tmp_path / "d", num_images=1, size=(1, 4), splits=("train",))
    (root / "classes.txt").write_text("\n".join(f"c{index}" for index in range(1284)))
    save_mask(root / "masks/train/000.png", np.array([[0, 255, 256, 1284]], np.uint16))
    dataset = FolderDataset(root=root, split="train", ignore_value=None, reduce_zero_label=True)
    assert dataset[0][1].tolist() == [[IGNORE_INDEX, 254, 255, 1283]]


def test_other_files_are_passed_over(tmp_path: Path) -> None:
    root = make_folder_dataset(tmp_path / "d")
    (root / "images/train/.DS_Store").write_text("x")
    (root / "images/train/._000.png").write_text("x")
    (root / "images/train/notes.txt").write_text("x")
    (root / "masks/train/Thumbs.db").write_text("x")
    assert len(FolderDataset(root=root, split="train")) == 3


def remove_tree(path: Path) -> None:
    for entry in path.iterdir():
        remove_tree(entry) if entry.is_dir() else entry.unlink()
    path.rmdir()


def set_mask(value: int, dtype: type = np.uint8) -> Callable[[Path], None]:
    return lambda root: save_mask(root / "masks/train/001.png", np.full((12, 16), value, dtype))


def save(name: str, image: Image.Image) -> Callable[[Path], None]:
    return lambda root: image.save(root / name)


def pipe(name: str) -> Callable[[Path], None]:
    def damage(root: Path) -> None:
        (root / name).unlink()
        os.mkfifo(root / name)

    return damage


NOT_PLAIN = "is a pipe, a device or a link to nothing; expected a plain file"
BROKEN: dict[str, tuple[Callable[[Path], object], str]] = {
    "no root": (remove_tree, r"d: no such folder; data.root must hold"),
    "no images folder": (
        lambda root: remove_tree(root / "images"),
        r"d/images: no such folder; expected images/train/",
    ),
    "no such split": (
        lambda root: (root / "images/train").rename(root / "images/training"),
        r"images/train: no such folder; the splits in .*images are: training, val",
    ),
    "no mask split": (
        lambda root: remove_tree(root / "masks/train"),
        r"masks/train: no such folder; the splits in .*masks are: val",
    ),
    "empty split": (
        lambda root: [path.unlink() for path in (root / "images/train").iterdir()],
        r"images/train: holds no image; expected files ending in .jpg",
    ),
    "image without mask": (
        lambda root: (root / "masks/train/001.png").unlink(),
        r"images/train/001.png: image without mask; expected .*masks/train/001.png$",
    ),
    "mask that is no PNG": (
        lambda root: (root / "masks/train/001.png").rename(root / "masks/train/001.jpg"),
        r"images/train/001.png: image without mask; .* found 001.jpg \(masks must be PNG\)",
    ),
    "mask without image": (
        lambda root: (root / "images/train/001.png").unlink(),
        r"masks/train/001.png: mask without image; expected images/train/001 with",
    ),
    "same stem": (
        save("images/train/001.jpg", Image.new("RGB", (16, 12))),
        r"images/train/001.png: has the same name as 001.jpg but for the ending",
    ),
    "sizes differ": (
        save("images/train/001.png", Image.new("RGB", (17, 12))),
        r"images/train/001.png: image is 17x12 \(width x height\) but its mask is 16x12",
    ),
    "turned without EXIF": (
        save("images/train/001.png", Image.new("RGB", (12, 16))),
        r"images/train/001.png: image is 12x16",
    ),
    "colour mask": (
        save("masks/train/001.png", Image.new("RGB", (16, 12))),
        r"masks/train/001.png: mask has mode RGB; expected one integer per pixel",
    ),
    "grey mask with alpha": (
        save("masks/train/001.png", Image.new("LA", (16, 12))),
        r"001.png: mask has mode LA",
    ),
    "unknown id": (
        set_mask(77),
        r"masks/train/001.png: mask has id 77, but classes.txt names 4 classes, ids 0 to 3$",
    ),
    "id C": (set_mask(4), r"001.png: mask has id 4, .* set data.reduce_zero_label=true"),
    "16-bit id": (set_mask(65535, np.uint16), r"001.png: mask has id 65535, but classes.txt names 4 classes"),
    "truncated mask": (
        lambda root: truncate(root / "masks/train/001.png"),
        r"masks/train/001.png: cannot be read as an image",
    ),
    "image that is none": (
        lambda root: (root / "images/train/001.png").write_text("no image"),
        r"images/train/001.png: cannot be read as an image",
    ),
    "pipe among the images": (pipe("images/train/001.png"), rf"images/train/001.png: {NOT_PLAIN}$"),
    "pipe among the masks": (pipe("masks/train/001.png"), rf"masks/train/001.png: {NOT_PLAIN}$"),
    "link to nothing": (
        lambda root: [(root / "images/train/001.png").unlink(), (root / "images/train/001.png").symlink_to("gone")],
        rf"images/train/001.png: {NOT_PLAIN}$",
    ),
    "no classes.txt": (lambda root: (root / "classes.txt").unlink(), r"classes.txt: not found"),
    "class twice": (
        lambda root: (root / "classes.txt").write_text("a\nb\na\nd"),
        r"classes.txt: line 3 repeats 'a'",
    ),
    "nothing labelled": (
        lambda root: [save_mask(path, np.full((12, 16), 255, np.uint8)) for path in (root / "masks/train").iterdir()],
        r"masks/train: all pixels of all masks are ignored",
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_what_is_wrong_is_said_in_one_line(tmp_path: Path, name: str) -> None:
    damage, message = BROKEN[name]
    root = make_folder_dataset(tmp_path / "d")
    damage(root)
    with pytest.raises(InputError, match=message) as caught:
        FolderDataset(root=root, split="train")
    assert "\n" not in str(caught.value)


def test_a_link_to_a_file_is_as_good_as_the_file(tmp_path: Path) -> None:
    root = make_folder_dataset(tmp_path / "d")
    for kind in ("images", "masks"):
        (root / kind / "train/001.png").rename(tmp_path / f"{kind}.png")
        (root / kind / "train/001.png").symlink_to(tmp_path / f"{kind}.png")
    assert len(FolderDataset(root=root, split="train")) == 3


def test_id_255_without_ignore_value_gets_a_hint(tmp_path: Path) -> None:
    root = make_folder_dataset(tmp_path / "d")
    set_mask(255)(root)
    with pytest.raises(InputError, match=r"id 255, .*; if 255 marks pixels to ignore, set data.ignore_value=255"):
        FolderDataset(root=root, split="train", ignore_value=None)


@pytest.mark.parametrize(("reduce", "ignore_value"), [(False, 0), (False, 3), (True, 1), (True, 4)])
def test_an_ignore_value_that_is_a_class_is_refused(tmp_path: Path, reduce: bool, ignore_value: int) -> None:
    root = make_folder_dataset(tmp_path / "d")
    with pytest.raises(
        InputError,
        match=f"data.ignore_value={ignore_value} is the id of class 'class {[0, 3][ignore_value > 1]}'",
    ):
        FolderDataset(root=root, split="train", ignore_value=ignore_value, reduce_zero_label=reduce)


def test_a_truncated_image_is_named_when_it_is_read(tmp_path: Path) -> None:
    root = make_folder_dataset(tmp_path / "d", size=(48, 64))
    dataset = FolderDataset(root=root, split="train")
    truncate(root / "images/train/002.png")
    with pytest.raises(InputError, match=r"images/train/002.png: cannot be read as an image"):
        dataset[2]


def test_a_turned_image_fits_its_upright_mask(tmp_path: Path) -> None:
    root = make_folder_dataset(tmp_path / "d", num_images=1, size=(12, 16), suffix=".jpg")
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (12, 16)).save(root / "images/train/000.jpg", exif=exif)
    assert FolderDataset(root=root, split="train")[0][0].shape == (3, 12, 16)


def test_camvid_loads() -> None:
    root = SHARED_DATA / "camvid"
    if not root.is_dir():
        pytest.skip(f"no CamVid in {root}; set ESSNET_SHARED_DATA to the folder that holds camvid/")
    dataset = FolderDataset(root=root, split="val")
    assert len(dataset) == 101
    assert dataset.classes.num_classes == 11
    image, mask = dataset[0]
    assert tuple(image.shape) == (3, 360, 480)
    assert set(mask.unique().tolist()) <= {IGNORE_INDEX, *range(11)}


def test_voc_palette_mask_loads(tmp_path: Path) -> None:
    sample = SHARED_DATA / "samples" / "voc"
    if not sample.is_dir():
        pytest.skip(f"no VOC sample in {sample}; set ESSNET_SHARED_DATA to the folder that holds samples/voc/")
    for kind, name in (("images", "image.jpg"), ("masks", "label.png")):
        (tmp_path / kind / "train").mkdir(parents=True)
        (tmp_path / kind / "train" / f"a{Path(name).suffix}").write_bytes((sample / name).read_bytes())
    (tmp_path / "classes.txt").write_text("\n".join(f"c{index}" for index in range(21)))
    mask = FolderDataset(root=tmp_path, split="train")[0][1]
    assert mask.unique().tolist() == [IGNORE_INDEX, 0, 2, 15]
