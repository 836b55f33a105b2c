"""Work over all items of a data set, part by part, in this process or in several."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeVar

from essnet.cores import available_cores
from essnet.data.loading import SegmentationDataset
from essnet.data.paired_files import PairedFilesDataset
from essnet.progress import ItemProgress
from essnet.workers import Workers

Result = TypeVar("Result")

_ITEMS = 32
_FEW_ITEMS = 2000
"""Done sooner by one process than others have started, which takes seconds."""


@dataclass(frozen=True)
class Part:
    """Some items of a data set, in order; of data sets in files it holds the names of no others."""

    dataset: SegmentationDataset
    indices: range
    """Indices of the items in `dataset`."""
    first: int
    """Index of the first item in the whole data set."""


def enough_workers(items: int) -> int:
    """Processes worth starting for so many items: one for each core, none where the items are few."""
    return available_cores() if items >= _FEW_ITEMS else 0


def over_parts(
    function: Callable[[Part], Result],
    dataset: SegmentationDataset,
    *,
    workers: int,
    progress: ItemProgress | None = None,
) -> list[Result]:
    """What a module's `function` makes of each part of a data set, in order.

    With `workers` 0 this process does it. Raises what `function` raises, and WorkerDied if a process ended.
    """
    results: dict[int, Result] = {}
    done = 0
    with Workers(workers, module=function.__module__) as processes:
        try:
            for first, items, result in processes.map(_apply, ((function, part) for part in _parts(dataset))):
                results[first] = result
                done += items
                if progress is not None:
                    progress(done, len(dataset))
        except BaseException:
            processes.stop()  # they only read
            raise
    return [results[first] for first in sorted(results)]


def _apply(task: tuple[Callable[[Part], Result], Part]) -> tuple[int, int, Result]:
    function, part = task
    return part.first, len(part.indices), function(part)


def _parts(dataset: SegmentationDataset) -> Iterator[Part]:
    for start in range(0, len(dataset), _ITEMS):
        stop = min(start + _ITEMS, len(dataset))
        if isinstance(dataset, PairedFilesDataset):
            yield Part(dataset.part(start, stop), range(stop - start), start)
        else:
            yield Part(dataset, range(start, stop), start)
