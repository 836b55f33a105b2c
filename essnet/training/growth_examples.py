"""Labelled example pixels for classes that a checkpoint does not know yet."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from essnet.config import InputError
from essnet.data import ClassTable, PairedFilesDataset, read_class_table
from essnet.data.folder_layout import list_pairs
from essnet.data.label_lookup import narrow_type
from essnet.data.mask_labels import MaskLabels
from essnet.labels import IGNORE_INDEX


@dataclass(frozen=True)
class RenamedLabels:
    """Labels of one list of classes as indices of another one, by name."""

    labels: MaskLabels
    classes: ClassTable

    def to_targets(self, ids: npt.NDArray[np.integer], *, path: Path) -> npt.NDArray[np.int64]:
        """Class indices (H, W) with IGNORE_INDEX; raises InputError that names `path` for an unknown id."""
        return self.to_narrow_targets(ids, path=path).astype(np.int64)

    def to_narrow_targets(self, ids: npt.NDArray[np.integer], *, path: Path) -> npt.NDArray[np.signedinteger]:
        """The same in the smallest type that holds the classes."""
        index = {name: position for position, name in enumerate(self.classes.names)}
        own = [index[name] for name in self.labels.classes.names]
        table = np.array([*own, IGNORE_INDEX], narrow_type(self.classes.num_classes))  # IGNORE_INDEX takes the last
        targets: npt.NDArray[np.signedinteger] = table[self.labels.to_narrow_targets(ids, path=path)]
        return targets


def open_examples(root: Path, *, classes: ClassTable, ignore_value: int) -> PairedFilesDataset:
    """Open a folder of examples: `images/`, `masks/` (each with or without a folder `train/`), and `classes.txt`.

    `classes.txt` names what is labelled, an id a line: the new classes alone, or old ones too, in any order; what
    counts is the name. Pixels of value `ignore_value` are of no class. Items have class indices of `classes`.
    Raises InputError if the folder is none of examples, or names a class that is not in `classes`.
    """
    if not root.is_dir():
        raise InputError(f"--examples: {root}: no such folder; expected images/, masks/ and classes.txt in it")
    labelled = read_class_table(root / "classes.txt")
    for name in labelled.names:
        if name not in classes.names:
            raise InputError(
                f"{root / 'classes.txt'}: {name!r} is neither a class of the checkpoint nor one that --classes adds"
            )
    if ignore_value < labelled.num_classes:
        raise InputError(
            f"--ignore-value: {ignore_value} is the id of {labelled.names[ignore_value]!r} in {root / 'classes.txt'}; "
            f"masks of {labelled.num_classes} classes need one of {labelled.num_classes} or more"
        )
    split = "train" if (root / "images" / "train").is_dir() else "."
    pairs = list_pairs(root, split)
    labels = RenamedLabels(MaskLabels(classes=labelled, ignore_value=ignore_value), classes)
    return PairedFilesDataset(
        files=[(str(pair.image), str(pair.mask)) for pair in pairs], classes=classes, labels=labels
    )
