from __future__ import annotations

import pytest
import torch
from torchvision import tv_tensors
from torchvision.transforms import v2

from essnet.data.crop_window import draw_window
from essnet.data.image_regions import resized_region
from essnet.data.transforms import PADDING_COLOUR, RandomScaledCrop, build_train_transform
from essnet.labels import IGNORE_INDEX


def encoded(height: int, width: int, *, block: int = 1) -> tuple[tv_tensors.Image, tv_tensors.Mask]:
    """A random label map in blocks of `block` pixels, and an image whose grey level is 4 * label."""
    generator = torch.Generator().manual_seed(height * 1000 + width)
    labels = torch.randint(0, 60, (-(-height // block), -(-width // block)), generator=generator)
    labels = labels.repeat_interleave(block, 0).repeat_interleave(block, 1)[:height, :width]
    return tv_tensors.Image((4 * labels).to(torch.uint8).expand(3, -1, -1).contiguous()), tv_tensors.Mask(labels)


def padding_of(image: torch.Tensor) -> torch.Tensor:
    return (image == torch.tensor(PADDING_COLOUR)[:, None, None]).all(dim=0)


@pytest.mark.parametrize("size", [(8, 8), (20, 30), (31, 7), (64, 64), (1, 1)])
@pytest.mark.parametrize("seed", range(5))
def test_unscaled_crops_are_exact(size: tuple[int, int], seed: int) -> None:
    torch.manual_seed(seed)
    image, mask = encoded(20, 30)
    crop, labels = build_train_transform(crop_size=size, scale=(1.0, 1.0))(image, mask)
    assert isinstance(crop, tv_tensors.Image)
    assert isinstance(labels, tv_tensors.Mask)
    assert (crop.dtype, labels.dtype) == (torch.uint8, torch.int64)
    assert tuple(crop.shape) == (3, *size)
    assert tuple(labels.shape) == size
    padded = labels == IGNORE_INDEX
    assert (crop[:, ~padded] == 4 * labels[~padded]).all()
    assert torch.equal(padding_of(crop), padded)
    visible = min(size[0], 20) * min(size[1], 30)
    assert int((~padded).sum()) == visible


@pytest.mark.parametrize("seed", range(20))
def test_scaled_image_and_mask_stay_aligned(seed: int) -> None:
    """Inside the blocks, away from their edges, colour and label agree whatever the scale."""
    torch.manual_seed(seed)
    crop, labels = build_train_transform(crop_size=(96, 80), scale=(0.5, 2.0))(*encoded(120, 140, block=24))
    valid = labels != IGNORE_INDEX
    # A pixel is inside if the 7 x 7 pixels around it have its label.
    around = labels.as_subclass(torch.Tensor).unfold(0, 7, 1).unfold(1, 7, 1).flatten(2)
    inside = torch.zeros_like(valid).as_subclass(torch.Tensor)
    inside[3:-3, 3:-3] = (around == labels[3:-3, 3:-3, None]).all(dim=-1)
    inside &= valid
    assert inside.sum() > 200
    assert (crop[:, inside] == 4 * labels[inside]).all()


@pytest.mark.parametrize(("factor", "low", "high"), [(0.5, 0.24, 0.26), (2.0, 1.0, 1.0)])
def test_the_scale_is_relative_to_the_image(factor: float, low: float, high: float) -> None:
    torch.manual_seed(0)
    _, labels = RandomScaledCrop(size=(64, 64), scale=(factor, factor))(*encoded(64, 64))
    share = float((labels != IGNORE_INDEX).double().mean())
    assert low <= share <= high


def test_scaling_then_cropping_gives_the_same_picture() -> None:
    """The cheap order against the plain one: the whole image resized, then the same window cut out."""
    image, mask = encoded(40, 60, block=5)
    whole = v2.functional.resize(image, [80, 120], antialias=True).to(torch.int64)
    for seed in range(10):
        torch.manual_seed(seed)
        window = draw_window((40, 60), size=(32, 32), scale=(2.0, 2.0))
        top, left = 2 * window.rows.source.start, 2 * window.columns.source.start
        crop = resized_region(image.as_subclass(torch.Tensor), window.region, size=window.region_size).to(torch.int64)
        labels = torch.from_numpy(window.nearest(mask.numpy()))
        assert torch.equal(
            labels, mask.repeat_interleave(2, 0).repeat_interleave(2, 1)[top : top + 32, left : left + 32]
        )
        # At the border of the window the plain order sees one pixel more of its surroundings.
        difference = crop - whole[:, top : top + 32, left : left + 32]
        assert int(difference[:, 1:-1, 1:-1].abs().max()) <= 1


def test_every_place_is_reached() -> None:
    corners = set()
    for seed in range(200):
        torch.manual_seed(seed)
        window = draw_window((6, 6), size=(4, 8), scale=(1.0, 1.0))
        corners.add((window.rows.source.start, window.columns.target.start))
    assert corners == {(row, column) for row in range(3) for column in range(3)}


@pytest.mark.parametrize("focus", [(0, 0), (0, 5), (3, 2), (5, 5)])
def test_every_place_that_holds_the_focus_is_reached_and_no_other(focus: tuple[int, int]) -> None:
    places = set()
    for seed in range(300):
        torch.manual_seed(seed)
        window = draw_window((6, 6), size=(4, 8), scale=(1.0, 1.0), focus=focus)
        places.add((window.rows.source.start, window.columns.target.start))
    assert places == {(row, column) for row in range(3) for column in range(3) if row <= focus[0] < row + 4}


@pytest.mark.parametrize("scale", [(0.3, 0.3), (0.5, 1.0), (1.0, 1.0), (1.0, 3.0), (7.3, 7.3)])
@pytest.mark.parametrize("shape", [(50, 40), (31, 90), (7, 9), (1, 1)])
@pytest.mark.parametrize("flip", [0.0, 1.0])
def test_the_focus_is_shown(shape: tuple[int, int], scale: tuple[float, float], flip: float) -> None:
    """Seen by its label, in an object large enough to survive the smallest of the scales."""
    transform = build_train_transform(crop_size=(24, 16), scale=scale, flip=flip)
    image, mask = encoded(*shape)
    for seed in range(30):
        torch.manual_seed(seed)
        focus = int(torch.randint(shape[0], ())), int(torch.randint(shape[1], ()))
        seen = mask.clone()
        reach = int(1 / scale[0])
        seen[max(0, focus[0] - reach) : focus[0] + reach + 1, max(0, focus[1] - reach) : focus[1] + reach + 1] = 1000
        window = transform.draw(shape, focus=focus)
        for span, pixel in zip((window.rows, window.columns), focus, strict=True):
            assert span.source.start <= pixel < span.source.stop
        _, labels = transform(image, tv_tensors.Mask(seen), focus=focus)
        assert (labels == 1000).any()


@pytest.mark.parametrize("focus", [(-1, 0), (6, 0), (0, 7)])
def test_a_focus_outside_the_image_is_refused(focus: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="is no"):
        draw_window((6, 7), size=(4, 4), scale=(1.0, 1.0), focus=focus)


@pytest.mark.parametrize("shape", [(1, 1), (1, 50), (3, 2), (200, 3)])
def test_images_of_any_shape_fit(shape: tuple[int, int]) -> None:
    transform = build_train_transform(crop_size=(16, 24), scale=(0.01, 30.0), colour_jitter=0.3)
    for seed in range(30):
        torch.manual_seed(seed)
        crop, labels = transform(*encoded(*shape))
        assert tuple(crop.shape) == (3, 16, 24)
        assert tuple(labels.shape) == (16, 24)
        assert (labels != IGNORE_INDEX).any()


def test_masks_get_no_label_that_was_not_there() -> None:
    image, mask = encoded(30, 30)
    mask = tv_tensors.Mask(mask * 1000 + 70_000)
    for seed in range(20):
        torch.manual_seed(seed)
        _, labels = build_train_transform(crop_size=(50, 50))(image, mask)
        assert set(labels.unique().tolist()) <= {IGNORE_INDEX, *mask.unique().tolist()}


def test_flip_turns_both() -> None:
    image, mask = encoded(8, 8)
    crop, labels = build_train_transform(crop_size=(8, 8), scale=(1.0, 1.0), flip=1.0)(image, mask)
    assert torch.equal(crop, image.flip(-1))
    assert torch.equal(labels, mask.flip(-1))


def test_colour_jitter_leaves_the_mask_alone() -> None:
    torch.manual_seed(0)
    image, mask = encoded(8, 8)
    crop, labels = build_train_transform(crop_size=(8, 8), scale=(1.0, 1.0), flip=0.0, colour_jitter=0.5)(image, mask)
    assert not torch.equal(crop, image)
    assert torch.equal(labels, mask)


def test_a_flip_by_chance_is_drawn_after_the_window() -> None:
    """So that the same seed gives the same window with and without it."""
    plain, by_chance = (RandomScaledCrop(size=(9, 9), scale=(0.5, 2.0), flip=flip) for flip in (0.0, 0.5))
    flipped = 0
    for seed in range(100):
        torch.manual_seed(seed)
        window = plain.draw((20, 30))
        torch.manual_seed(seed)
        other = by_chance.draw((20, 30))
        assert (window.region, window.region_size) == (other.region, other.region_size)
        flipped += other.flipped
    assert 30 < flipped < 70


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"crop_size": (0, 8)}, "crop size"),
        ({"scale": (0.0, 1.0)}, "scale="),
        ({"scale": (2.0, 1.0)}, "scale="),
        ({"scale": (1.0, float("inf"))}, "scale="),
        ({"scale": (float("nan"), 1.0)}, "scale="),
        ({"flip": 1.5}, "flip=1.5"),
        ({"colour_jitter": -0.1}, "colour_jitter=-0.1"),
    ],
)
def test_impossible_settings_are_refused(changes: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build_train_transform(**{"crop_size": (8, 8), **changes})
