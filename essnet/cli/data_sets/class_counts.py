"""How often the classes of a data set occur, for people: a line or two for each split, and a table."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import numpy as np
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from essnet.data.checking import SplitCheck

_NAMES_SHOWN = 5
_ALL_ROWS = 24
_ROWS_AT_AN_END = 8


def describe_split(split: str, found: SplitCheck) -> Iterator[str]:
    """Lines about a split: its images and pixels, the classes that never occur, LVIS's frequency groups."""
    counts = found.histogram.to_json(found.dataset.classes)
    never, classes = counts["never_seen"], found.histogram.num_classes
    yield (
        f"{split}: {len(found.dataset):,} images, {_short(counts['pixels'])} pixels, "
        f"{counts['ignored_share']:.1%} ignored, {counts['classes_seen']:,} of {classes:,} classes seen"
    )
    if never:
        more = f" and {len(never) - _NAMES_SHOWN:,} more" if len(never) > _NAMES_SHOWN else ""
        yield f"  never seen: {', '.join(never[:_NAMES_SHOWN])}{more}"
    if found.frequency_groups:
        seen = (f"{group} {of['seen']} of {of['classes']}" for group, of in found.frequency_groups.items())
        yield f"  seen by group: {', '.join(seen)}"


def class_counts(splits: Mapping[str, SplitCheck]) -> Table:
    """A table of the classes by their pixels in the first split: all, or the most frequent and the rarest seen.

    Classes that only the other splits have come last.
    """
    first = next(iter(splits.values()))
    pixels = first.histogram.pixels
    of_all_splits = np.sum([found.histogram.pixels for found in splits.values()], axis=0)
    order = [int(index) for index in np.lexsort((-of_all_splits, -pixels)) if of_all_splits[index]]
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("class", max_width=32, no_wrap=True)
    for split in splits:
        table.add_column(f"{split} pixels", justify="right", no_wrap=True)
        table.add_column("images", justify="right", no_wrap=True)

    columns = [
        (found.histogram.pixels, max(1, int(found.histogram.pixels.sum())), found.histogram.images_with)
        for found in splits.values()
    ]

    def add(index: int) -> None:
        cells = []
        for of_class, total, images_with in columns:
            cells += [_share(int(of_class[index]) / total), f"{images_with[index]:,}"]
        table.add_row(Text(first.dataset.classes.names[index]), *cells)  # a name may look like markup

    if len(order) <= _ALL_ROWS:
        for index in order:
            add(index)
        return table
    for index in order[:_ROWS_AT_AN_END]:
        add(index)
    table.add_row(f"... {len(order) - 2 * _ROWS_AT_AN_END:,} more ...", style="dim")
    for index in order[-_ROWS_AT_AN_END:]:
        add(index)
    return table


def _share(share: float) -> str:
    return f"{share:.2%}" if share >= 0.0001 or not share else f"{share * 1e6:.2g} ppm"


def _short(count: int) -> str:
    for unit, name in ((10**9, "billion"), (10**6, "million")):
        if count >= unit:
            return f"{count / unit:,.1f} {name}"
    return f"{count:,}"
