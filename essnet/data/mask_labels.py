"""From the ids in a mask file to class indices."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from essnet.config.errors import InputError
from essnet.data.class_table import ClassTable
from essnet.data.label_lookup import narrow_type
from essnet.labels import IGNORE_INDEX


@dataclass(frozen=True, kw_only=True)
class MaskLabels:
    """How mask ids name classes.

    `ignore_value` is the raw id of ignored pixels. With `reduce_zero_label`, id 0 is ignored too and id i is
    class index i - 1. Raises InputError if `ignore_value` is at the same time the id of a class.
    """

    classes: ClassTable
    ignore_value: int | None = 255
    reduce_zero_label: bool = False

    def __post_init__(self) -> None:
        if self.ignore_value is not None and self.first_id <= self.ignore_value <= self.last_id:
            name = self.classes.names[self.ignore_value - self.first_id]
            raise InputError(
                f"data.ignore_value={self.ignore_value} is the id of class {name!r} (ids {self.first_id} to "
                f"{self.last_id} are classes); set data.ignore_value to null or to an id outside them"
            )

    @property
    def first_id(self) -> int:
        """Raw id of class index 0."""
        return 1 if self.reduce_zero_label else 0

    @property
    def last_id(self) -> int:
        """Raw id of the last class."""
        return self.first_id + self.classes.num_classes - 1

    def to_targets(self, ids: npt.NDArray[np.integer], *, path: Path) -> npt.NDArray[np.int64]:
        """Class indices, int64, with IGNORE_INDEX for ignored pixels; shape as `ids`, (H, W).

        Raises InputError that names `path` if an id is neither a class nor ignored.
        """
        return self.to_narrow_targets(ids, path=path).astype(np.int64)

    def to_narrow_targets(self, ids: npt.NDArray[np.integer], *, path: Path) -> npt.NDArray[np.signedinteger]:
        """`to_targets` in the `narrow_type` of the classes."""
        ignored = self._ignored(ids)
        wrong = ~ignored & ((ids < self.first_id) | (ids > self.last_id))
        if wrong.any():
            raise self._unknown_id(int(ids[wrong].min()), path)
        # An ignored id may be beyond the narrow type: it wraps around, and is overwritten.
        targets: npt.NDArray[np.signedinteger] = ids.astype(narrow_type(self.last_id + 1))
        np.subtract(targets, self.first_id, out=targets)
        targets[ignored] = IGNORE_INDEX
        return targets

    def count(self, ids: npt.NDArray[np.integer], *, path: Path) -> npt.NDArray[np.int64]:
        """Pixels per class, (C,); raises as `to_targets` does."""
        if ids.dtype.itemsize <= 2:
            histogram = np.bincount(ids.ravel(), minlength=self.last_id + 1)
            present = np.flatnonzero(histogram)
            amounts = histogram[present]
        else:
            present, amounts = np.unique(ids, return_counts=True)
        targets = self.to_targets(present, path=path)
        counted = targets != IGNORE_INDEX
        pixels = np.zeros(self.classes.num_classes, np.int64)
        pixels[targets[counted]] = amounts[counted]
        return pixels

    def _ignored(self, ids: npt.NDArray[np.integer]) -> npt.NDArray[np.bool_]:
        ignored = np.zeros(ids.shape, np.bool_)
        if self.ignore_value is not None:
            ignored |= ids == self.ignore_value
        if self.reduce_zero_label:
            ignored |= ids == 0
        return ignored

    def _unknown_id(self, found: int, path: Path) -> InputError:
        expected = f"classes.txt names {self.classes.num_classes} classes, ids {self.first_id} to {self.last_id}"
        hint = ""
        if found == 255:
            hint = "; if 255 marks pixels to ignore, set data.ignore_value=255"
        elif found == self.classes.num_classes and not self.reduce_zero_label:
            hint = "; if ids start at 1 and 0 means unlabelled, set data.reduce_zero_label=true"
        return InputError(f"{path}: mask has id {found}, but {expected}{hint}")
