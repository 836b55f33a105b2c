"""Image and mask files on disk: any picture becomes RGB, any integer mask becomes its ids."""

from __future__ import annotations

import ctypes
import io
import logging
import stat
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt
from PIL import ExifTags, Image, ImageFile, UnidentifiedImageError, _imaging

from essnet.config.errors import InputError
from essnet.data.jpeg_pixels import is_plain_jpeg, jpeg_pixels
from essnet.data.plain_png import read_plain_png
from essnet.data.png_data import png_ends_early

# Pillow warns of half as many pixels as it refuses: an aerial photograph may have them.
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)
# And of what it makes of a damaged file: it reads the picture, or raises as well.
warnings.filterwarnings("ignore", category=UserWarning, module="PIL")
logging.getLogger("PIL").setLevel(logging.CRITICAL)
# And libtiff would write its own lines to standard error, before ours. A library's functions are found by way of
# whoever is linked with it; where Pillow was built in another way, the lines stay.
with suppress(OSError, AttributeError):
    _linked = ctypes.CDLL(_imaging.__file__)
    _linked.TIFFSetErrorHandler(None)
    _linked.TIFFSetWarningHandler(None)

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff")

# Pillow stretches grey values of 2 and 4 bits to 0..255; ids have to be brought back.
_STRETCH = {"L;2": 85, "L;4": 17}

_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def read_image(
    path: Path, *, mask_size: tuple[int, int] | None = None, content: bytes | None = None
) -> npt.NDArray[np.uint8]:
    """Read a picture of any mode as RGB, (H, W, 3) uint8, turned upright as its EXIF orientation says.

    An alpha channel is dropped (the stored colours count), 16-bit grey is scaled to 8 bits. With `mask_size`
    (H, W) the picture stays as stored if only that matches its mask. `content` is what the file holds, where that is
    at hand. Raises InputError if the file cannot be decoded, its data end early, it has values without a fixed range
    (float, 32-bit), or it fits `mask_size` in neither way.
    """
    with opened(path, None if content is None else io.BytesIO(content)) as image:
        decoded = None
        if is_plain_jpeg(image):
            decoded = jpeg_pixels(content or content_of(path), size=(image.size[1], image.size[0]))
        if decoded is None:
            _load(image, path, content)
        turn = turn_of(image, mask_size)
        if decoded is not None:
            pixels = decoded if turn is None else np.array(Image.fromarray(decoded).transpose(turn))
        else:
            pixels = _to_rgb(image if turn is None else image.transpose(turn), path)
    if mask_size is not None and pixels.shape[:2] != mask_size:
        raise size_mismatch(path, (pixels.shape[0], pixels.shape[1]), mask_size)
    return pixels


def check_image_size(path: Path, mask_size: tuple[int, int]) -> None:
    """Raise InputError unless the image's header says it opens and fits a mask of `mask_size` (H, W)."""
    with opened(path) as image:
        width, height = image.size
        # The orientation is only asked for where it matters: for a PNG that means to decode it.
        if (height, width) != mask_size and ((width, height) != mask_size or _orientation(image) < 5):
            raise size_mismatch(path, (height, width), mask_size)


def size_mismatch(path: Path, image_size: tuple[int, int], mask_size: tuple[int, int]) -> InputError:
    """The error for an image and a mask of different size, both (H, W)."""
    return InputError(
        f"{path}: image is {image_size[1]}x{image_size[0]} (width x height) but its mask is "
        f"{mask_size[1]}x{mask_size[0]}; both must have the same size"
    )


def read_mask_ids(path: Path) -> npt.NDArray[np.integer]:
    """Read a mask's ids, (H, W) integers: grey PNGs of 1 to 16 bits; palette PNGs give their indices.

    Raises InputError if the file cannot be decoded, its data end early, or its pixels are colours or floats.
    """
    content = content_of(path)
    plain = read_plain_png(content)
    if plain is not None:
        return plain
    with opened(path, io.BytesIO(content)) as image:
        stretch = _stretch(image)
        _load(image, path, content)
        if image.mode not in ("1", "L", "P", "I", "I;16", "I;16B", "I;16L"):
            raise InputError(
                f"{path}: mask has mode {image.mode}; expected one integer per pixel (grey 8- or 16-bit PNG, "
                "or palette PNG)"
            )
        ids: npt.NDArray[np.integer] = np.array(image)
    if ids.dtype == np.bool_:
        return ids.astype(np.uint8)
    if stretch != 1:
        ids //= ids.dtype.type(stretch)
    return ids


@contextmanager
def opened(path: Path, source: BinaryIO | None = None) -> Iterator[Image.Image]:
    """Open a picture, of which only the header is read; `source` is the file's content where that is at hand.

    Whatever is raised until it is closed again becomes an InputError that names `path`.
    """
    with _named(path):
        if source is None:
            check_plain(path)
        with Image.open(path if source is None else source) as image:
            yield image


def content_of(path: Path) -> bytes:
    """The bytes of a file; raises InputError as `opened` does."""
    with _named(path):
        check_plain(path)
        return path.read_bytes()


def check_plain(path: Path) -> None:
    """Raise InputError for what is no file: to open a pipe would be to wait for ever, and a device may never end."""
    mode = path.stat().st_mode
    if not stat.S_ISREG(mode):
        what = "a folder" if stat.S_ISDIR(mode) else "a pipe or a device"
        raise InputError(f"{path}: is {what}; expected the file of a picture")


@contextmanager
def _named(path: Path) -> Iterator[None]:
    try:
        yield
    except InputError:
        raise
    except FileNotFoundError:
        raise InputError(f"{path}: not found") from None
    except Image.DecompressionBombError:
        most = 2 * (Image.MAX_IMAGE_PIXELS or 0)
        raise InputError(f"{path}: has more than {most:,} pixels; no picture of a data set has") from None
    except UnidentifiedImageError:
        reason = "it is empty" if path.is_file() and path.stat().st_size == 0 else "no format that is known"
        raise InputError(f"{path}: cannot be read as an image ({reason})") from None
    except Exception as error:  # Pillow's decoders raise nearly anything on a damaged file
        reason = " ".join(str(error).split()) or type(error).__name__
        raise InputError(f"{path}: cannot be read as an image ({reason})") from None


def _load(image: Image.Image, path: Path, content: bytes | None) -> None:
    """Decode a picture; raises ValueError for a PNG of which rows are missing, which Pillow would leave zero."""
    image.load()
    if image.format != "PNG":
        return
    width, height = image.size
    is_zero_at_its_end = not np.asarray(image.crop((0, height - 1, width, height))).any()
    if (is_zero_at_its_end or image.info.get("interlace")) and png_ends_early(content or content_of(path)):
        raise ValueError("its data end early")


def turn_of(image: Image.Image, mask_size: tuple[int, int] | None) -> Image.Transpose | None:
    """What turns a picture as it is stored upright; None for nothing, also where only that fits `mask_size`."""
    orientation = _orientation(image)
    if orientation not in _UPRIGHT or not _stays_upright(image.size, orientation, mask_size):
        return None
    return _UPRIGHT[orientation]


def _stretch(image: Image.Image) -> int:
    """What Pillow multiplies the stored grey values with; known only before the pixels are loaded."""
    if not isinstance(image, ImageFile.ImageFile) or not image.tile:
        return 1
    raw_mode = image.tile[0][3]
    return _STRETCH.get(raw_mode, 1) if isinstance(raw_mode, str) else 1


def _orientation(image: Image.Image) -> int:
    if image.format == "TIFF":  # Pillow has turned these already
        return 1
    value = image.getexif().get(ExifTags.Base.Orientation, 1)
    return value if isinstance(value, int) else 1


def _stays_upright(size: tuple[int, int], orientation: int, mask_size: tuple[int, int] | None) -> bool:
    width, height = size
    upright = (width, height) if orientation >= 5 else (height, width)
    return mask_size is None or upright == mask_size or (height, width) != mask_size


def _to_rgb(image: Image.Image, path: Path) -> npt.NDArray[np.uint8]:
    if image.mode.startswith("I;16"):
        grey = (np.array(image).astype(np.uint32) * 255 + 32767) // 65535
        return np.repeat(grey.astype(np.uint8)[:, :, None], 3, axis=2)
    if image.mode in ("I", "F"):
        raise InputError(f"{path}: has {image.mode} pixels (32-bit) without a fixed range; expected 8 or 16 bits")
    if image.mode in ("P", "RGBa"):  # Pillow does not take the direct way, or warns on it
        image = image.convert("RGBA")
    return np.array(image.convert("RGB"))
