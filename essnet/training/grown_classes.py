"""Classes of a vocabulary that has grown: which the network was trained with, and which were added after."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from essnet.config import InputError
from essnet.data import ClassTable, class_colours
from essnet.data.class_table import Colour
from essnet.metrics import ConfusionCounts


@dataclass(frozen=True)
class GrownClassTable(ClassTable):
    """A class table whose rows from `first_added` on were added after training.

    In JSON these rows say `"added": true`, which any reader of class tables passes over.
    """

    first_added: int = 0

    @property
    def added(self) -> range:
        """Class indices of the added classes."""
        return range(self.first_added, self.num_classes)

    def to_json(self) -> list[dict[str, Any]]:
        """Return the rows of `ClassTable.to_json`, those of added classes marked."""
        rows = super().to_json()
        return [{**row, "added": True} if row["id"] in self.added else row for row in rows]


def grown_classes(old: ClassTable, names: Sequence[str], *, source: Path, added: range) -> GrownClassTable:
    """Return `old` with `names` behind it; all that is there keeps its index, name and colour.

    `source` is the file of the names, for messages; `added` are the indices in `old` that were added before. Raises
    InputError for a name that is there already.
    """
    known = {name: index for index, name in enumerate(old.names)}
    for line, name in enumerate(names, start=1):
        if name in known:
            raise InputError(
                f"{source}: line {line}: {name!r} is class {known[name]} of the checkpoint already; "
                "name new classes only"
            )
    palette = None if old.palette is None else (*old.palette, *_free_colours(old.palette, len(names)))
    return GrownClassTable(names=(*old.names, *names), palette=palette, first_added=added.start)


def added_classes(checkpoint: Path) -> range:
    """Class indices that were added to a checkpoint after training; empty for one that has not grown.

    Raises InputError if `classes.json` is damaged.
    """
    path = checkpoint / "classes.json"
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))
        marks = [row.get("added", False) is True for row in rows]
    except (OSError, ValueError, AttributeError, TypeError) as error:
        raise InputError(f"{path}: damaged ({error})") from None
    first = marks.index(True) if True in marks else len(marks)
    if not all(marks[first:]):
        raise InputError(f"{path}: damaged; added classes must stand behind all others")
    return range(first, len(marks))


def old_and_new_miou(counts: ConfusionCounts, added: range) -> dict[str, float]:
    """Return `val/miou_old` and `val/miou_new`: mean IoU over classes that were there before, and over those added.

    Classes in neither truth nor prediction do not count; where none of a kind does it is 0. Empty if none was added.
    """
    if not added:
        return {}
    metrics = counts.compute(["new" if index in added else "old" for index in range(counts.num_classes)])
    return {f"val/{name}": metrics[name] for name in ("miou_old", "miou_new")}


def _free_colours(taken: Iterable[Colour], count: int) -> list[Colour]:
    """The first well-separated colours that no class has yet."""
    used = set(taken)
    colours: list[Colour] = [(int(r), int(g), int(b)) for r, g, b in class_colours(len(used) + count)]
    return [colour for colour in colours if colour not in used][:count]
