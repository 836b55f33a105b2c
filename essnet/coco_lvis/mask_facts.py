"""What is known of a mask that is written."""

from __future__ import annotations

from typing import Any

import msgspec


class BadAnnotation(msgspec.Struct, frozen=True, array_like=True):
    """An annotation that could not be painted, or not all of it, and why."""

    source: str
    annotation_id: Any
    reason: str


class MaskFacts(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is known of a mask that is written."""

    image_id: int
    image: str
    size: int
    """Bytes of the file."""
    crc32: int
    """Checksum of the file."""
    ignored_pixels: int
    class_pixels: dict[int, int]
    """Pixels of each class id that is there."""
    painted: int
    """Annotations that were painted."""
    bad: list[BadAnnotation] = []
