"""Rows dealt evenly to threads: kernels run without Python's lock."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import TypeVar

import torch

_Part = TypeVar("_Part")


def even_parts(num_rows: int, *, at_least: int) -> list[slice]:
    """Return as many even parts of the rows as torch has threads, or fewer: a part has `at_least` rows."""
    num_parts = max(1, min(torch.get_num_threads(), num_rows // at_least))
    bounds = [num_rows * part // num_parts for part in range(num_parts + 1)]
    return [slice(start, stop) for start, stop in pairwise(bounds)]


def on_threads(work: Callable[[_Part], float], parts: Sequence[_Part]) -> list[float]:
    """Return the results in order; this thread works on the first part."""
    first, *others = parts
    if not others:
        return [work(first)]
    with ThreadPoolExecutor(len(others)) as threads:
        running = [threads.submit(work, part) for part in others]
        return [work(first), *(future.result() for future in running)]
