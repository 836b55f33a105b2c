from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from essnet.data import FolderDataset, TexturesDataset, eval_loader
from essnet.training.center_crop import CenterCroppedDataset
from tests.data.fixtures import make_folder_dataset


def folder(path: Path, size: tuple[int, int]) -> FolderDataset:
    return FolderDataset(root=make_folder_dataset(path, num_images=2, size=size), split="val")


@pytest.mark.parametrize("size", [(32, 32), (64, 48)])
def test_images_of_the_crops_size_are_left_alone(size: tuple[int, int]) -> None:
    data = TexturesDataset(split="val", num_classes=5, size=size, length=2)
    image, mask = CenterCroppedDataset(data, size)[1]
    assert torch.equal(image, data[1][0])
    assert torch.equal(mask, data[1][1])


def test_without_scaling_it_is_the_centre(tmp_path: Path) -> None:
    data = folder(tmp_path, (12, 16))
    image, mask = CenterCroppedDataset(data, (12, 12))[0]
    assert torch.equal(image, data[0][0][:, :, 2:14])
    assert torch.equal(mask, data[0][1][:, 2:14])
    assert (image.dtype, mask.dtype) == (torch.uint8, torch.int64)


@pytest.mark.parametrize("size", [(12, 16), (40, 9), (5, 5), (101, 64)])
@pytest.mark.parametrize("crop", [(8, 8), (24, 16)])
def test_labels_stay_with_their_pixels(tmp_path: Path, size: tuple[int, int], crop: tuple[int, int]) -> None:
    # Each label takes the pixel that its centre falls into, in the part that just fills the crop.
    data = folder(tmp_path, size)
    image, mask = CenterCroppedDataset(data, crop)[0]
    assert tuple(image.shape) == (3, *crop)
    factor = max(crop[0] / size[0], crop[1] / size[1])
    region = [min(side, max(1, round(window / factor))) for side, window in zip(size, crop, strict=True)]
    corner = [(side - part) // 2 for side, part in zip(size, region, strict=True)]
    for row in range(crop[0]):
        for column in range(crop[1]):
            y = corner[0] + int((row + 0.5) * region[0] / crop[0])
            x = corner[1] + int((column + 0.5) * region[1] / crop[1])
            assert int(mask[row, column]) == int(data[0][1][y, x])


def test_it_is_what_pillow_makes_of_the_short_side_and_the_centre(tmp_path: Path) -> None:
    root = make_folder_dataset(tmp_path, num_images=1, size=(90, 120))
    smooth = np.linspace(0, 255, 90 * 120).reshape(90, 120).astype(np.uint8)
    path = root / "images" / "val" / "000.png"
    Image.fromarray(np.stack([smooth, smooth.T.reshape(90, 120), 255 - smooth], axis=-1)).save(path)
    image, _ = CenterCroppedDataset(FolderDataset(root=root, split="val"), (30, 30))[0]
    whole = Image.open(path).resize((40, 30), Image.Resampling.BILINEAR)
    expected = torch.from_numpy(np.array(whole.crop((5, 0, 35, 30)))).permute(2, 0, 1)
    inner = (image.int() - expected.int())[:, :, 1:-1].abs()  # at its edges the crop knows nothing of what is beyond
    assert int(inner.max()) <= 1


@pytest.mark.parametrize("num_workers", [0, 2])
def test_batches_need_no_padding(tmp_path: Path, num_workers: int) -> None:
    data = CenterCroppedDataset(folder(tmp_path, (12, 16)), (16, 16))
    assert len(data) == 2
    assert data.describe(1) == "001.png"
    assert pickle.loads(pickle.dumps(data)).classes == data.classes
    images, targets = next(iter(eval_loader(data, batch_size=2, num_workers=num_workers, multiple=16)))
    assert tuple(images.shape) == (2, 3, 16, 16)
    assert int(targets.min()) >= 0
