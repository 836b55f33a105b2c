"""What becomes of files that ought to be there: the first one is an error, or all are noted."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

from essnet.config.errors import InputError

Missing: TypeAlias = Callable[[Sequence[str]], object]
"""Told, kind by kind, a line for each file that is missing; such as `refuse`, or the `extend` of a list."""


def refuse(lines: Sequence[str]) -> None:
    """Raise InputError with the first line and the number of the others; do nothing if there is none."""
    if lines:
        raise InputError(lines[0] + (f" (and {len(lines) - 1} more)" if len(lines) > 1 else ""))
