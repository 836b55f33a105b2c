"""From the label values that a published data set writes to class indices."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from essnet.config.errors import InputError
from essnet.labels import IGNORE_INDEX

_UNKNOWN = IGNORE_INDEX - 1


def narrow_type(num_classes: int) -> type[np.signedinteger]:
    """The smallest signed integer that holds every class index, and the negative values that are none."""
    return next(kind for kind in (np.int8, np.int16, np.int32) if num_classes <= np.iinfo(kind).max + 1)


class LabelLookup:
    """Class index i is written as `class_ids[i]`; values in `ignored` do not count; any other is a fault."""

    def __init__(self, *, class_ids: Sequence[int], ignored: Iterable[int] = ()) -> None:
        self._ignored = sorted(set(ignored))
        self._known = sorted({*class_ids, *self._ignored})
        if len(self._known) != len(class_ids) + len(self._ignored) or self._known[0] < 0:
            raise ValueError("label values must not be negative, and none may stand for two classes")
        # The last place stands for every larger value.
        self._table = np.full(self._known[-1] + 2, _UNKNOWN, narrow_type(len(class_ids)))
        self._table[list(class_ids)] = np.arange(len(class_ids))
        self._table[self._ignored] = IGNORE_INDEX

    def to_targets(self, values: npt.NDArray[np.integer], *, path: Path) -> npt.NDArray[np.int64]:
        """Class indices, int64, with IGNORE_INDEX for ignored pixels; shape as `values`, (H, W).

        Raises InputError that names `path` if a value is neither a class nor ignored.
        """
        return self.to_narrow_targets(values, path=path).astype(np.int64)

    def to_narrow_targets(self, values: npt.NDArray[np.integer], *, path: Path) -> npt.NDArray[np.signedinteger]:
        """`to_targets` in the `narrow_type` of the classes: an eighth of the memory or a quarter, twice as fast."""
        targets: npt.NDArray[np.signedinteger] = np.take(self._table, values, mode="clip")
        signed = values.dtype.kind == "i"
        if targets.min(initial=0) == _UNKNOWN or (signed and values.min(initial=0) < 0):
            wrong = (targets == _UNKNOWN) | (values < 0)
            raise InputError(
                f"{path}: label has value {int(values[wrong].min())}; expected {_ranges(self._known)}"
                + (f" ({_ranges(self._ignored)} ignored)" if self._ignored else "")
            )
        return targets


def _ranges(values: Sequence[int]) -> str:
    """`0-11, 13, 255` for sorted values."""
    parts: list[list[int]] = []
    for value in values:
        if parts and parts[-1][1] == value - 1:
            parts[-1][1] = value
        else:
            parts.append([value, value])
    return ", ".join(str(first) if first == last else f"{first}-{last}" for first, last in parts)
