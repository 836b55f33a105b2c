from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, features

from essnet.config.errors import InputError
from essnet.data.image_files import IMAGE_SUFFIXES, read_image, read_mask_ids
from tests.data.fixtures import save_low_depth_grey_png, truncate

ORIENTATION = 0x0112


def test_what_is_no_picture_is_told_in_the_same_words_each_time(tmp_path: Path) -> None:
    for content, reason in ((b"", "it is empty"), (b"no picture", "no format that is known")):
        path = tmp_path / "a.png"
        path.write_bytes(content)
        for read in (read_image, read_mask_ids):
            with pytest.raises(InputError) as caught:
                read(path)
            assert str(caught.value) == f"{path}: cannot be read as an image ({reason})"


def picture() -> np.ndarray:
    """A smooth picture that looks different in each of the eight orientations, (16, 24, 3)."""
    rows, columns = np.mgrid[0:16, 0:24]
    return np.stack([rows * 12, columns * 8, (rows + columns) * 4], axis=-1).astype(np.uint8)


@pytest.mark.parametrize("suffix", IMAGE_SUFFIXES)
def test_every_listed_format_is_read(tmp_path: Path, suffix: str) -> None:
    assert features.check("webp")
    path = tmp_path / f"a{suffix.upper()}"
    Image.fromarray(picture()).save(path)
    pixels = read_image(path)
    assert (pixels.shape, pixels.dtype) == ((16, 24, 3), np.uint8)
    assert np.abs(pixels.astype(int) - picture()).mean() < 4  # jpg and webp are lossy


def test_content_that_is_at_hand_is_not_read_again(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    Image.fromarray(picture()).save(path)
    content = path.read_bytes()
    path.unlink()
    assert np.array_equal(read_image(path, mask_size=(16, 24), content=content), picture())
    with pytest.raises(InputError, match=r"a\.png: cannot be read as an image"):
        read_image(path, content=content[:-30])


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I;16"])
def test_every_mode_becomes_rgb(tmp_path: Path, mode: str) -> None:
    grey = np.full((6, 8), 255, np.uint8)
    grey[:, :4] = 0
    if mode == "I;16":
        image = Image.fromarray(grey.astype(np.uint16) * 257)
    else:
        image = Image.fromarray(grey).convert("RGB").convert(mode)
    path = tmp_path / ("a.tif" if mode == "CMYK" else "a.png")
    image.save(path)
    with Image.open(path) as stored:
        assert stored.mode == mode
    assert (read_image(path) == grey[..., None]).all()


def test_sixteen_bit_grey_is_scaled_not_cut(tmp_path: Path) -> None:
    values = np.array([[0, 257 * 7, 257 * 100, 65535]], np.uint16)
    Image.fromarray(values).save(tmp_path / "a.png")
    assert read_image(tmp_path / "a.png")[0, :, 0].tolist() == [0, 7, 100, 255]


def test_alpha_is_dropped_and_the_stored_colours_count(tmp_path: Path) -> None:
    Image.new("RGBA", (2, 2), (10, 20, 30, 0)).save(tmp_path / "a.png")
    assert read_image(tmp_path / "a.png").reshape(-1, 3).tolist() == [[10, 20, 30]] * 4


def test_palette_with_transparency_gives_no_warning(tmp_path: Path) -> None:
    image = Image.fromarray(np.array([[0, 1]], np.uint8)).convert("P")
    image.putpalette([1, 2, 3, 4, 5, 6])
    image.save(tmp_path / "a.png", transparency=bytes([0, 128]))
    assert read_image(tmp_path / "a.png").tolist() == [[[1, 2, 3], [4, 5, 6]]]


def test_float_pixels_are_refused(tmp_path: Path) -> None:
    Image.fromarray(np.zeros((2, 2), np.float32)).save(tmp_path / "a.tif")
    with pytest.raises(InputError, match=r"a\.tif: has F pixels"):
        read_image(tmp_path / "a.tif")


STORED_TO_UPRIGHT = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.transpose(1, 0, 2),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: a[::-1, ::-1].transpose(1, 0, 2),
    8: lambda a: np.rot90(a, 1),
}


@pytest.mark.parametrize("suffix", [".png", ".tif"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(tmp_path: Path, orientation: int, suffix: str) -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    path = tmp_path / f"a{suffix}"
    Image.fromarray(picture()).save(path, exif=exif)
    upright = STORED_TO_UPRIGHT[orientation](picture())
    assert (read_image(path) == upright).all()
    assert (read_image(path, mask_size=upright.shape[:2]) == upright).all()


def test_a_mask_drawn_on_the_stored_picture_keeps_it_as_stored(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    Image.fromarray(picture()).save(tmp_path / "a.png", exif=exif)
    assert (read_image(tmp_path / "a.png", mask_size=(16, 24)) == picture()).all()
    with pytest.raises(InputError, match=r"image is 16x24 .* but its mask is 9x9"):
        read_image(tmp_path / "a.png", mask_size=(9, 9))


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_grey_masks_are_read_as_ids(tmp_path: Path, dtype: type) -> None:
    ids = np.array([[0, 1, 255], [7, np.iinfo(dtype).max, 3]], dtype)
    Image.fromarray(ids).save(tmp_path / "m.png")
    assert (read_mask_ids(tmp_path / "m.png") == ids).all()


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_masks_of_few_bits_are_not_stretched(tmp_path: Path, bits: int) -> None:
    ids = np.arange(15).reshape(3, 5) % 2**bits
    save_low_depth_grey_png(tmp_path / "m.png", ids, bits=bits)
    assert (read_mask_ids(tmp_path / "m.png") == ids).all()


def test_palette_masks_are_read_as_indices(tmp_path: Path) -> None:
    ids = np.array([[0, 2, 15, 255]], np.uint8)
    mask = Image.fromarray(ids).convert("P")
    mask.putpalette(np.random.default_rng(0).integers(256, size=768).tolist())
    mask.save(tmp_path / "m.png", optimize=False)
    with Image.open(tmp_path / "m.png") as stored:
        assert stored.mode == "P"
    assert (read_mask_ids(tmp_path / "m.png") == ids).all()


@pytest.mark.parametrize("read", [read_image, read_mask_ids])
def test_damaged_files_are_named(tmp_path: Path, read) -> None:
    noise = np.random.default_rng(0).integers(256, size=(64, 64)).astype(np.uint8)
    for name in ("cut.png", "cut.jpg"):
        Image.fromarray(noise).save(tmp_path / name)
        truncate(tmp_path / name)
    (tmp_path / "text.png").write_text("no image")
    (tmp_path / "empty.png").write_bytes(b"")
    for name in ("cut.png", "cut.jpg", "text.png", "empty.png", "absent.png"):
        with pytest.raises(InputError, match=f"{name}: (cannot be read as an image|not found)") as caught:
            read(tmp_path / name)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("suffix", IMAGE_SUFFIXES)
def test_a_file_that_ends_early_is_never_half_a_picture(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    noise = np.random.default_rng(0).integers(1, 256, size=(40, 50, 3)).astype(np.uint8)
    Image.fromarray(noise).save(path)
    content, whole = path.read_bytes(), read_image(path)
    for length in range(1, len(content), len(content) // 40):
        path.write_bytes(content[:-length])
        try:
            found = read_image(path)
        except InputError:
            continue
        assert length < 20  # a mark at the end is missing
        assert np.array_equal(found, whole)


@pytest.mark.parametrize("compression", ["tiff_lzw", "tiff_deflate", "packbits", "jpeg"])
def test_libtiff_says_nothing_itself(tmp_path: Path, capfd: pytest.CaptureFixture[str], compression: str) -> None:
    path = tmp_path / "a.tif"
    Image.fromarray(picture()).save(path, compression=compression)
    content = bytearray(path.read_bytes())
    refused = 0
    for place in range(8, len(content), 7):
        path.write_bytes(content[:place] + b"\xff\x00\xff" + content[place + 3 :])
        try:
            read_image(path)
        except InputError:
            refused += 1
    assert refused > 0
    assert capfd.readouterr().err == ""
