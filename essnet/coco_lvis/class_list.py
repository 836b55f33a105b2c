"""The classes by name: put together from the categories of the annotation files, kept as `classes.json`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import msgspec

from essnet.atomic_files import write_json
from essnet.coco_lvis.annotations import AnnotationFile, CategoryRow
from essnet.coco_lvis.label_space import NUM_CLASSES, NUM_LVIS, OTHER_STUFF, STUFF_CLASSES
from essnet.config.errors import InputError

FREQUENCIES = {"f": "frequent", "c": "common", "r": "rare"}
"""LVIS's groups: classes that occur in more than 100, in 11 to 100, and in at most 10 of its training images."""


class ClassRow(msgspec.Struct, frozen=True):
    """One class: its id in the masks, and where it comes from."""

    id: int
    name: str
    source: str
    """`lvis` or `stuff`; a class of both is LVIS's."""
    frequency: str | None
    """LVIS's frequency group, r, c or f; None for stuff."""
    synset: str | None
    stuff_id: int | None
    """The class's id in COCO-Stuff, where it has one."""


def classes_of(lvis: AnnotationFile, stuff: AnnotationFile) -> list[ClassRow]:
    """Return all classes in the order of their id.

    Raises
    ------
    InputError
        If a file has not the categories of LVIS v1, or of COCO-Stuff.
    """
    objects = _categories(lvis, range(1, NUM_LVIS + 1), "LVIS v1's ids 1 to 1203")
    if len(lvis.categories) > NUM_LVIS:
        raise InputError(f"{lvis.path}: has {len(lvis.categories)} categories; expected LVIS v1's {NUM_LVIS}")
    for row in objects.values():
        if row.frequency not in FREQUENCIES:
            raise InputError(
                f"{lvis.path}: category {row.id} has frequency {row.frequency!r}; expected LVIS v1's r, c or f"
            )
    things = _categories(stuff, [key for key in STUFF_CLASSES if key != OTHER_STUFF], "COCO-Stuff's ids 92 to 182")
    stuff_of_class = {STUFF_CLASSES[stuff_id]: stuff_id for stuff_id in things}
    rows = []
    for class_id in range(1, NUM_CLASSES + 1):
        stuff_id = stuff_of_class.get(class_id)
        if class_id in objects:
            found = objects[class_id]
            rows.append(ClassRow(class_id, found.name, "lvis", found.frequency, found.synset, stuff_id))
        elif stuff_id is not None:
            rows.append(ClassRow(class_id, things[stuff_id].name, "stuff", None, None, stuff_id))
    return rows


def keep_classes(path: Path, rows: list[ClassRow]) -> None:
    """Write `classes.json`, or see that it says the same already.

    Raises
    ------
    InputError
        If it says something else, or is damaged.
    """
    if not path.exists():
        write_json(path, msgspec.to_builtins(rows))
        return
    kept = read_classes(path)
    if len(kept) != len(rows):
        raise InputError(
            f"{path}: has {len(kept)} classes, but the annotation files have {len(rows)}; choose another --output, or "
            "delete this one"
        )
    for before, now in zip(kept, rows, strict=True):
        if before != now:
            raise InputError(
                f"{path}: class {now.id} is {before.name!r}, but {now.name!r} in the annotation files; choose another "
                "--output, or delete this one"
            )


def read_classes(path: Path) -> list[ClassRow]:
    """Read `classes.json`; the row of class id i is the one at i - 1.

    Raises
    ------
    InputError
        If the file is missing or damaged.
    """
    try:
        rows = msgspec.json.decode(path.read_bytes(), type=list[ClassRow])
    except FileNotFoundError:
        raise InputError(f"{path}: not found; build the data set with `launch.py data build-coco-lvis`") from None
    except msgspec.DecodeError as error:
        raise InputError(f"{path}: damaged ({error}); build the data set again") from None
    if [row.id for row in rows] != list(range(1, len(rows) + 1)):
        raise InputError(f"{path}: damaged (the ids are not 1, 2, 3, ...); build the data set again")
    return rows


def _categories(file: AnnotationFile, wanted: range | list[int], expected: str) -> Mapping[int, CategoryRow]:
    missing = [key for key in wanted if key not in file.categories]
    if missing:
        raise InputError(
            f"{file.path}: has {len(file.categories)} categories, without id {missing[0]}; expected {expected}"
        )
    return {key: file.categories[key] for key in wanted}
