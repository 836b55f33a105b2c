from __future__ import annotations

import itertools
import random
from pathlib import Path

import numpy as np
import pytest
import torch
from torchvision import tv_tensors

from essnet.config.errors import InputError
from essnet.data.class_table import ClassTable
from essnet.data.folder import FolderDataset
from essnet.data.loading import AugmentedDataset, eval_loader, train_loader
from essnet.data.textures import TexturesDataset
from essnet.data.transforms import PADDING_COLOUR, build_train_transform, unchanged
from essnet.labels import IGNORE_INDEX
from tests.data.fixtures import make_folder_dataset, truncate


def textures(length: int = 10) -> TexturesDataset:
    return TexturesDataset(split="train", num_classes=5, size=(20, 24), length=length)


def transform():
    return build_train_transform(crop_size=(16, 16), colour_jitter=0.3)


def first(loader, count: int) -> list[tuple[torch.Tensor, torch.Tensor]]:
    return list(itertools.islice(loader, count))


def assert_same_batches(one: list, other: list) -> None:
    assert len(one) == len(other)
    for a, b in zip(one, other, strict=True):
        assert torch.equal(a[0], b[0])
        assert torch.equal(a[1], b[1])


def global_state() -> tuple:
    return torch.get_rng_state().tolist(), np.random.get_state()[1].tolist(), random.getstate()


def test_augmentation_depends_on_seed_and_draw_alone() -> None:
    dataset = AugmentedDataset(textures(), transform(), seed=1)
    image = dataset[3, 17][0]
    torch.manual_seed(99)
    assert torch.equal(image, dataset[3, 17][0])
    assert not torch.equal(image, dataset[3, 18][0])
    assert not torch.equal(image, AugmentedDataset(textures(), transform(), seed=2)[3, 17][0])


def test_batches_are_plain_tensors() -> None:
    images, targets = next(iter(train_loader(textures(), transform=transform(), batch_size=3, seed=0)))
    assert type(images) is type(targets) is torch.Tensor
    assert (images.dtype, tuple(images.shape)) == (torch.uint8, (3, 3, 16, 16))
    assert (targets.dtype, tuple(targets.shape)) == (torch.int64, (3, 16, 16))


def test_workers_change_nothing() -> None:
    def batches(num_workers: int) -> list:
        return first(train_loader(textures(5), transform=transform(), batch_size=4, seed=7, num_workers=num_workers), 6)

    assert_same_batches(batches(0), batches(2))


@pytest.mark.parametrize("num_workers", [0, 2])
def test_a_resumed_loader_goes_on_as_the_uninterrupted_one(num_workers: int) -> None:
    def batches(start_step: int, count: int) -> list:
        loader = train_loader(
            textures(),
            transform=transform(),
            batch_size=4,
            seed=7,
            start_step=start_step,
            num_workers=num_workers,
        )
        return first(loader, count)

    assert_same_batches(batches(0, 6)[3:], batches(3, 3))


def test_a_data_set_smaller_than_the_batch_fills_it() -> None:
    images, _ = next(iter(train_loader(textures(2), transform=transform(), batch_size=5, seed=0)))
    assert len(images) == 5


@pytest.mark.parametrize("num_workers", [0, 2])
def test_loading_leaves_the_global_generators_alone(num_workers: int) -> None:
    before = global_state()
    first(train_loader(textures(), transform=transform(), batch_size=2, seed=0, num_workers=num_workers), 3)
    list(eval_loader(textures(4), batch_size=2, num_workers=num_workers))
    assert global_state() == before


class SizedDataset:
    """Images of given sizes, all pixels of item i being i."""

    def __init__(self, *sizes: tuple[int, int]) -> None:
        self.sizes = sizes
        self.classes = ClassTable(tuple(f"c{index}" for index in range(len(sizes))))

    def __len__(self) -> int:
        return len(self.sizes)

    def __getitem__(self, index: int) -> tuple[tv_tensors.Image, tv_tensors.Mask]:
        size = self.sizes[index]
        image = torch.full((3, *size), index, dtype=torch.uint8)
        return tv_tensors.Image(image), tv_tensors.Mask(torch.full(size, index))


def test_eval_batches_have_the_least_side_that_a_network_needs() -> None:
    dataset = TexturesDataset(split="val", num_classes=5, size=(20, 70), length=2)
    (batch,) = eval_loader(dataset, batch_size=2, multiple=16, minimum_side=64)
    assert batch[0].shape == (2, 3, 64, 80)
    assert (batch[1][:, 20:] == IGNORE_INDEX).all()
    assert torch.equal(batch[1][0, :20, :70], dataset[0][1])


@pytest.mark.parametrize("num_workers", [0, 2])
def test_eval_batches_are_padded_to_a_multiple(num_workers: int) -> None:
    dataset = SizedDataset((5, 9), (8, 3), (4, 4))
    loader = eval_loader(dataset, batch_size=2, num_workers=num_workers, multiple=4)
    batches = list(loader)
    assert len(loader) == len(batches) == 2
    assert [tuple(targets.shape) for _, targets in batches] == [(2, 8, 12), (1, 4, 4)]
    index = 0
    for images, targets in batches:
        assert type(images) is type(targets) is torch.Tensor
        for image, target in zip(images, targets, strict=True):
            height, width = dataset.sizes[index]
            assert (image[:, :height, :width] == index).all()
            assert (target[:height, :width] == index).all()
            outside = torch.ones_like(target, dtype=torch.bool)
            outside[:height, :width] = False
            assert (target[outside] == IGNORE_INDEX).all()
            assert (image[:, outside] == torch.tensor(PADDING_COLOUR)[:, None]).all()
            index += 1
    assert_same_batches(list(loader), batches)


def message_of(loader) -> str:
    # pytest.raises would keep the traceback, and with it the workers, until the garbage collector comes.
    try:
        list(loader)
    except InputError as error:
        return str(error)
    return "no error"


@pytest.mark.parametrize("num_workers", [0, 1])
def test_a_bad_file_is_one_line_from_workers_too(tmp_path: Path, num_workers: int) -> None:
    root = make_folder_dataset(tmp_path / "d", size=(48, 64))
    dataset = FolderDataset(root=root, split="train")
    truncate(root / "images/train/001.png")
    message = message_of(eval_loader(dataset, batch_size=2, num_workers=num_workers))
    assert message.startswith(f"{root / 'images/train/001.png'}: cannot be read as an image")
    assert "\n" not in message


def jpegs(path: Path, *, num_classes: int = 4) -> FolderDataset:
    root = make_folder_dataset(path / "d", size=(60, 80), num_images=6, suffix=".jpg", num_classes=num_classes)
    return FolderDataset(root=root, split="train")


class WholeItems:
    """The items of a data set in files without its way to read parts of them."""

    def __init__(self, dataset: FolderDataset) -> None:
        self.classes = dataset.classes
        self.describe = dataset.describe
        self._dataset = dataset

    def __len__(self) -> int:
        return len(self._dataset)

    def __getitem__(self, index: int) -> tuple[tv_tensors.Image, tv_tensors.Mask]:
        return self._dataset[index]


def first_class_seen(targets: np.ndarray) -> tuple[int, int]:
    row, column = np.argwhere(targets == targets[30, 40])[0]
    return int(row), int(column)


@pytest.mark.parametrize("choose_focus", [None, first_class_seen])
@pytest.mark.parametrize("num_workers", [0, 1])
def test_files_read_in_part_give_the_batches_of_whole_items(tmp_path: Path, num_workers: int, choose_focus) -> None:
    files = jpegs(tmp_path)

    def batches(dataset, num_workers: int) -> list:
        loader = train_loader(
            dataset,
            # No crop is half as large as its region: a JPEG would be decoded at a half of its size.
            transform=build_train_transform(crop_size=(40, 48), scale=(0.51, 2.0), colour_jitter=0.3),
            batch_size=4,
            seed=3,
            num_workers=num_workers,
            choose_focus=choose_focus,
        )
        return first(loader, 5)

    found = batches(files, num_workers)
    assert all(targets.dtype == torch.int64 for _, targets in found)
    assert_same_batches(found, batches(WholeItems(files), 0))


@pytest.mark.parametrize(("num_classes", "dtype"), [(4, torch.int8), (127, torch.int8), (129, torch.int16)])
def test_targets_travel_in_few_bytes(tmp_path: Path, num_classes: int, dtype: torch.dtype) -> None:
    dataset = AugmentedDataset(jpegs(tmp_path, num_classes=num_classes), transform(), seed=0)
    assert dataset[0, 0][1].dtype == dtype


def test_the_focus_is_in_every_crop() -> None:
    """A pixel of its own in each item, which is nearly always outside a crop that is drawn freely."""

    class OnePixel(SizedDataset):
        def __getitem__(self, index: int) -> tuple[tv_tensors.Image, tv_tensors.Mask]:
            image, mask = super().__getitem__(index)
            mask = torch.zeros_like(mask)
            mask[7 * index, 5 * index] = 1
            return image, tv_tensors.Mask(mask)

    def only_one(targets: np.ndarray) -> tuple[int, int]:
        row, column = np.argwhere(targets == 1)[0]
        return int(row), int(column)

    crops = build_train_transform(crop_size=(16, 16), scale=(1.0, 2.0))
    dataset = OnePixel(*[(100, 90)] * 8)
    with_focus = AugmentedDataset(dataset, crops, 0, choose_focus=only_one)
    without = AugmentedDataset(dataset, crops, 0, choose_focus=lambda targets: None)
    draws = [(index, draw) for index in range(8) for draw in range(10)]
    assert all((with_focus[key][1] == 1).any() for key in draws)
    assert sum(bool((without[key][1] == 1).any()) for key in draws) < 20
    plain = AugmentedDataset(dataset, crops, 0)
    assert all(torch.equal(plain[key][1], without[key][1]) for key in draws)


def test_a_focus_needs_a_transform_that_crops() -> None:
    with pytest.raises(ValueError, match="choose_focus needs a transform that crops"):
        AugmentedDataset(textures(), unchanged, 0, choose_focus=lambda targets: None)
