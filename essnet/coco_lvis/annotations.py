"""LVIS and COCO-Stuff annotation files, gigabytes of JSON, read without building them in memory."""

from __future__ import annotations

import mmap
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Annotated, Any

import msgspec
import numpy as np
import numpy.typing as npt

from essnet.checksums import sha256_of
from essnet.config.errors import InputError

_MOST_PIXELS = 2**28

_Side = Annotated[int, msgspec.Meta(ge=1, le=65_535)]
_ImageId = Annotated[int, msgspec.Meta(ge=0, lt=10**12)]
"""Twelve digits are a file's name."""


class ImageRow(msgspec.Struct, frozen=True, gc=False):
    """An image as a file lists it."""

    id: _ImageId
    height: _Side
    width: _Side
    coco_url: str = ""


class CategoryRow(msgspec.Struct, frozen=True, gc=False):
    """A category as a file lists it."""

    id: int
    name: str
    frequency: str | None = None
    synset: str | None = None


class AnnotationRow(msgspec.Struct, frozen=True, gc=False):
    """An annotation as a file lists it. Its parts are of any type: a bad one must not spoil the file."""

    id: Any = None
    image_id: Any = None
    category_id: Any = None
    segmentation: msgspec.Raw = msgspec.Raw()
    """A view of the file; nothing is copied."""


class _Content(msgspec.Struct, gc=False):
    images: list[ImageRow]
    annotations: list[AnnotationRow]
    categories: list[CategoryRow]


class AnnotationFile:
    """One annotation file: its images, its categories, and the annotations of each image in the file's order.

    The file is mapped, and of each annotation the ids and the place of its segmentation are kept: some 250 bytes.

    Parameters
    ----------
    source
        What the file is, as in the option that names it: `lvis_train`, `stuff_val`, ...
    path
        The JSON file; it must not change while this object is used.

    Raises
    ------
    InputError
        If the file is missing, empty, cut off, no JSON, or of another layout.
    """

    def __init__(self, source: str, path: Path) -> None:
        self.source = source
        self.path = path
        with ThreadPoolExecutor(1) as beside:
            try:
                with path.open("rb") as file:
                    checksum = beside.submit(sha256_of, path)
                    content = _parse(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ), self._name)
                self.sha256 = checksum.result()
            except FileNotFoundError:
                raise InputError(f"{self._name}: no such file") from None
            except IsADirectoryError:
                raise InputError(f"{self._name}: is a folder; expected a JSON file") from None
            except OSError as error:
                raise InputError(f"{self._name}: cannot be read ({error.strerror})") from None
            except ValueError as error:
                if isinstance(error, InputError):
                    raise
                raise InputError(f"{self._name}: is empty; expected JSON") from None  # nothing to map
        self.images = self._by_id(content.images, "image")
        self.categories = self._by_id(content.categories, "category")
        for image in self.images.values():
            if image.height * image.width > _MOST_PIXELS:
                raise InputError(f"{self._name}: image {image.id} has {image.width}x{image.height} pixels; too many")
        self._annotations = content.annotations
        self._group()

    @property
    def _name(self) -> str:
        return f"{option_of(self.source)}: {self.path}"

    def of_image(self, image_id: int) -> list[AnnotationRow]:
        """Return the annotations of an image in the file's order."""
        begin, end = self._places.get(image_id, (0, 0))
        return [self._annotations[index] for index in self._order[begin:end].tolist()]

    def has_annotations(self, image_id: int) -> bool:
        """Say whether any annotation belongs to an image."""
        return image_id in self._places

    def without_image(self) -> list[Any]:
        """Return the ids of the annotations whose image the file does not list."""
        strays = [span for image_id, span in self._places.items() if image_id not in self.images]
        indices = np.concatenate([self._order[begin:end] for begin, end in strays]) if strays else np.empty(0, np.int64)
        return [self._annotations[index].id for index in np.sort(indices).tolist()]

    def _group(self) -> None:
        rows = self._annotations
        images = np.fromiter((_image_of(row) for row in rows), np.int64, len(rows))
        self._order: npt.NDArray[np.intp] = np.argsort(images, kind="stable")  # within an image: the file's order
        ids, begins = np.unique(images[self._order], return_index=True)
        ends = np.append(begins, len(rows))[1:]
        spans = zip(begins.tolist(), ends.tolist(), strict=True)
        self._places = dict(zip(ids.tolist(), spans, strict=True))

    def _by_id(self, rows: Sequence[Any], kind: str) -> dict[int, Any]:
        found = {row.id: row for row in rows}
        if len(found) < len(rows):
            twice = next(row.id for index, row in enumerate(rows) if found[row.id] is not rows[index])
            raise InputError(f"{self._name}: lists {kind} {twice} twice")
        return found


def option_of(source: str) -> str:
    """Return the command line's option for an annotation file."""
    return "--" + source.replace("_", "-")


def _image_of(row: AnnotationRow) -> int:
    image = row.image_id
    return image if type(image) is int and 0 <= image < 10**12 else -1


def _parse(content: mmap.mmap, name: str) -> _Content:
    try:
        return msgspec.json.decode(content, type=_Content)
    except msgspec.ValidationError as error:
        raise InputError(f"{name}: has another layout than LVIS v1 and COCO: {error}") from None
    except (msgspec.DecodeError, RecursionError) as error:
        cut = "is cut off" if "truncated" in str(error) else "is no JSON"
        raise InputError(f"{name}: {cut} ({error}); get the file again") from None
