"""Classes of a vocabulary that has grown: which the network was trained with, and which were added after."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from essnet.config import InputError
from essnet.data import ClassTable, class_colours
from essnet.data.class_table import Colour
from essnet.metrics import ConfusionCounts


def grown_classes(old: ClassTable, names: Sequence[str], *, source: Path) -> ClassTable:
    """Return `old` with `names` behind it; all that is there keeps its index, name and colour.

    `source` is the file of the names, for messages. Raises InputError for a name that is there already.
    """
    known = {name: index for index, name in enumerate(old.names)}
    for line, name in enumerate(names, start=1):
        if name in known:
            raise InputError(
                f"{source}: line {line}: {name!r} is class {known[name]} of the checkpoint already; "
                "name new classes only"
            )
    palette = None if old.palette is None else (*old.palette, *_free_colours(old.palette, len(names)))
    return ClassTable(names=(*old.names, *names), palette=palette, first_added=old.added.start)


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
