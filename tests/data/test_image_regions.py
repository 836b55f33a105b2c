"""Regions of pictures read from files, against the plain way: decode all, cut out, resize."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms import v2

from benchmarks.loading import photo_like
from essnet.config.errors import InputError
from essnet.data.image_files import read_image
from essnet.data.image_regions import read_region
from tests.data.fixtures import truncate

ORIENTATION = 0x0112
HEIGHT, WIDTH = 243, 325
ROWS, COLUMNS = slice(10, 230), slice(31, 321)


def photo(seed: int = 0) -> Image.Image:
    return photo_like(np.random.default_rng(seed), HEIGHT, WIDTH)


def naive(path: Path, rows: slice, columns: slice, size: tuple[int, int], mask_size: tuple[int, int]) -> torch.Tensor:
    pixels = torch.from_numpy(read_image(path, mask_size=mask_size)[rows, columns].copy()).permute(2, 0, 1)
    return v2.functional.resize(pixels, list(size), antialias=True)


def psnr_db(one: torch.Tensor, other: torch.Tensor) -> float:
    error = (one.double() - other.double()).square().mean()
    return float(10 * torch.log10(255**2 / error))


def save(image: Image.Image, path: Path, orientation: int = 1, **options: object) -> Path:
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    image.save(path, exif=exif, quality=92, **options)
    return path


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp"])
@pytest.mark.parametrize("mode", ["RGB", "L"])
@pytest.mark.parametrize("size", [(220, 290), (111, 290), (512, 400)])
def test_a_whole_decoding_gives_the_same_pixels(tmp_path: Path, suffix: str, mode: str, size: tuple[int, int]) -> None:
    path = save(photo().convert(mode), tmp_path / f"a{suffix}")
    found = read_region(path, (ROWS, COLUMNS), size=size, mask_size=(HEIGHT, WIDTH))
    assert torch.equal(found, naive(path, ROWS, COLUMNS, size, (HEIGHT, WIDTH)))


@pytest.mark.parametrize("options", [{"progressive": True}, {"subsampling": "4:4:4"}, {"subsampling": "4:2:2"}])
def test_every_kind_of_jpeg_gives_the_same_pixels(tmp_path: Path, options: dict[str, object]) -> None:
    path = save(photo(), tmp_path / "a.jpg", **options)
    found = read_region(path, (ROWS, COLUMNS), size=(200, 280), mask_size=(HEIGHT, WIDTH))
    assert torch.equal(found, naive(path, ROWS, COLUMNS, (200, 280), (HEIGHT, WIDTH)))


@pytest.mark.parametrize("size", [(55, 70), (200, 250)])
def test_cmyk_is_left_to_the_general_reader(tmp_path: Path, size: tuple[int, int]) -> None:
    path = tmp_path / "a.jpg"
    photo().convert("CMYK").save(path)
    found = read_region(path, (ROWS, COLUMNS), size=size, mask_size=(HEIGHT, WIDTH))
    assert torch.equal(found, naive(path, ROWS, COLUMNS, size, (HEIGHT, WIDTH)))


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize(("size", "least_db"), [((150, 150), None), ((97, 110), 33), ((51, 43), 33), ((25, 20), 33)])
def test_orientations_and_reduced_decodings(
    tmp_path: Path, orientation: int, size: tuple[int, int], least_db: float | None
) -> None:
    """Reduced by 1, 2, 4 and 8; a picture shifted by one of its source pixels would be further off."""
    path = save(photo(orientation), tmp_path / "a.jpg", orientation)
    mask_size = (HEIGHT, WIDTH) if orientation < 5 else (WIDTH, HEIGHT)
    region = (slice(10, 230), slice(3, 229))
    found = read_region(path, region, size=size, mask_size=mask_size)
    expected = naive(path, *region, size, mask_size)
    assert found.shape == (3, *size)
    if least_db is None:
        assert torch.equal(found, expected)
        return
    assert not torch.equal(found, expected)
    near = psnr_db(found, expected)
    assert near > least_db
    for axis in (0, 1):
        moved = list(region)
        moved[axis] = slice(region[axis].start + 2, region[axis].stop + 2)
        assert near > psnr_db(found, naive(path, moved[0], moved[1], size, mask_size))


def test_a_picture_stored_as_its_mask_is_not_turned(tmp_path: Path) -> None:
    path = save(photo(), tmp_path / "a.jpg", 6)
    for size in ((200, 250), (50, 60)):
        found = read_region(path, (ROWS, COLUMNS), size=size, mask_size=(HEIGHT, WIDTH))
        assert psnr_db(found, naive(path, ROWS, COLUMNS, size, (HEIGHT, WIDTH))) > 33


@pytest.mark.parametrize("size", [(200, 250), (50, 60)])
def test_faults_are_those_of_the_general_reader(tmp_path: Path, size: tuple[int, int]) -> None:
    path = save(photo(), tmp_path / "a.jpg")
    with pytest.raises(InputError, match=r"a\.jpg: image is 325x243 .* but its mask is 300x243"):
        read_region(path, (ROWS, COLUMNS), size=size, mask_size=(HEIGHT, 300))
    truncate(path)
    with pytest.raises(InputError, match=r"a\.jpg: cannot be read as an image") as found:
        read_region(path, (ROWS, COLUMNS), size=size, mask_size=(HEIGHT, WIDTH))
    with pytest.raises(InputError) as expected:
        read_image(path)
    assert str(found.value) == str(expected.value)
    with pytest.raises(InputError, match=r"b\.jpg: not found"):
        read_region(tmp_path / "b.jpg", (ROWS, COLUMNS), size=size, mask_size=(HEIGHT, WIDTH))
