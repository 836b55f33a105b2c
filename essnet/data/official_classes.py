"""The class tables of published data sets, from the files in `class_tables/`."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from essnet.data.class_table import ClassTable, Colour

_FOLDER = Path(__file__).parent / "class_tables"


@dataclass(frozen=True)
class OfficialClasses:
    """Classes of a published data set, and the id that the set gives to each, in order of class index."""

    table: ClassTable
    ids: tuple[int, ...]


@lru_cache
def official_classes(name: str) -> OfficialClasses:
    """Read `class_tables/<name>.txt`: on each line a class's official id, its colour or `-`, and its name.

    Class indices follow the order of the lines.
    """
    lines = (_FOLDER / f"{name}.txt").read_text(encoding="utf-8").splitlines()
    rows = [line.split(" ", 2) for line in lines if not line.startswith("#")]
    return OfficialClasses(
        table=ClassTable(
            names=tuple(row[2] for row in rows),
            palette=tuple(_colour(row[1]) for row in rows if row[1] != "-") or None,
        ),
        ids=tuple(int(row[0]) for row in rows),
    )


def _colour(text: str) -> Colour:
    red, green, blue = map(int, text.split(","))
    return red, green, blue
