from __future__ import annotations

import pickle
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import numpy as np
import pytest
import torch
from torchvision import tv_tensors

from essnet.data.textures import TexturesDataset


def build(**changes) -> TexturesDataset:
    return TexturesDataset(
        **{"split": "train", "num_classes": 12, "size": (24, 40), "length": 50, "seed": 3, **changes}
    )


def pixels_of(dataset: TexturesDataset, index: int) -> tuple[np.ndarray, np.ndarray]:
    image, mask = dataset[index]
    return image.numpy(), mask.numpy()


def equal(first: TexturesDataset, second: TexturesDataset, index: int) -> bool:
    return all((a == b).all() for a, b in zip(pixels_of(first, index), pixels_of(second, index), strict=True))


def test_items_are_what_every_data_set_gives() -> None:
    dataset = build()
    image, mask = dataset[7]
    assert isinstance(image, tv_tensors.Image)
    assert isinstance(mask, tv_tensors.Mask)
    assert (image.dtype, tuple(image.shape)) == (torch.uint8, (3, 24, 40))
    assert (mask.dtype, tuple(mask.shape)) == (torch.int64, (24, 40))
    assert len(dataset) == 50
    assert dataset.classes.num_classes == 12


def test_an_item_depends_on_its_index_alone() -> None:
    dataset = build()
    forwards = [pixels_of(dataset, index) for index in range(6)]
    np.random.default_rng().random(5)
    other = build(length=9)
    for index in reversed(range(6)):
        assert all((a == b).all() for a, b in zip(forwards[index], pixels_of(other, index), strict=True))


def test_an_item_is_the_same_in_another_process() -> None:
    dataset = build()
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        image, mask = pool.submit(pixels_of, pickle.loads(pickle.dumps(dataset)), 5).result()
    assert (image == dataset[5][0].numpy()).all()
    assert (mask == dataset[5][1].numpy()).all()


@pytest.mark.parametrize("changes", [{"split": "val"}, {"split": "test"}, {"seed": 4}])
def test_splits_and_seeds_differ(changes: dict) -> None:
    assert not any(equal(build(), build(**changes), index) for index in range(5))


def test_splits_share_their_textures() -> None:
    """The mean colour of a class is the same in both splits, and far from that of other classes."""
    means = []
    for split in ("train", "val"):
        dataset = build(split=split, length=200)
        total, count = np.zeros((12, 3)), np.zeros((12, 1))
        for index in range(200):
            image, mask = pixels_of(dataset, index)
            for label in np.unique(mask):
                total[label] += image[:, mask == label].sum(axis=1)
                count[label] += (mask == label).sum()
        means.append(total / count)
    nearest = np.linalg.norm(means[0][:, None] - means[1], axis=-1).argmin(axis=1)
    assert (nearest == np.arange(12)).all()


@pytest.mark.parametrize("num_classes", [1, 2, 19, 100_000])
def test_labels_lie_within_the_classes(num_classes: int) -> None:
    dataset = build(num_classes=num_classes, length=100)
    labels = np.concatenate([pixels_of(dataset, index)[1].ravel() for index in range(100)])
    assert labels.min() >= 0
    assert labels.max() < num_classes
    if num_classes > 1:
        assert len(np.unique(labels)) > 1


def test_class_frequencies_have_a_long_tail_and_leave_no_class_out() -> None:
    dataset = build(num_classes=64, size=(16, 16), length=1500)
    counts = np.zeros(64)
    for index in range(1500):
        counts += np.bincount(pixels_of(dataset, index)[1].ravel(), minlength=64)
    counts.sort()
    assert counts[0] > 0
    assert 4 < counts[-1] / counts[0] < 60


def test_a_scene_has_four_to_eight_regions() -> None:
    dataset = build(num_classes=100_000, size=(128, 128), length=100)  # so many classes that none comes twice
    numbers = {len(np.unique(pixels_of(dataset, index)[1])) for index in range(100)}
    assert numbers <= {1, 2, 3, 4, 5, 6, 7, 8}
    assert {4, 5, 6, 7, 8} <= numbers


def test_regions_are_voronoi_cells() -> None:
    """Every cell is convex: the middle of two of its pixels is in it, or to rounding beside it."""
    mask = pixels_of(build(num_classes=100_000, size=(64, 64)), 0)[1]
    rng = np.random.default_rng(0)
    for label in np.unique(mask):
        cell = np.argwhere(mask == label)
        pairs = cell[rng.integers(len(cell), size=(50, 2))]
        for row, column in pairs.sum(axis=1) // 2:
            assert label in mask[max(row - 1, 0) : row + 2, max(column - 1, 0) : column + 2]


@pytest.mark.parametrize("index", [-1, 50])
def test_an_index_outside_ends_iteration(index: int) -> None:
    with pytest.raises(IndexError):
        build()[index]
    assert len(list(build(length=3))) == 3


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"split": "dev"}, "split='dev' is unknown; textures has train, val, test"),
        ({"num_classes": 0}, "num_classes=0"),
        ({"length": 0}, "length=0"),
        ({"size": (0, 8)}, "size=0"),
        ({"seed": -1}, "seed=-1"),
    ],
)
def test_impossible_settings_are_refused(changes: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build(**changes)


def share_of_regions(dataset: TexturesDataset, classes: set[int]) -> float:
    labels = [int(label) for index in range(len(dataset)) for label in np.unique(pixels_of(dataset, index)[1])]
    return sum(label in classes for label in labels) / len(labels)


def test_groups_are_thirds_of_the_classes_by_how_often_they_occur() -> None:
    dataset = build(num_classes=30, length=400, long_tail=1.5)
    groups = dataset.frequency_groups
    assert [groups.count(name) for name in ("frequent", "common", "rare")] == [10, 10, 10]
    shares = [
        share_of_regions(dataset, {index for index, group in enumerate(groups) if group == name})
        for name in ("frequent", "common", "rare")
    ]
    assert shares[0] > 5 * shares[1] > 5 * shares[2] > 0


def test_without_a_long_tail_all_classes_are_as_frequent() -> None:
    dataset = build(num_classes=2, length=400, long_tail=0.0)
    counts = np.bincount(np.concatenate([pixels_of(dataset, index)[1].ravel() for index in range(len(dataset))]))
    assert counts.min() / counts.max() == pytest.approx(1, abs=0.1)


def test_the_long_tail_changes_which_classes_occur_and_not_what_they_look_like() -> None:
    first, second = build(long_tail=0.6), build(long_tail=2.0)
    assert first.frequency_groups == second.frequency_groups
    assert not all(equal(first, second, index) for index in range(5))


def test_a_negative_long_tail_is_refused() -> None:
    with pytest.raises(ValueError, match="long_tail=-1 must not be negative"):
        build(long_tail=-1)
